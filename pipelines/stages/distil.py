"""The data pipeline as stages: questions taken in, a generator's answers, the filter, the mix (pipelines.distil).

A set is a folder that a training takes as it is: `train.json` with `images/`, and beside it `dataset/` for the library
`datasets`, a card `README.md`, the funnel as table and figure, and every reject with its reason.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from drift.files import replacing
from evaluation.benchmarks import get_benchmark
from evaluation.data.tsv import Item, load_items
from evaluation.engines.config import load_engine
from pipelines.distil.asking import answered, ask
from pipelines.distil.filtering import index_benchmarks, run_filter
from pipelines.distil.funnel import FUNNEL, REJECTS, Rejects, Row, funnel, write_funnel
from pipelines.distil.intake import QUESTIONS, STEP, take
from pipelines.distil.mixing import mix
from pipelines.distil.records import read_questions, read_records
from pipelines.distil.sets import writing
from pipelines.layout import CHECKPOINT
from pipelines.stage import Runtime
from pipelines.stages import DistilParams, FilterParams, MixParams, QuestionsParams
from pipelines.stages.outside import snapshot

COUNTS, ANSWERS = "counts.json", "answers"


def take_questions(params: QuestionsParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """`questions.jsonl` with `images/`, and `rejects.jsonl`: records that are no questions."""
    source = Path(params.repo)
    if params.world is not None:
        from pipelines.lab.data import write_questions

        source = out / "drawn"
        write_questions(params.world, source)
    elif params.source == "hub":
        source = snapshot(params.repo, params.revision, runtime, "dataset", ("*",))
    taken = take(read_records(source, params.files), source, params.limits, out)
    shutil.rmtree(out / "drawn", ignore_errors=True)
    (out / COUNTS).write_text(json.dumps(asdict(taken)))
    return asdict(taken)


def ask_generator(params: DistilParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """`answers/`: every response to every question; what was interrupted goes on where its files end."""
    engine = load_engine(params.engine, inputs["model"] / CHECKPOINT if "model" in inputs else "")
    listed = read_questions(inputs["questions"] / QUESTIONS)
    with engine.opened(out):
        counts = ask(engine, inputs["questions"], listed, params.sampling, params.engine.settings, out / ANSWERS)
    return counts | {"generator": engine.model}


def filter_answers(params: FilterParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """The set of what is whole, right and new, the funnel that says what else there was, and the rejects."""
    from pipelines.stages.cards import write_extras

    known = index_benchmarks(params.filter, _items(params, inputs)) if params.benchmarks else None
    with writing(out) as writer, replacing(out / REJECTS) as stream:
        stream.write((inputs["questions"] / REJECTS).read_bytes())
        rejects = Rejects(stream)
        rows = run_filter(
            params.filter,
            answered(read_questions(inputs["questions"] / QUESTIONS), _answers(inputs)),
            inputs["questions"],
            known,
            lambda sample: writer.add_sample(sample, inputs["questions"]),
            rejects,
        )
    rows = _intake(inputs["questions"]) + rows
    write_funnel(out / FUNNEL, rows)
    write_extras(out, inputs, {"filter": params.filter}, rows)
    return {
        "examples": writer.count,
        "funnel": [asdict(row) for row in rows],
        "benchmarks": known.count if known else 0,
    }


def mix_sets(params: MixParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """The filtered set and answers that no filter has seen."""
    from pipelines.stages.cards import write_extras

    listed = answered(read_questions(inputs["questions"] / QUESTIONS), _answers(inputs))
    with writing(out) as writer:
        mixed = mix(params.mix, inputs["filtered"], listed, inputs["questions"], writer)
    write_extras(out, inputs, {"mix": params.mix, "counts": mixed}, [])
    return {"examples": writer.count} | asdict(mixed)


def _answers(inputs: Mapping[str, Path]) -> Path | None:
    return inputs["answers"] / ANSWERS if "answers" in inputs else None


def _intake(questions: Path) -> list[Row]:
    """What became of the records, as the funnel's first rows."""
    rejects = [json.loads(line) for line in (questions / REJECTS).read_bytes().splitlines()]
    counts: dict[tuple[str, str], int] = {}
    for each in rejects:
        counts[STEP, each["reason"]] = counts.get((STEP, each["reason"]), 0) + 1
    return funnel(json.loads((questions / COUNTS).read_text())["records"], [STEP], counts)


def _items(params: FilterParams, inputs: Mapping[str, Path]) -> Iterator[tuple[str, Item]]:
    """Every item of the benchmarks' tables, a table at a time."""
    for role in sorted(name for name in inputs if name.startswith("benchmarks")):
        for name in params.benchmarks:
            benchmark = get_benchmark(name)
            for item in load_items(inputs[role] / benchmark.tsv, benchmark):
                yield f"{name} {item.index}", item
