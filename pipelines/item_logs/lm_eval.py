"""lm-evaluation-harness's logged samples: `samples_TASK_DATE.jsonl` and `results_DATE.json` in the model's folder.

As `lm_eval --log_samples` of version 0.4 writes them; pictures are left out, as it leaves them out.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from evaluation.benchmarks import build_prompt, get_benchmark
from pipelines.answered import Answered, ScoreFiles
from pipelines.scored import read_scores

_FILTER = "none"  # what stands behind a metric's comma, where no filter of the harness's was at work
_UNSAFE = re.compile(r'["<>:/|\\?*\[\]]+')


def files(score: ScoreFiles, column: str, name: str) -> dict[str, bytes]:
    """The samples of one benchmark and what they add up to, by their paths below the export."""
    answered = score.answered(name, score.items(name))
    lines = [_line(score, name, place, each) for place, each in enumerate(answered)]
    scored = read_scores(score.folder(score.manifest))[column].score
    metrics = {f"{key},{_FILTER}": each.value / 100 for key, each in scored.metrics.items()}
    hashes = "".join(line["doc_hash"] + line["prompt_hash"] + line["target_hash"] for line in lines)
    results = {
        "results": {name: {"alias": name, "sample_len": len(lines), **metrics}},
        "configs": {name: {"task": name, "dataset_path": name, "test_split": score.split}},
        "versions": {name: scored.version},
        "n-samples": {name: {"original": len(lines), "effective": len(lines)}},
        "higher_is_better": {name: dict.fromkeys(scored.metrics, True)},
        "config": {"model": "drift", "model_args": score.checkpoint["fingerprint"], "column": column},
        "model_name": score.checkpoint["label"],
        "task_hashes": {name: _hash(hashes)},
    }
    when = str(score.manifest["started"]).replace(":", "-")
    folder = f"{_UNSAFE.sub('__', str(score.checkpoint['label']))}/{score.protocol}-{score.split}/{name}"
    written = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    return {
        f"{folder}/samples_{name}_{when}.jsonl": written.encode(),
        f"{folder}/results_{when}.json": json.dumps(results, indent=2, ensure_ascii=False).encode(),
    }


def _line(score: ScoreFiles, name: str, place: int, answered: Answered) -> dict[str, Any]:
    item, verdict = answered.item, answered.verdict
    prompt = build_prompt(get_benchmark(name), item, score.responses["params"].get("variant", "default"))
    doc = {"index": item.index, "question": item.question, "options": dict(item.options), **item.fields}
    settings: Mapping[str, Any] = score.responses["params"].get("engine", {}).get("settings", {})
    target = str(verdict["gold"])
    return {
        "doc_id": place,
        "doc": doc,
        "target": target,
        "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": dict(settings)}},
        "resps": [[str(answered.response.get("response", ""))]],
        "filtered_resps": [verdict["extraction"] or ""],
        "filter": _FILTER,
        "metrics": ["accuracy"],
        "doc_hash": _hash(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": _hash(prompt),
        "target_hash": _hash(target),
        "accuracy": {True: 1.0, False: 0.0, None: None}[verdict["correct"]],
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
