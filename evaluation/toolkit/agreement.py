"""Two sets of verdicts on the same items, item by item: where they agree, and every item where they don't.

    python -m evaluation.toolkit.agreement ours=VERDICTS.jsonl theirs=VERDICTS.jsonl out=FOLDER

A line needs `index` and `correct` (true, false, or null for unjudged); `response` and `extraction` are compared and
shown where both sides have them. Items that only one side has are an error: a silent intersection would flatter.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from drift import words
from drift.errors import DataError
from drift.files import read_jsonl, write_jsonl
from evaluation.data.markdown import markdown, write_csv


@dataclass(frozen=True)
class Agreement:
    """The two-by-two table of one benchmark, unjudged items apart.

    Attributes:
        same_response: items whose two responses are equal, None where one side stores none.
        disagreements: one record for each item with different verdicts, both sides shown.
    """

    benchmark: str
    n: int
    both_right: int
    both_wrong: int
    only_ours_right: int
    only_theirs_right: int
    unjudged: int
    same_response: int | None
    disagreements: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)

    @property
    def agreement(self) -> float:
        """Percent of the judged items with one verdict (0 to 100); 100 where nothing was judged."""
        judged = self.n - self.unjudged
        return 100.0 * (self.both_right + self.both_wrong) / judged if judged else 100.0

    def row(self) -> dict[str, Any]:
        """One table row, the disagreements left out."""
        fields = {name: value for name, value in asdict(self).items() if name != "disagreements"}
        return fields | {"agreement": round(self.agreement, 2)}


def compare_verdicts(
    benchmark: str, ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]
) -> Agreement:
    """How far two scorers agree on the same items.

    Raises:
        DataError: an index stands twice or on one side only.
    """
    left, right = _by_index(ours, "ours"), _by_index(theirs, "theirs")
    alone = sorted(left.keys() ^ right.keys())
    if alone:
        raise DataError(
            f"{benchmark}: {len(left)} verdicts of ours and {len(right)} of theirs; {len(alone)} indices stand on "
            f"one side only, first {alone[0]!r}. Score the same items with both"
        )
    pairs = [(left[index], right[index]) for index in left]
    judged = [(a, b) for a, b in pairs if a["correct"] is not None and b["correct"] is not None]
    outcomes = [(bool(a["correct"]), bool(b["correct"])) for a, b in judged]
    texts = [(a.get("response"), b.get("response")) for a, b in pairs]
    return Agreement(
        benchmark=benchmark,
        n=len(pairs),
        both_right=outcomes.count((True, True)),
        both_wrong=outcomes.count((False, False)),
        only_ours_right=outcomes.count((True, False)),
        only_theirs_right=outcomes.count((False, True)),
        unjudged=len(pairs) - len(judged),
        same_response=None if any(None in pair for pair in texts) else sum(a == b for a, b in texts),
        disagreements=tuple(_record(a, b) for a, b in judged if bool(a["correct"]) != bool(b["correct"])),
    )


def write_agreement(agreements: Sequence[Agreement], folder: Path, *, note: str = "") -> None:
    """agreement.csv, agreement.md (with `note` under the table) and disagreements.jsonl in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [agreement.row() for agreement in agreements]
    write_csv(folder / "agreement.csv", rows)
    (folder / "agreement.md").write_text(markdown(rows) + "\n" + (f"\n{note}\n" if note else ""))
    records = [{"benchmark": a.benchmark, **record} for a in agreements for record in a.disagreements]
    write_jsonl(folder / "disagreements.jsonl", records)


def _by_index(verdicts: Sequence[Mapping[str, Any]], side: str) -> dict[str, Mapping[str, Any]]:
    by_index: dict[str, Mapping[str, Any]] = {}
    for verdict in verdicts:
        if "index" not in verdict or "correct" not in verdict:
            raise DataError(f"a verdict of {side} has {sorted(verdict)}; it needs `index` and `correct`")
        if str(verdict["index"]) in by_index:
            raise DataError(f"index {verdict['index']!r} stands twice in {side}; one verdict an item is needed")
        by_index[str(verdict["index"])] = verdict
    return by_index


def _record(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    names = ("correct", "extraction", "rule", "response")
    return {
        "index": str(ours["index"]),
        "ours": {name: ours[name] for name in names if name in ours},
        "theirs": {name: theirs[name] for name in names if name in theirs},
    }


@dataclass(frozen=True)
class Command:
    """Compares two verdict files item by item, writes the tables, prints the row as JSON.

    Example:
        python -m evaluation.toolkit.agreement ours=VERDICTS.jsonl theirs=VERDICTS.jsonl out=FOLDER

    Attributes:
        ours, theirs: verdict files on the same items.
        out: folder for agreement.csv, agreement.md and disagreements.jsonl.
        benchmark: its name in the table; empty is the name of our file.
    """

    ours: Path
    theirs: Path
    out: Path
    benchmark: str = ""


def run(command: Command) -> str:
    """Compare two verdict files and write the tables; the row as JSON."""
    agreement = compare_verdicts(
        command.benchmark or command.ours.stem, read_jsonl(command.ours), read_jsonl(command.theirs)
    )
    write_agreement([agreement], command.out)
    return json.dumps(agreement.row())


if __name__ == "__main__":
    sys.exit(words.run(sys.argv[1:], Command, run))
