"""How much of a score is protocol: the same responses, or the same model, under several settings, as a table.

    python -m evaluation.sensitivity benchmark=MathVision data=F.tsv predictions=F.jsonl out=DIR modes=official,semantic
    python -m evaluation.sensitivity benchmark=LabMathVista data=F.tsv model=CHECKPOINT out=DIR image_backend=pil \\
        variants=default,direct max_new_tokens=16,52

The first value of each axis is the baseline. By default one axis is changed at a time; `grid=full` takes all
combinations. A judge is `rules` or MODEL@URL. `spread` in the second table is the largest score minus the smallest
along one axis: a gain between two models that is smaller than it may be protocol and not reasoning.
"""

import csv
import itertools
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from drift.errors import DataError, closest
from evaluation.benchmarks import Benchmark, build_prompt, get_benchmark
from evaluation.command_line import parse, run
from evaluation.data.markdown import markdown
from evaluation.data.predictions import check_coverage, read_predictions
from evaluation.data.tsv import Item, load_items
from evaluation.engines.base import Engine, GenerationSettings, Request
from evaluation.engines.config import (
    EngineConfig,
    OpenAIConfig,
    TransformersConfig,
    VLLMConfig,
    load_engine,
)
from evaluation.engines.generate import run_generation
from evaluation.judging.config import OpenAIJudge
from evaluation.judging.http import HttpJudge
from evaluation.judging.judge import Judge
from evaluation.judging.scoring import score, summarise
from evaluation.judging.verdicts import Verdict
from evaluation.statistics import mcnemar_exact

log = logging.getLogger(__name__)

RULES = "rules"
GRIDS = ("one", "full")
Respond = Callable[["Setting"], Mapping[str, str]]


@dataclass(frozen=True)
class Setting:
    """One way to measure; the first four change the responses, the last two only their scoring."""

    variant: str = "default"
    max_new_tokens: int = 2048
    min_pixels: int | None = None
    max_pixels: int | None = None
    judge: str = RULES
    mode: str = "official"

    @property
    def label(self) -> str:
        """A file name for the responses under this setting, scoring left out."""
        return f"{self.variant}-{self.max_new_tokens}-{self.min_pixels}-{self.max_pixels}"


@dataclass(frozen=True)
class Command:
    """The command line; see the module's first lines. `model` and `predictions` exclude each other."""

    benchmark: str
    data: Path
    out: Path
    predictions: str = ""
    model: str = ""
    engine: str = "transformers"
    dtype: str = "auto"
    image_backend: str = "auto"
    url: str = "http://127.0.0.1:8000/v1"
    batch_size: int = 16
    limit: int = 0
    grid: str = "one"
    variants: tuple[str, ...] = ("default",)
    max_new_tokens: tuple[int, ...] = (2048,)
    min_pixels: tuple[int | None, ...] = (None,)
    max_pixels: tuple[int | None, ...] = (None,)
    judges: tuple[str, ...] = (RULES,)
    modes: tuple[str, ...] = ("official", "semantic")


def settings_grid(axes: Mapping[str, Sequence[Any]], grid: str = "one") -> list[Setting]:
    """The settings to measure, the baseline (first value of each axis) first, none twice.

    Args:
        axes: field of Setting -> its values.
        grid: `one` changes one axis at a time, `full` takes every combination.
    Raises:
        DataError: an unknown grid, or an axis without values.
    """
    empty = [name for name, values in axes.items() if not values]
    if grid not in GRIDS or empty:
        raise DataError(f"grid={grid!r} ({closest(grid, GRIDS)}), axes without values: {empty or 'none'}")
    baseline = Setting(**{name: values[0] for name, values in axes.items()})
    if grid == "full":
        found = [Setting(**dict(zip(axes, point, strict=True))) for point in itertools.product(*axes.values())]
    else:
        found = [baseline, *(replace(baseline, **{name: v}) for name, values in axes.items() for v in values[1:])]
    return list(dict.fromkeys(found))


def measure(
    benchmark: Benchmark,
    items: Sequence[Item],
    settings: Sequence[Setting],
    respond: Respond,
    judge_for: Callable[[Setting], Judge | None],
) -> list[dict[str, Any]]:
    """One row a setting: its score with interval and counts, and its paired difference from the first setting.

    `gained` and `lost` count the items that are right under this setting alone and under the baseline alone; `p_value`
    is McNemar's, exact. Items that either side left unjudged are in neither.
    """
    rows: list[dict[str, Any]] = []
    baseline: list[Verdict] = []
    for setting in settings:
        verdicts = score(benchmark, items, respond(setting), setting.mode, judge_for(setting))
        baseline = baseline or verdicts
        summary = summarise(benchmark, items, verdicts).as_record()
        row: dict[str, Any] = asdict(setting)
        row |= {name: _round(summary[name]) for name in ("score", "score_ci_low", "score_ci_high")}
        row |= {name: summary[name] for name in ("n", "unmatched", "unjudged")}
        rows.append(row | _difference(verdicts, baseline, row, rows[0] if rows else row))
    return rows


