"""The paper, claim by claim: each of its tables and figures beside what was found here of what it says."""

import re
from collections.abc import Iterator, Mapping, Sequence

from pipelines.report.findings import Finding

_PLACES = [*(f"Table {n}" for n in range(1, 11)), *(f"Figure {n}" for n in (1, 2, 5, 6))]
_NAMED = re.compile(r"(Table|Figure)s? (\d+)(?: to (\d+))?")
_COLUMNS = ("paper", "claim", "here", "effect", "interval", "worlds", "would take", "by")
_CLAIMS_NOTHING = {"Table 9": "what the merges were run with"}
Row = Mapping[str, str]


def claim_by_claim(studied: Sequence[Finding], lab: Sequence[Finding]) -> list[Row]:
    """A row for each claim about a table or figure, in the paper's order; of one that nothing speaks of, a row says so.

    Args:
        studied: the study's claims.
        lab: what the worlds of the tables found.
    """
    found = [(each, "the study") for each in studied] + [(each, "the tables' worlds") for each in lab]
    rows: list[Row] = []
    for place in _PLACES:
        told = [_row(place, each, where) for each, where in found if place in _places(each.answers)]
        rows += told or [_nothing(place)]
    return [{column: row.get(column, "") for column in _COLUMNS} for row in rows]


def _places(answers: str) -> Iterator[str]:
    """`Table 1, Figure 2` and `Tables 2 to 4`, one by one."""
    for kind, first, last in _NAMED.findall(answers):
        yield from (f"{kind} {n}" for n in range(int(first), int(last or first) + 1))


def _row(place: str, found: Finding, where: str) -> Row:
    return {
        "paper": place,
        "claim": found.claim,
        "here": found.verdict,
        "effect": found.size,
        "interval": found.interval.removeprefix("95% interval "),
        "worlds": str(found.worlds),
        "would take": found.would_take,
        "by": where,
    }


def _nothing(place: str) -> Row:
    claim = f"none: {_CLAIMS_NOTHING[place]}" if place in _CLAIMS_NOTHING else "nothing here speaks of it"
    return {"paper": place, "claim": claim}
