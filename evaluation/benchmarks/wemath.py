"""We-Math: option letters, and the strict and loose scores of groups of one-step items and the item that joins them.

Per group: inadequate generalisation (IG) = every step right, the joint item wrong; complete mastery (CM) = the joint
item right, with every step right (strict) or any step right (loose). Score = (CM + IG / 2) / groups (We-Math, arXiv
2407.01284, section 3). The other outcomes, rote memorisation and insufficient knowledge, earn nothing.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drift.errors import DataError
from evaluation.answers.text import labelled
from evaluation.benchmarks.base import Benchmark, ask_options, column, grouped_by, published
from evaluation.data.converters import Conversion, read_json, write_converted
from evaluation.data.tsv import QA, Item
from evaluation.judging.prompts import LETTER
from evaluation.judging.protocols import SEMANTIC, VLMEVALKIT, WE_MATH
from evaluation.judging.rules import LETTERS, score_choice
from evaluation.judging.verdicts import Grouped, Outcome, Verdict

_KEY = re.compile(r"(\d+)steps_(\d+|multi)")
_ANSWER_NOISE = re.compile(r"[>＞<＜:.]")
# A label is followed by its text: `point ;O.;` and `to ;C. ;B.` name points of the figure.
_OPTION = re.compile(r"(?:^|[;\s])\s*([A-H])[.．]\s*(?=[^\s;])")


def score_wemath(item: Item, response: str, mode: str) -> Outcome:
    """As score_choice; where `official` finds nothing, the repository's rule: the first character after `Answer`."""
    outcome = score_choice(item, response, mode)
    if outcome.extraction is not None or mode != "official":
        return outcome
    tail = _ANSWER_NOISE.sub("", response.rsplit("Answer", 1)[-1].strip()).strip()
    if not tail or tail[0] not in LETTERS:
        return outcome
    return Outcome(tail[0] == item.answer.strip(), tail[0], "after_answer")


@dataclass(frozen=True)
class Group:
    """One complete group: the verdicts of its one-step items and of its joint item."""

    name: str
    steps: tuple[bool, ...]
    joint: bool


def groups_of(items: Sequence[Item], verdicts: Mapping[str, Verdict]) -> tuple[list[Group], int]:
    """(complete groups, number of groups left out because an item is absent or unjudged).

    Raises:
        DataError: a key that is not `<n>steps_<k>` or `<n>steps_multi`, or one that appears twice in a group.
    """
    members: dict[str, dict[str, bool | None]] = {}
    sizes: dict[str, int] = {}
    for item in items:
        match = _KEY.fullmatch(item.fields["key"])
        if match is None:
            raise DataError(
                f"item {item.index!r} has key {item.fields['key']!r}; expected like '2steps_1' or '2steps_multi'"
            )
        step = match.group(2)
        group = members.setdefault(item.group or "", {})
        if step in group:
            raise DataError(f"group {item.group!r} has two items with key {item.fields['key']!r}; expected one a step")
        group[step] = verdicts[item.index].correct
        sizes[item.group or ""] = int(match.group(1))
    complete = []
    for name, group in members.items():
        steps = [group.get(str(k + 1)) for k in range(sizes[name])]
        joint = group.get("multi")
        if joint is not None and None not in steps:
            complete.append(Group(name, tuple(bool(step) for step in steps), joint))
    return complete, len(members) - len(complete)


def strict_and_loose(groups: Sequence[Group]) -> tuple[float, float]:
    """The two scores of `groups`, (strict, loose), in percent.

    Raises:
        DataError: no complete group.
    """
    if not groups:
        raise DataError("no complete WeMath group; each needs its one-step items and its `multi` item, all judged")
    inadequate = sum(all(group.steps) and not group.joint for group in groups)
    strict = sum(all(group.steps) and group.joint for group in groups)
    loose = sum(any(group.steps) and group.joint for group in groups)
    return 100 * (strict + 0.5 * inadequate) / len(groups), 100 * (loose + 0.5 * inadequate) / len(groups)


