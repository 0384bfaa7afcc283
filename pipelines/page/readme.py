"""README's results, written from `results/study` and `results/lab` between its two markers: drift readme

What the study's claims came to, else what the lab's worlds found; with intervals, one table and one picture in `docs/`.

Example:
    drift readme
"""

import logging
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from drift.files import write_whole
from evaluation.data.markdown import markdown
from pipelines import compose
from pipelines.errors import ConfigError
from pipelines.layout import FIGURES, HEADLINE
from pipelines.page.studied import OPENING, Studied, studied
from pipelines.report.findings import Finding, findings, means_by_row, sentences
from pipelines.report.forest import Line, draw, forest
from pipelines.report.marked import README
from pipelines.report.style import styled
from pipelines.session import guarded, rooted

log = logging.getLogger(__name__)
PICTURE = "docs/results.png"
_LINK = "[each](results/study/report.md)"
_SCEPTIC = (
    "All of it in {worlds} of a language model of 118 thousand parameters, whose suites stand in for the paper's "
    "benchmarks: it shows that the code does what the paper describes and how methods compare there, and nothing about "
    "seven billion parameters."
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
    write_whole(path, README.put(path.read_text(encoding="utf-8"), block(folder), path.name))
    _draw(folder)
    log.info("Read %s", path)
    return 0


def _draw(folder: Path) -> None:
    """The picture: the study's forest, else a copy of the report's own."""
    study = studied(folder)
    if study and study.forest:
        with TemporaryDirectory() as place, styled():
            draw(study.forest, Path(place) / HEADLINE)
            shutil.copyfile(Path(place) / f"{HEADLINE}.png", compose.ROOT / PICTURE)
    elif (drawn := folder / FIGURES / f"{HEADLINE}.png").exists():
        shutil.copyfile(drawn, compose.ROOT / PICTURE)


def block(folder: Path) -> str:
    """What README says: of the study beside a folder of results, else of these results."""
    study = studied(folder)
    return _of_study(study) if study else _of_worlds(folder)


def _of_study(study: Studied) -> str:
    told = study.findings[:OPENING]
    written = (
        f"{study.tally} They were written down before a world that is reported was drawn; {_LINK} with its verdict. "
    )
    parts = [
        study.told() if study.answer else "\n".join(f"- {line}" for line in sentences(told)),
        textwrap.fill(_SCEPTIC.format(worlds=_worlds(told)), 120),
        textwrap.fill(written + study.progress, 120),
        markdown(study.ways()),
        *([f"![{study.forest.title}]({PICTURE})"] if study.forest else []),
    ]
    return "\n\n".join(parts)


def _of_worlds(folder: Path) -> str:
    found = findings(folder)
    parts = [
        "\n".join(f"- {line}" for line in sentences(found)),
        textwrap.fill(_SCEPTIC.format(worlds=_worlds(found)), 120),
        markdown(_table(folder, found)),
        f"![Each method minus plain fine-tuning, in points]({PICTURE})",
    ]
    return "\n\n".join(parts)


def _worlds(found: Sequence[Finding]) -> str:
    count = max(each.worlds for each in found)
    return f"{count} world{'s' * (count != 1)}"


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
