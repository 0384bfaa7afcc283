"""Generation and scoring as two stages, so that another scoring rule or judge never generates anew."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluation.benchmarks import get_benchmark
from evaluation.engines.base import Request
from evaluation.engines.factory import EngineConfig, load_engine
from evaluation.generate import read_jsonl, run_generation
from evaluation.judge import Judge
from evaluation.prompts import build_prompt
from evaluation.scoring import score, summarise
from evaluation.tsv import load_items
from pipelines.lab.diagnostics import diagnose
from pipelines.stage import Runtime
from pipelines.stages import GenerateParams, ScoreParams
from pipelines.stages.models import CHECKPOINT

SCORES = "scores.json"


def generate(params: GenerateParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """A JSONL of responses per benchmark; one that was interrupted goes on where its file ends."""
    engine = load_engine(
        EngineConfig(
            name=params.engine,
            model=str(inputs["model"] / CHECKPOINT),
            dtype=params.dtype,
            image_backend=params.image_backend,
            base_url=params.url,
        )
    )
    counts = {}
    for name in params.benchmarks:
        benchmark = get_benchmark(name)
        items = load_items(inputs["benchmarks"] / benchmark.tsv, benchmark)
        requests = [Request(item.index, build_prompt(benchmark, item, params.variant), item.images) for item in items]
        responses = run_generation(engine, requests, params.settings, out / f"{name}.jsonl")
        counts[name] = {"n": len(responses), "cut": sum(r.finish_reason == "length" for r in responses)}
    return {"responses": counts, "settings_sha256": params.settings.sha256()}


def score_responses(params: ScoreParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Verdicts a line per item, and `scores.json`: by column, the score with its interval and counts."""
    judge = _judge(params, out)
    scores = {}
    for column, name in params.benchmarks.items():
        benchmark = get_benchmark(name)
        items = load_items(inputs["benchmarks"] / benchmark.tsv, benchmark, with_images=False)
        lines = read_jsonl(inputs["responses"] / f"{name}.jsonl")
        responses = {line["index"]: line["response"] for line in lines}
        verdicts = score(benchmark, items, responses, params.mode, judge)
        records = (json.dumps(verdict.as_record(), ensure_ascii=False) + "\n" for verdict in verdicts)
        (out / f"{name}.verdicts.jsonl").write_text("".join(records), encoding="utf-8")
        scores[column] = summarise(benchmark, items, verdicts) | {"diagnostics": diagnose(items, responses)}
        scores[column]["cut"] = sum(line["finish_reason"] == "length" for line in lines)
    (out / SCORES).write_text(json.dumps(scores, indent=2))
    return {"scores": {column: summary["score"] for column, summary in scores.items()}}


def _judge(params: ScoreParams, out: Path) -> Judge | None:
    if params.judge == "rules":
        return None
    from evaluation.engines.chat import Endpoint
    from evaluation.judges_http import HttpJudge

    return HttpJudge(Endpoint(params.judge_url, params.judge_model), cache=out / "judge.jsonl", mode=params.mode)


def mean_score(folder: Path) -> float:
    """The plain mean of the headline scores in a score artifact."""
    scores = json.loads((folder / SCORES).read_text())
    return float(sum(summary["score"] for summary in scores.values()) / len(scores))