def four_dimensions(groups: Sequence[Group]) -> dict[str, float]:
    """The rates of the four outcomes in percent, as We-Math's evaluation/four_dimensional_metrics.py has them.

    IK (insufficient knowledge: a step and the joint item wrong), IG and CM are shares of all groups. RM (rote
    memorisation: the joint item right, strict without every step, loose without any) is a share of the groups whose
    joint item is right, RM / (RM + CM), and absent where there is none.
    """
    solved = [group for group in groups if group.joint]
    rates = {
        "IK": sum(not all(group.steps) and not group.joint for group in groups) / len(groups),
        "IG": sum(all(group.steps) and not group.joint for group in groups) / len(groups),
    }
    for name, masters in (("strict", all), ("loose", any)):
        mastered = sum(masters(group.steps) for group in solved)
        rates[f"CM_{name}"] = mastered / len(groups)
        if solved:
            rates[f"RM_{name}"] = 1 - mastered / len(solved)
    return {name: 100 * rate for name, rate in rates.items()}


def accuracy_by_steps(groups: Sequence[Group]) -> dict[str, float]:
    """S1 (one-step items), S2 and S3 (joint items of two- and three-step groups) in percent, where there are any."""
    steps = [right for group in groups for right in group.steps]
    table = {"S1": steps}
    for size in (2, 3):
        table[f"S{size}"] = [group.joint for group in groups if len(group.steps) == size]
    return {name: 100 * sum(right) / len(right) for name, right in table.items() if right}


def grouped_scores(items: Sequence[Item], verdicts: Mapping[str, Verdict]) -> Grouped:
    """`strict` and `loose`, resampled by group; S1 to S3, the four rates; how many groups are complete."""
    groups, incomplete = groups_of(items, verdicts)
    strict_and_loose(groups)  # refuses to sum up no group at all

    def score(position: int) -> Callable[[Any], float]:
        return lambda drawn: strict_and_loose([groups[k] for k in drawn])[position]

    return Grouped(
        [group.name for group in groups],
        {"strict": score(0), "loose": score(1)},
        accuracy_by_steps(groups) | four_dimensions(groups),
        {"groups": len(groups), "incomplete_groups": incomplete},
    )


def split_options(text: str) -> dict[str, str]:
    """Letter -> text of a We-Math option line such as `A. 3, 5; B. 4; E. No correct answer`."""
    labels: list[re.Match[str]] = []
    for match in _OPTION.finditer(text):
        expected = LETTERS[len(labels)] if len(labels) < len(LETTERS) else ""
        is_next = match.group(1) == expected
        # The last option, "No correct answer", skips letters in a few items.
        is_last = match.group(1) > expected and text[match.end() :].startswith("No correct")
        if is_next or is_last:
            labels.append(match)
    return labelled(labels, text, " ;")


def _convert(source: Path, out: Path) -> Conversion:
    """`testmini.json` and `images/` of We-Math/We-Math: options are split out of one text, ID and key are kept.

    Pictures are looked up by the repository's `image_path`, and by `<ID>-<step>.png` in a flat folder.
    """
    rows = []
    for number, record in enumerate(read_json(source / "testmini.json")):
        options = split_options(record["option"])
        flat = f"{record['ID']}-{record['key'].rpartition('_')[2]}.png"
        places = [source / record["image_path"], *(source / "images" / name for name in (record["image_path"], flat))]
        row = {"index": str(number), "image": next((path for path in places if path.is_file()), places[0])}
        row |= {"question": record["question"]} | {letter: options.get(letter, "") for letter in LETTERS}
        rows.append(row | {name: record[name] for name in ("answer", "ID", "key", "split", "knowledge concept")})
    return write_converted(source, rows, out)


def _wemath(name: str, prompt: Callable[[Item], str]) -> Benchmark:
    return published(
        "WeMath",
        "b5e969a075f01290a542411fb7766388",
        name=name,
        rows=1740,
        columns=(*QA, "ID", "key"),
        facets=("knowledge concept",),
        group=grouped_by("ID"),
        prompt=prompt,
        rule=score_wemath,
        protocol=LETTER,
        protocols={"official": WE_MATH, "vlmevalkit": VLMEVALKIT, "semantic": SEMANTIC},
        headline="strict",
        metrics=grouped_scores,
        converter=_convert,
    )


BENCHMARKS = (
    _wemath("WeMath", ask_options),
    _wemath("WeMath_COT", lambda item: ask_options(item) + column(item, "requirement")),
)
