"""WeMath's strict and loose scores: a group of one-step items and the multi-step item that joins them.

Per group: inadequate generalisation (IG) = every step right, the joint item wrong; complete mastery (CM) = the joint
item right, with every step right (strict) or any step right (loose). Score = (CM + IG / 2) / groups (We-Math, arXiv
2407.01284, section 3). The other outcomes, rote memorisation and insufficient knowledge, earn nothing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drift.errors import DataError
from evaluation.data.tsv import Item
from evaluation.judging.verdicts import Verdict

_KEY = re.compile(r"(\d+)steps_(\d+|multi)")


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
        size, step = _parse_key(item)
        group = members.setdefault(item.group or "", {})
        if step in group:
            raise DataError(f"group {item.group!r} has two items with key {item.fields['key']!r}; expected one a step")
        group[step] = verdicts[item.index].correct
        sizes[item.group or ""] = size
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


def accuracy_by_steps(groups: Sequence[Group]) -> dict[str, float]:
    """S1 (one-step items), S2 and S3 (joint items of two- and three-step groups) in percent, where there are any."""
    steps = [right for group in groups for right in group.steps]
    table = {"S1": steps}
    for size in (2, 3):
        table[f"S{size}"] = [group.joint for group in groups if len(group.steps) == size]
    return {name: 100 * sum(right) / len(right) for name, right in table.items() if right}


def _parse_key(item: Item) -> tuple[int, str]:
    match = _KEY.fullmatch(item.fields["key"])
    if match is None:
        raise DataError(
            f"item {item.index!r} has key {item.fields['key']!r}; expected like '2steps_1' or '2steps_multi'"
        )
    return int(match.group(1)), match.group(2)
