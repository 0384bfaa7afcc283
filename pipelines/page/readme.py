"""README's results, written from `results/lab` between its two markers: drift readme

What was found with its intervals, one table and one picture. The picture is a copy of the report's own, in `docs/`.

Example:
    drift readme
"""

import logging
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from drift.files import write_whole
from evaluation.data.markdown import markdown
from pipelines import compose
from pipelines.errors import ConfigError
from pipelines.layout import FIGURES, HEADLINE
from pipelines.report.findings import Finding, findings, means_by_row, sentences
from pipelines.report.forest import Line, forest
from pipelines.session import guarded, rooted

log = logging.getLogger(__name__)
BEGIN, END = "<!-- results: written by `drift readme` -->", "<!-- end of results -->"
PICTURE = "docs/results.png"
_SCEPTIC = (
    "{said} All of it in {worlds} worlds of a language model of 118 thousand parameters, whose suites stand in for the "
    "paper's benchmarks: it shows that the code does what the paper describes and how methods compare there, and "
    "nothing about seven billion parameters."
)


def main(words: Sequence[str]) -> int:
    """The command `drift readme`; the exit status."""
    return guarded(lambda: readme(words), words, __doc__)


def readme(words: Sequence[str]) -> int:
    """Writes README's results anew.

    Raises:
        ConfigError: a word was given, or README lacks a marker.
    """
    if words:
        raise ConfigError(f"drift readme takes no words, and {words[0]!r} is one: README is of results/lab")
    folder, path = rooted("results/lab"), compose.ROOT / "README.md"
    write_whole(path, placed(path.read_text(encoding="utf-8"), block(folder)))
    if (drawn := folder / FIGURES / f"{HEADLINE}.png").exists():
        shutil.copyfile(drawn, compose.ROOT / PICTURE)
    log.info("Read %s", path)
    return 0


def placed(text: str, results: str) -> str:
    """README with these results between its markers.

    Raises:
        ConfigError: a marker is missing.
    """
    before, first, rest = text.partition(BEGIN)
    _, second, after = rest.partition(END)
    if not (first and second):
        raise ConfigError(f"README.md lacks {BEGIN if not first else END}, between which results are written")
    return f"{before}{BEGIN}\n{results}\n{END}{after}"


def block(folder: Path) -> str:
    """What README says of a folder of results."""
    found = findings(folder)
    worlds = max(each.worlds for each in found)
    parts = [
        textwrap.fill(_SCEPTIC.format(said=verdicts(found), worlds=worlds), 120),
        markdown(_table(folder, found)),
        "\n".join(f"- {line}" for line in sentences(found)),
        f"![Each method minus plain fine-tuning, in points]({PICTURE})",
    ]
    return "\n\n".join(parts)


def verdicts(found: Sequence[Finding]) -> str:
    """`Holds here: A; B. Does not hold here: C.`"""
    by: dict[str, list[str]] = {}
    for each in found:
        by.setdefault(each.verdict, []).append(each.claim)
    named = {"holds": "Holds here", "does not hold": "Does not hold here", "equivalent": "Makes no difference here"}
    return " ".join(f"**{named.get(verdict, verdict.capitalize())}**: {'; '.join(by[verdict])}." for verdict in by)


def _table(folder: Path, found: Sequence[Finding]) -> list[Mapping[str, str]]:
    """The rows that the findings speak of, from the best to the worst."""
    first = found[0]
    named = {label for each in found if each.table == first.table for label in (each.first, each.second)}
    means = means_by_row(folder, first.table)
    shown = forest(folder, found)
    lines = {line.label: line for line in shown.lines} if shown else {}
    rows = sorted(named & set(means), key=lambda label: -sum(means[label]))
    return [
        {
            "method": label,
            first.metric: f"{sum(means[label]) / len(means[label]):.1f}",
            f"minus {first.second}": _spread(lines[label]) if label in lines else "",
        }
        for label in rows
    ]


def _spread(line: Line) -> str:
    return f"{line.effect:+.1f} ({line.low:+.1f}, {line.high:+.1f})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
