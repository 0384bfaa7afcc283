"""Published answers scored again: the publisher's verdicts, ours by rules, a judge's where one was asked, side by side.

Agreement hides what matters: a scorer that errs evenly harms no comparison, and one that errs more on one model's way
of writing makes a difference out of nothing. So beside each score stands its bias, and beside each difference of two
models the bias of that difference, item by item.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas

from drift.files import read_jsonl
from evaluation.data.markdown import markdown
from evaluation.statistics import Interval, is_within_bias, paired_bootstrap, wilson
from pipelines.report.numbers import Evidence, Number, Numbers, paper_number
from pipelines.report.render import BLANK
from pipelines.report.sources import Source

PUBLISHED, LAYERS = "published", ("official", "semantic", "judged")
_RESAMPLES = 2_000
READING = (
    "`published` is the publisher's own verdict, [brackets] the score that it states. `official` are the benchmark's "
    "published rules and `semantic` what a careful reader would say, both without a judge; `judged` is the configured "
    "judge's, where there is one. Behind each score: how often it agrees with the publisher's verdicts item by item, "
    "its bias (the score minus the publisher's, in points) with a 95% interval from a paired bootstrap, and how many "
    "answers no rule could read, which count as wrong."
)
JUDGED = (
    "The judge was asked what the rules leave open, and beside that a sample of what they decide (audited): how often "
    "it then says what they say, and how often on the open items it says what the publisher says."
)
PAIRS = (
    "What each scorer makes of the second model's gain over the first, in points with 95% intervals from paired "
    "bootstraps. The bias of the difference is what it makes beyond the publisher's verdicts; ‡ marks a difference no "
    "larger than the far end of that interval: this scorer alone can't resolve it."
)


@dataclass(frozen=True)
class File:
    """One published file: the artifacts of its verdicts by layer, item for item in the same order."""

    row: str
    column: str
    layers: Mapping[str, Source]
    stated: float | None

    @cached_property
    def right(self) -> dict[str, list[int]]:
        """Layer -> 1 or 0 an item; what nobody decided is not right."""
        return {layer: [int(line["correct"] is True) for line in lines] for layer, lines in self._lines.items()}

    @cached_property
    def unmatched(self) -> dict[str, int]:
        """Layer -> how many answers no rule could read."""
        return {layer: sum(bool(line["unmatched"]) for line in lines) for layer, lines in self._lines.items()}

    @property
    def mine(self) -> list[str]:
        """The layers that are not the publisher's."""
        return [layer for layer in LAYERS if layer in self.layers]

    def agreement(self, layer: str) -> float:
        """Share of the items on which a layer and the publisher agree."""
        return statistics.fmean(a == b for a, b in zip(self.right[layer], self.right[PUBLISHED], strict=True))

    def errors(self, layer: str) -> list[int]:
        """What a layer adds to the publisher's verdict of each item: -1, 0 or 1."""
        return [mine - theirs for mine, theirs in zip(self.right[layer], self.right[PUBLISHED], strict=True)]

    def bias(self, layer: str) -> Interval:
        """A layer's share minus the publisher's."""
        return paired_bootstrap(self.right[PUBLISHED], self.right[layer], _RESAMPLES)

    @cached_property
    def _lines(self) -> dict[str, list[dict[str, bool | None]]]:
        name = self.layers[PUBLISHED].manifest["params"]["benchmarks"][self.column]
        return {layer: read_jsonl(source.path / f"{name}.verdicts.jsonl") for layer, source in self.layers.items()}


def numbers(evidence: Evidence) -> Numbers:
    """Row label -> a score a file and layer, and each layer's agreement with the publisher's."""
    found: dict[str, list[Number]] = {}
    for file in _files(evidence):
        row = found.setdefault(file.row, [])
        for layer in (PUBLISHED, *file.mine):
            row.append(_number(file, layer, layer, statistics.fmean(file.right[layer])))
            if layer != PUBLISHED:
                row.append(_number(file, layer, f"{layer} agreement", file.agreement(layer)))
    return found


def wide(evidence: Evidence) -> pandas.DataFrame:
    """A line a file."""
    files = _files(evidence)
    layers = [layer for layer in LAYERS if any(layer in file.layers for file in files)]
    names = [f"{layer}{part}" for layer in layers for part in ("", " agrees", " bias", " unmatched")]
    lines = [_line(file, layers) for file in files]
    return pandas.DataFrame(lines, columns=["answers", "benchmark", "n", PUBLISHED, *names])


def findings(evidence: Evidence) -> list[str]:
    """How far each layer agrees by benchmark, and the bias of each difference between the models of a series."""
    files = _files(evidence)
    lines = [line for first, second in _pairs(evidence, files) for line in _differences(first, second)]
    columns = ["models", "benchmark", "n", "scorer", "difference", "bias of the difference"]
    pairs = [PAIRS, markdown(pandas.DataFrame(lines, columns=columns))] if lines else []
    asked = _by_judge(evidence)
    judged = [JUDGED, markdown(asked)] if len(asked) else []
    return [READING, markdown(_by_benchmark(files)), *judged, *pairs]


