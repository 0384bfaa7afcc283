"""HallusionBench: yes or no, never both; accuracy over answers, over figures and over questions.

The index is <category>_<subcategory>_<visual input>_<set>_<figure>_<question>. fAcc and qAcc count a figure, or a
question, only where every answer to it is right.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from drift.errors import DataError
from evaluation.answers.marks import marks
from evaluation.answers.text import own_answer, plain, without_thoughts
from evaluation.answers.yesno import stated_yes_or_no, yes_or_no
from evaluation.benchmarks.base import published
from evaluation.data.tsv import Item
from evaluation.judging.prompts import NO_ANSWER, Protocol, asking, example, read_value
from evaluation.judging.protocols import SEMANTIC, VLMEVALKIT
from evaluation.judging.verdicts import UNMATCHED, Grouped, Outcome, Verdict

_YES = {"1", "yes", "true"}
_GOLD = {"1": "Yes", "0": "No", "yes": "Yes", "no": "No"}


def score_hallusion(item: Item, response: str, mode: str) -> Outcome:
    """The verdict on one response: `official` wants one of the two words alone, `semantic` what it states."""
    if mode == "semantic":
        found = _stated(without_thoughts(response))
    else:
        word = yes_or_no(response)
        found = (word, "yes_no") if word else None
    if found is None:
        return UNMATCHED
    gold = item.answer.strip()
    return Outcome(found[0] == _GOLD.get(gold.casefold(), gold), *found, evidence=found[0])


def hallusion_keys(index: str, category: str) -> tuple[str, str]:
    """(figure key, question key) of an index such as `VD_figure_1_0_1_0`.

    The category keeps equal numbers of two categories apart, and the visual input is no part of a key (one question is
    asked about several figures).

    Raises:
        DataError: the index has fewer than four parts.
    """
    parts = index.split("_")
    if len(parts) < 4:
        raise DataError(
            f"index {index!r} has {len(parts)} parts; expected <category>_<set>_<figure>_<question>, as in "
            "VD_figure_1_0_1_0: HallusionBench's fAcc and qAcc count figures and questions by it; keep theirs"
        )
    family = category or "_".join(parts[:-4] if len(parts) > 5 else parts[:-3])
    return f"{family}/{parts[-3]}/figure{parts[-2]}", f"{family}/{parts[-3]}/question{parts[-1]}"


def read_yes_no(reply: str) -> str | None:
    """`Yes` or `No` of a judge's reply, or NO_ANSWER."""
    value = (read_value(reply) or "").rstrip(".").casefold()
    return {"yes": "Yes", "no": "No", "unknown": NO_ANSWER, NO_ANSWER.casefold(): NO_ANSWER}.get(value)


def grouped_accuracies(items: Sequence[Item], verdicts: Mapping[str, Verdict]) -> Grouped:
    """aAcc, fAcc and qAcc over judged items; whole figures are resampled."""
    import numpy as np

    judged = [item for item in items if verdicts[item.index].correct is not None]
    right = np.array([bool(verdicts[item.index].correct) for item in judged])
    keys = [hallusion_keys(item.index, item.fields.get("l2-category", "")) for item in judged]

    def all_right(codes: Any, drawn: Any) -> float:
        """Share of groups without a wrong item, in percent; a group drawn twice counts twice."""
        sizes = np.bincount(codes)
        times = np.bincount(codes[drawn], minlength=len(sizes))
        wrong = np.bincount(codes[drawn], weights=~right[drawn], minlength=len(sizes))
        weights = times / sizes
        return 100 * float(np.sum(weights * (wrong == 0)) / np.sum(weights))

    figures, questions = (np.unique([key[place] for key in keys], return_inverse=True)[1] for place in (0, 1))
    statistics = {
        "aAcc": lambda drawn: 100 * float(right[drawn].mean()),
        "fAcc": lambda drawn: all_right(figures, drawn),
        "qAcc": lambda drawn: all_right(questions, drawn),
    }
    return Grouped([key[0] for key in keys], statistics)


def _stated(text: str) -> tuple[str, str] | None:
    """(Yes or No, the rule that read it) of the answer part of a response."""
    for mark in marks(text):
        if answer := yes_or_no(mark.text):
            return answer, mark.rule
    own = own_answer(plain(text))
    answer = stated_yes_or_no(own)
    return (answer, "yes_no") if answer else None


_ASK = asking(
    "Does the response answer the question with yes or with no? Reply Yes, No, or Unknown, and nothing else.",
    example("Is the left line longer?", "Both lines have the same length.", "No"),
    example("Is the chart from 2019?", "The title says 2019, so that is correct.", "Yes"),
    example("Is the man tall?", "There are several people in the picture.", "Unknown"),
)
BENCHMARKS = (
    published(
        "HallusionBench",
        "0c23ac0dc9ef46832d7a24504f2a0c7c",
        group=lambda row: hallusion_keys(row["index"], row.get("l2-category", ""))[0],
        rule=score_hallusion,
        protocol=Protocol(
            _ASK, read_yes_no, lambda case, said, _: (said == "Yes") == (case.answer.strip().casefold() in _YES)
        ),
        protocols={"official": VLMEVALKIT, "vlmevalkit": VLMEVALKIT, "semantic": SEMANTIC},
        headline="aAcc",
        facets=("category", "l2-category"),
        metrics=grouped_accuracies,
    ),
)