def spread(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each axis with more than one value: the scores along it with all else at the baseline, and their range."""
    axes = list(asdict(Setting()))
    result = []
    for axis in axes:
        others = [name for name in axes if name != axis]
        along = [row for row in rows if all(row[name] == rows[0][name] for name in others)]
        if len(along) < 2:
            continue
        scores = {str(row[axis]): row["score"] for row in along}
        low, high = min(scores, key=lambda k: scores[k]), max(scores, key=lambda k: scores[k])
        result.append(
            {
                "axis": axis,
                "values": len(along),
                "lowest": f"{low}: {scores[low]}",
                "highest": f"{high}: {scores[high]}",
            }
            | {"spread": _round(scores[high] - scores[low])}
        )
    everything = [row["score"] for row in rows]
    result.append(
        {"axis": "all settings", "values": len(rows), "lowest": str(min(everything)), "highest": str(max(everything))}
        | {"spread": _round(max(everything) - min(everything))}
    )
    return result


def write_tables(rows: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """sensitivity.csv, spread.csv, and both as Markdown in sensitivity.md."""
    folder.mkdir(parents=True, exist_ok=True)
    ranges = spread(rows)
    for name, table in (("sensitivity", rows), ("spread", ranges)):
        with (folder / f"{name}.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(table[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(table)
    (folder / "sensitivity.md").write_text(f"{markdown(rows)}\n\n{markdown(ranges)}\n")


def _difference(
    verdicts: Sequence[Verdict], baseline: Sequence[Verdict], row: Mapping[str, Any], first: Mapping[str, Any]
) -> dict[str, Any]:
    pairs = [
        (bool(new.correct), bool(old.correct))
        for new, old in zip(verdicts, baseline, strict=True)
        if new.correct is not None and old.correct is not None
    ]
    if not pairs:
        return {"difference": None, "gained": None, "lost": None, "p_value": None}
    test = mcnemar_exact([new for new, _ in pairs], [old for _, old in pairs])
    return {
        "difference": _round(row["score"] - first["score"]),
        "gained": test.only_first,
        "lost": test.only_second,
        "p_value": float(f"{test.p_value:.3g}"),
    }


def _round(value: Any) -> float:
    return round(float(value), 2)


def _respond_with(engine: Engine, benchmark: Benchmark, items: Sequence[Item], command: Command) -> Respond:
    def respond(setting: Setting) -> Mapping[str, str]:
        requests = [Request(i.index, build_prompt(benchmark, i, setting.variant), i.images) for i in items]
        settings = GenerationSettings(
            max_new_tokens=setting.max_new_tokens,
            min_pixels=setting.min_pixels,
            max_pixels=setting.max_pixels,
            batch_size=command.batch_size,
        )
        path = command.out / "responses" / f"{setting.label}.jsonl"
        return {response.index: response.text for response in run_generation(engine, requests, settings, path)}

    return respond


def _judges(out: Path) -> Callable[[Setting], Judge | None]:
    def judge_for(setting: Setting) -> Judge | None:
        if setting.judge == RULES:
            return None
        model, separator, url = setting.judge.partition("@")
        if not separator:
            raise DataError(f"judge {setting.judge!r} is neither {RULES!r} nor MODEL@URL")
        return HttpJudge(OpenAIJudge(url, model, name="openai", mode=setting.mode), cache=out / "judge.sqlite")  # type: ignore[arg-type]

    return judge_for


def _engine(command: Command) -> EngineConfig:
    settings = GenerationSettings(batch_size=command.batch_size)
    if command.engine == "openai":
        return OpenAIConfig(command.url, command.model, name="openai", settings=settings)
    if command.engine == "vllm":
        return VLLMConfig("vllm", settings, command.dtype)  # type: ignore[arg-type]
    return TransformersConfig("transformers", settings, command.dtype, command.image_backend)  # type: ignore[arg-type]


def _axes(command: Command) -> dict[str, Sequence[Any]]:
    return {
        "variant": command.variants,
        "max_new_tokens": command.max_new_tokens,
        "min_pixels": command.min_pixels,
        "max_pixels": command.max_pixels,
        "judge": command.judges,
        "mode": command.modes,
    }


def _stored(command: Command, items: Sequence[Item], axes: Mapping[str, Sequence[Any]]) -> Respond:
    varied = [name for name in list(axes)[:4] if len(axes[name]) > 1]
    if varied:
        raise DataError(f"stored predictions can't be made again under other {varied}; give model= instead")
    path = Path(command.predictions)
    responses = read_predictions(path)
    check_coverage([item.index for item in items], responses, path, False)
    return lambda _: responses


def main(words: Sequence[str]) -> str:
    """Measure, write the tables into `out`, and give the spread as JSON."""
    command = parse(words, Command)
    if bool(command.predictions) == bool(command.model):
        raise DataError(f"predictions={command.predictions!r}, model={command.model!r}: give exactly one of the two")
    benchmark = get_benchmark(command.benchmark)
    axes = _axes(command)
    settings = settings_grid(axes, command.grid)
    items = load_items(command.data, benchmark, with_images=bool(command.model))
    items = items[: command.limit] if command.limit else items
    if command.predictions:
        respond = _stored(command, items, axes)
    else:
        respond = _respond_with(load_engine(_engine(command), command.model), benchmark, items, command)
    rows = measure(benchmark, items, settings, respond, _judges(command.out))
    write_tables(rows, command.out)
    return json.dumps({"benchmark": benchmark.name, "settings": len(rows), "spread": spread(rows)})


if __name__ == "__main__":
    run(main)
