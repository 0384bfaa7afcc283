"""Generation and scoring as two stages, so that another scoring rule or judge never generates anew; and the choice."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from drift.files import read_jsonl, write_jsonl
from evaluation.benchmarks import build_prompt, get_benchmark
from evaluation.data.splits import contents, refuse_seen
from evaluation.data.tsv import load_items
from evaluation.engines.base import Request
from evaluation.engines.config import load_engine
from evaluation.engines.generate import run_generation
from evaluation.judging.config import PublishedJudge
from evaluation.judging.judge import stored
from evaluation.judging.scoring import score, summarise
from evaluation.judging.verdicts import Verdict
from pipelines.lab.diagnostics import diagnose
from pipelines.layout import CHECKPOINT, PUBLISHED, REPLIES, SEEN
from pipelines.scored import Scored, read_scores, write_scores
from pipelines.stage import Runtime
from pipelines.stages import ChooseParams, GenerateParams, ScoreParams

PUBLISHER = "publisher"  # the rule of a verdict that is not ours


def generate(params: GenerateParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """A JSONL of responses per benchmark; one that was interrupted goes on where its file ends."""
    engine = load_engine(params.engine, inputs["model"] / CHECKPOINT)
    counts = {}
    with engine.opened(out):
        for name in params.benchmarks:
            benchmark = get_benchmark(name)
            items = load_items(inputs["benchmarks"] / benchmark.tsv, benchmark)
            requests = [
                Request(item.index, build_prompt(benchmark, item, params.variant), item.images) for item in items
            ]
            responses = run_generation(engine, requests, params.engine.settings, out / f"{name}.jsonl")
            counts[name] = {"n": len(responses), "cut": sum(r.finish_reason == "length" for r in responses)}
    return {"responses": counts, "settings_sha256": params.engine.settings.sha256()}


def score_responses(params: ScoreParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Verdicts a line per item, and `scores.json`: by column, the score with its interval and counts.

    What the rules leave open is what the judge's stage, or whoever published the answers, says of it.
    """
    config, scores = params.judge, {}
    for column, name in params.benchmarks.items():
        benchmark = get_benchmark(name)
        items = load_items(inputs["benchmarks"] / benchmark.tsv, benchmark, with_images=False)
        asked = {item.index for item in items}  # a split of what was answered
        lines = [
            each for each in read_jsonl(inputs["responses"] / f"{name}.jsonl", "responses") if each["index"] in asked
        ]
        responses = {line["index"]: line["response"] for line in lines}
        judge = stored(inputs["judged"] / f"{name}{REPLIES}") if "judged" in inputs else None
        verdicts = score(benchmark, items, responses, config.mode, judge)
        if isinstance(config, PublishedJudge):
            verdicts = _published(verdicts, read_jsonl(inputs["responses"] / f"{name}{PUBLISHED}", "verdicts"))
        write_jsonl(out / f"{name}.verdicts.jsonl", (asdict(verdict) for verdict in verdicts))
        cut = sum(line["finish_reason"] == "length" for line in lines)
        scores[column] = Scored(summarise(benchmark, items, verdicts), diagnose(items, responses), cut)
    write_scores(out, scores)
    return {"scores": {column: scored.score.value for column, scored in scores.items()}}


def _published(verdicts: Sequence[Verdict], said: Sequence[Mapping[str, Any]]) -> list[Verdict]:
    """The publisher's verdicts in place of ours, whose extraction and rule are not its."""
    theirs = {line["index"]: line["correct"] for line in said}
    return [
        replace(each, correct=theirs[each.index], extraction=None, rule=PUBLISHER, unmatched=False, conflict=False)
        for each in verdicts
    ]


def choose(params: ChooseParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """The value with the highest mean over benchmarks and seeds; of equal ones, the first in the list.

    It is picked by scores on the validation tables. What lies in them is kept in `seen.json`, for the report to refuse.

    Raises:
        SplitError: the test tables hold an item of the validation tables.
    """
    seen, reported = (_contents(role, params.benchmarks, inputs) for role in ("seen", "reported"))
    refuse_seen(seen, reported, f"one of {len(params.values)} values", "the test split")
    (out / SEEN).write_text(json.dumps(sorted(seen)))
    table = []
    for place, value in enumerate(params.values):
        folders = [path for name, path in inputs.items() if name.split(":")[0] == str(place)]
        scores = [[scored.score.value for scored in read_scores(folder).values()] for folder in folders]
        mean = sum(sum(each) / len(each) for each in scores) / len(folders)
        table.append({"value": value, "validation": mean})
    (out / "choice.json").write_text(json.dumps(table, indent=2))
    return {"chosen": max(table, key=lambda row: row["validation"])["value"], "validation": table, "seen": len(seen)}


def _contents(role: str, names: Sequence[str], inputs: Mapping[str, Path]) -> set[str]:
    folders = {path for name, path in inputs.items() if name.split(":")[0] == role}
    rows = [get_benchmark(name) for name in names]
    return {mark for folder in folders for row in rows for mark in contents(load_items(folder / row.tsv, row))}
