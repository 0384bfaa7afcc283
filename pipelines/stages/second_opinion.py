"""VLMEvalKit's verdicts beside ours: the real toolkit on the same tables and checkpoint, compared item by item."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drift.files import read_jsonl
from evaluation.benchmarks import Benchmark, get_benchmark
from evaluation.data.markdown import write_csv
from evaluation.data.tsv import load_items
from evaluation.judging.scoring import summarise
from evaluation.judging.verdicts import Verdict
from evaluation.toolkit.agreement import compare_verdicts, write_agreement
from evaluation.toolkit.job import ToolkitJob, run_toolkit, toolkit_python, toolkit_score, toolkit_verdicts
from pipelines.errors import StageError
from pipelines.layout import CHECKPOINT
from pipelines.stage import Runtime
from pipelines.stages import SecondOpinionParams


def compare_with_toolkit(
    params: SecondOpinionParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path
) -> dict[str, Any]:
    """agreement.csv and .md, disagreements.jsonl, scores.csv, and the toolkit's verdicts, status and log in `toolkit/`.

    A run that was killed starts from nothing: the toolkit takes whatever files it finds as its own.

    Returns:
        The toolkit's commit, the agreement in percent by benchmark, and the scores of `scores.csv`.
    Raises:
        StageError: the toolkit is not the one that was planned with.
        ToolkitError: it is not installed, or failed.
    """
    folder = out / "toolkit"
    shutil.rmtree(folder, ignore_errors=True)
    job = ToolkitJob(
        data=inputs["benchmarks"],
        folder=folder,
        benchmarks=params.benchmarks,
        model=str(inputs["model"] / CHECKPOINT),
        judge=params.judge,
        judge_url=params.judge_url,
        engine=params.engine,
        variant=params.variant,
        threads=runtime.threads,
    )
    record = run_toolkit(job, toolkit_python())
    if record["commit"] != params.commit:
        raise StageError(
            f"VLMEvalKit is installed at commit {record['commit']}, planned was {params.commit}; run again, or set "
            "evaluator.revision=installed"
        )
    agreements, scores, modes = [], {}, set()
    for name in params.benchmarks:
        row = get_benchmark(name)
        said = {line["index"]: line["response"] for line in read_jsonl(inputs["responses"] / f"{row.name}.jsonl")}
        verdicts = read_jsonl(inputs["scores"] / f"{row.name}.verdicts.jsonl")
        ours = [{**verdict, "response": said[verdict["index"]]} for verdict in verdicts]
        theirs = toolkit_verdicts(folder, row)
        agreements.append(compare_verdicts(row.name, ours, theirs))
        modes |= {verdict["mode"] for verdict in ours}
        scores[row.name] = _scores(row, inputs, folder, ours, theirs)
    note = f"VLMEvalKit commit {params.commit}, judge {params.judge}; our rules in mode {', '.join(sorted(modes))}."
    write_agreement(agreements, out, note=note)
    write_csv(out / "scores.csv", [{"benchmark": name, **row} for name, row in scores.items()])
    for name in ("data", "work"):  # the tables once more, their images, and the toolkit's intermediate files
        shutil.rmtree(folder / name)
    agreement = {each.benchmark: each.row()["agreement"] for each in agreements}
    return {"commit": params.commit, "judge": params.judge, "agreement": agreement, "scores": scores}


def _scores(
    row: Benchmark,
    inputs: Mapping[str, Path],
    folder: Path,
    ours: Sequence[Mapping[str, Any]],
    theirs: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The headline by our formula from both sides' verdicts, and the toolkit's own figure on its own scale."""
    items = load_items(inputs["benchmarks"] / row.tsv, row, with_images=False)
    metric, value = toolkit_score(folder, row)
    by_side = {}
    for side, records in (("ours", ours), ("theirs", theirs)):
        correct = {str(record["index"]): record["correct"] for record in records}
        verdicts = [Verdict(item.index, correct[item.index], "", side, group=item.group) for item in items]
        by_side[side] = summarise(row, items, verdicts).value
    return {**by_side, "toolkit_metric": metric, "toolkit_score": value}