def _files(evidence: Evidence) -> list[File]:
    """Every file of the rows that were run, in the order of rows and columns."""
    found = []
    for row in evidence.table.rows:
        layers: dict[str, Source] = {}
        for cell in evidence.cells:
            if cell.row == row.label:
                layers |= {role: evidence.sources[name] for role, name in cell.artifacts.items()}
        entry = evidence.paper(row)
        columns = layers[PUBLISHED].scores if layers else {}
        found += [
            File(row.label, column, layers, paper_number(entry, column))
            for column in evidence.table.columns
            if column in columns
        ]
    return found


def _number(file: File, layer: str, name: str, share: float) -> Number:
    n = len(file.right[layer])
    low, high = wilson(round(share * n), n)
    return Number(
        column=f"{file.column} {name}",
        value=100 * share,
        std=None,
        n=n,
        values=(100 * share,),
        low=100 * low,
        high=100 * high,
        paper=file.stated if layer == PUBLISHED else None,
        fingerprints=(str(file.layers[layer].manifest["fingerprint"]),),
        unjudged=file.layers[layer].scores[file.column].score.unjudged,
        varies="questions",
    )


def _line(file: File, layers: Sequence[str]) -> list[str]:
    said = f"{100 * statistics.fmean(file.right[PUBLISHED]):.1f}"
    cells = [file.row, file.column, str(len(file.right[PUBLISHED]))]
    cells.append(said if file.stated is None else f"{said} [{file.stated:.1f}]")
    for layer in layers:
        if layer not in file.layers:
            cells += [BLANK] * 4
            continue
        score = f"{100 * statistics.fmean(file.right[layer]):.1f}"
        cells += [score, f"{100 * file.agreement(layer):.2f}", _text(file.bias(layer)), str(file.unmatched[layer])]
    return cells


def _by_benchmark(files: Sequence[File]) -> pandas.DataFrame:
    """Agreement over all files of a benchmark, and in the file where it is lowest."""
    lines, layers = [], [layer for layer in LAYERS if all(layer in file.layers for file in files)]
    for column in dict.fromkeys(file.column for file in files):
        mine = [file for file in files if file.column == column]
        items = [len(file.right[PUBLISHED]) for file in mine]
        line = [column, str(len(mine)), str(sum(items))]
        for layer in layers:
            shares = [file.agreement(layer) for file in mine]
            mean = sum(share * n for share, n in zip(shares, items, strict=True)) / sum(items)
            line.append(f"{100 * mean:.2f} (lowest {100 * min(shares):.2f})")
        lines.append(line)
    return pandas.DataFrame(lines, columns=["benchmark", "files", "answers", *(f"{layer} agrees" for layer in layers)])


def _by_judge(evidence: Evidence) -> pandas.DataFrame:
    """What the judge was asked and how far it agrees, by row and benchmark; no line where none was asked."""
    lines = []
    for cell in (cell for cell in evidence.cells if "judge" in cell.artifacts):
        values = evidence.sources[cell.artifacts["judge"]].manifest["values"]
        for name, found in values["agreement"].items():
            shares = [found.get(key) for key in ("agrees_with_rules", "agrees_with_publisher")]
            shown = [BLANK if share is None else f"{share:.1f}" for share in shares]
            lines.append([cell.row, name, values["judge"], found["asked"], found["audited"], *shown])
    columns = ["answers", "benchmark", "judge", "asked", "audited", "agrees with rules", "agrees with publisher"]
    return pandas.DataFrame(lines, columns=columns)


def _pairs(evidence: Evidence, files: Sequence[File]) -> Iterator[tuple[File, File]]:
    """The first row of each series with every later one, file by file."""
    by_series: dict[str, list[str]] = {}
    for row in evidence.table.rows:
        if row.series:
            by_series.setdefault(row.series, []).append(row.label)
    at = {(file.row, file.column): file for file in files}
    for first, *others in by_series.values():
        for other in others:
            for column in evidence.table.columns:
                if (first, column) in at and (other, column) in at:
                    yield at[first, column], at[other, column]


def _differences(first: File, second: File) -> Iterator[list[str]]:
    """A line a scorer: the publisher's, then each of ours with its bias."""
    for layer in (PUBLISHED, *second.mine):
        gain = paired_bootstrap(first.right[layer], second.right[layer], _RESAMPLES)
        name = [f"{second.row} minus {first.row}", first.column, str(len(first.right[layer])), layer]
        if layer == PUBLISHED:
            yield [*name, _text(gain), BLANK]
            continue
        bias = paired_bootstrap(first.errors(layer), second.errors(layer), _RESAMPLES)
        yield [*name, _text(gain) + (" ‡" if is_within_bias(gain.mean, bias) else ""), _text(bias)]


def _text(share: Interval) -> str:
    """`+1.1 (-0.5, +2.7)`, in points."""
    return f"{100 * share.mean:+.1f} ({100 * share.low:+.1f}, {100 * share.high:+.1f})"
