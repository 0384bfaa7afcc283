"""inspect_ai's log, version 2 (`inspect view`): a zip of a header, a file a sample, and a summary of each.

Written by hand from the schema that inspect_ai 0.3.285 writes and reads (`inspect_ai.log`): the package would bring
fifty others. What it reads back is in tests/pipelines/test_item_logs.py.
"""

import io
import json
import zipfile
from typing import Any

from evaluation.benchmarks import build_prompt, get_benchmark
from evaluation.engines.openai import data_url
from pipelines.answered import Answered, ScoreFiles
from pipelines.scored import Scored, read_scores

_VALUES = {True: "C", False: "I", None: "N"}  # correct, incorrect, no answer: inspect_ai's own letters
_STAMP = (1980, 1, 1, 0, 0, 0)  # the same score gives the same bytes
_PICTURE = {"type": "text", "text": "(Image)"}


def files(score: ScoreFiles, column: str, name: str) -> dict[str, bytes]:
    """One log: the checkpoint's answers to one benchmark under one protocol; a stand-in goes by its own name."""
    answered = score.answered(name, score.items(name))
    samples = [_sample(score, name, each) for each in answered]
    scored = read_scores(score.folder(score.manifest))[column]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        _put(archive, "_journal/start.json", {"version": 2, "eval": _eval(score, column, name, len(samples))})
        for sample in samples:
            _put(archive, f"samples/{sample['id']}_epoch_1.json", sample)
        _put(archive, "summaries.json", [_summary(sample) for sample in samples])
        _put(archive, "header.json", _header(score, column, name, scored, len(samples)))
    return {f"{_stem(score, name)}.eval": packed.getvalue()}


def _put(archive: zipfile.ZipFile, name: str, content: Any) -> None:
    entry = zipfile.ZipInfo(name, _STAMP)
    archive.writestr(entry, json.dumps(content), zipfile.ZIP_DEFLATED)


def _stem(score: ScoreFiles, name: str) -> str:
    """As inspect_ai calls its logs: when, of what, and which."""
    when = str(score.manifest["started"]).replace(":", "-")
    return f"{when}_{name}_{score.manifest['fingerprint'][:20]}"


def _eval(score: ScoreFiles, column: str, name: str, count: int) -> dict[str, Any]:
    mark = str(score.manifest["fingerprint"])
    settings = score.responses["params"].get("engine", {}).get("settings", {})
    generation = {"temperature": settings.get("temperature"), "max_tokens": settings.get("max_new_tokens")}
    return {
        "eval_id": f"{mark[:20]}-{name}",
        "run_id": mark,
        "created": score.manifest["started"],
        "task": name,
        "task_id": f"{name}-{score.split}",
        "task_version": score.manifest["version"],
        "dataset": {"name": name, "samples": count, "shuffled": False},
        "model": str(score.checkpoint["label"]),
        "model_generate_config": {key: value for key, value in generation.items() if value is not None},
        "config": {},
        "revision": None,
        "packages": {},
        "tags": [score.protocol, score.split],
        "metadata": {"score": mark, "checkpoint": score.checkpoint["fingerprint"], "column": column},
    }


def _header(score: ScoreFiles, column: str, name: str, scored: Scored, count: int) -> dict[str, Any]:
    share = scored.score.correct / count if count else 0.0
    metrics = {"accuracy": share} | {key: each.value for key, each in scored.score.metrics.items() if key != "accuracy"}
    results = {
        "total_samples": count,
        "completed_samples": count,
        "scores": [
            {
                "name": score.protocol,
                "scorer": score.protocol,
                "scored_samples": count - scored.score.unjudged,
                "unscored_samples": scored.score.unjudged,
                "metrics": {key: {"name": key, "value": value} for key, value in metrics.items()},
            }
        ],
    }
    times = {"started_at": score.manifest["started"], "completed_at": score.manifest["started"]}
    return {
        "version": 2,
        "status": "success",
        "eval": _eval(score, column, name, count),
        "plan": {"name": "plan", "steps": [], "config": {}},
        "results": results,
        "stats": times | {"model_usage": {}},
    }


def _sample(score: ScoreFiles, name: str, answered: Answered) -> dict[str, Any]:
    item, verdict = answered.item, answered.verdict
    text = str(answered.response.get("response", ""))
    stop = "max_tokens" if answered.response.get("finish_reason") == "length" else "stop"
    prompt = build_prompt(get_benchmark(name), item, score.responses["params"].get("variant", "default"))
    pictures = [{"type": "image", "image": data_url(image, item.index)} for image in item.images]
    question = {"role": "user", "content": [*pictures, {"type": "text", "text": prompt}]}
    reply = {"role": "assistant", "content": text, "source": "generate"}
    model = str(score.checkpoint["label"])
    return {
        "id": item.index,
        "epoch": 1,
        "input": [question],
        "choices": list(item.options.values()) or None,
        "target": str(verdict["gold"]),
        "messages": [question, reply],
        "output": {"model": model, "choices": [{"message": reply, "stop_reason": stop}], "completion": text},
        "scores": {score.protocol: _verdict(verdict)},
        "metadata": {"group": item.group, **item.fields},
        "store": {},
        "events": [],
        "model_usage": {},
        "attachments": {},
    }


def _verdict(verdict: Any) -> dict[str, Any]:
    why = verdict.get("judge_raw") or verdict.get("evidence") or f"by the rule {verdict['rule']}"
    told = ("rule", "mode", "protocol", "judge", "unmatched", "conflict", "is_missing", "is_truncated")
    return {
        "value": _VALUES[verdict["correct"]],
        "answer": verdict["extraction"],
        "explanation": why,
        "metadata": {key: verdict[key] for key in told if key in verdict},
    }


def _summary(sample: dict[str, Any]) -> dict[str, Any]:
    """A sample as the list of samples shows it: without its pictures and its words."""
    (question,) = sample["input"]
    content = [_PICTURE if part["type"] == "image" else part for part in question["content"]]
    kept = {key: sample[key] for key in ("id", "epoch", "target", "metadata", "scores", "model_usage")}
    return {**kept, "input": [{**question, "content": content}], "completed": True, "message_count": 2}
