"""A store with one training, its responses and scores, small enough to be recorded in a second, and what came of it."""

import base64
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from evaluation.benchmarks import get_benchmark
from evaluation.data.tsv import load_items, write_rows
from evaluation.judging.scoring import score, summarise
from pipelines import stages
from pipelines.fingerprint import canonical
from pipelines.job import Job
from pipelines.schema import Wandb
from pipelines.scored import Scored, write_scores
from pipelines.stages import TrainParams
from pipelines.store import Artifact, Store
from pipelines.tracking import Recorder

BENCHMARK = "LabMathVista"
METRICS = [
    {"step": step, "epoch": step / 4, "loss": 1 / step, "grad_norm": 1.5, "cosine": 0.1, "w_eff": 0.01 * step,
     "w_eff/attn": 0.02 * step} for step in range(1, 9)
]  # fmt: skip


def picture(shade: int) -> bytes:
    """A small PNG."""
    content = io.BytesIO()
    Image.new("L", (4, 4), shade).save(content, "PNG")
    return content.getvalue()


class World:
    """The store and the folder of recordings."""

    def __init__(self, root: Path) -> None:
        self.store, self.folder = Store(root / "store"), root / "recordings"
        roles = ("mllm", "expert")
        self._models = {role: self._commit("model", role, {"role": role, "family": role}) for role in roles}
        self._inputs = {
            "model": self._models["mllm"],
            "data": self._commit("data", "data", {"source": "lab"}),
            "prior": self._commit("prior", "prior", {"prior": {"kind": "direct"}}, self._models),
        }

    def recorder(self, mode: Any = "offline") -> Recorder:
        tracker = Wandb(mode, "drift", str(self.folder), 2)
        return Recorder(tracker, self.folder, self.store.root, self.folder.parent / "results", "smoke")

    def runs(self) -> list[Path]:
        """The segments that were recorded, by name."""
        return sorted((self.folder / "wandb").glob("offline-run-*"), key=lambda path: (kind(path), path.name))

    def job(self, alpha: float = -0.5) -> Job:
        """The training as the scheduler hands it out."""
        training, injection = stages.TrainingConfig(), stages.InjectionConfig(scale="adaptive", alpha=alpha)
        params = TrainParams(training, injection)
        return Job(stages.TRAIN, "e" * 64, params, self._inputs, "qwen2_5_vl_r1 default drift seed=0")

    def training(self) -> Artifact:
        """The training, made."""
        job = self.job()
        values = {"w_eff": 0.08, "loss": 0.125}
        lines = "".join(json.dumps(line) + "\n" for line in METRICS)
        pace = "".join(json.dumps({"step": n, "tokens_per_second": 9.5, "memory_gb": 1.25}) + "\n" for n in range(1, 9))
        files = {"model/metrics.jsonl": lines, "model/pace.jsonl": pace}
        params = canonical(job.params, whole=True)
        return self._commit("train", job.label, params, dict(job.inputs), values, files, mark=job.fingerprint)

    def score(self, split: str) -> Artifact:
        """Two items of a benchmark, answered by the training's checkpoint, scored; one is right."""
        benchmark = get_benchmark(BENCHMARK)
        rows = [
            {"index": str(n), "image": base64.b64encode(picture(60 * n)).decode(), "question": f"{split} {n}?",
             "answer": str(n)} for n in (1, 2)
        ]  # fmt: skip
        write_rows(self.store.root.parent / "table.tsv", rows)
        table = (self.store.root.parent / "table.tsv").read_text()
        asked = self._commit("benchmarks", split, {"source": "lab", "split": split}, files={benchmark.tsv: table})
        responses = [{"index": str(n), "response": "The answer is \\boxed{1}", "finish_reason": "stop"} for n in (1, 2)]
        written = "".join(json.dumps(line) + "\n" for line in responses)
        made = self.training() if not self.store.path("train", "e" * 64).exists() else self.find("train", "e" * 64)
        inputs = {"model": made, "benchmarks": asked}
        answered = self._commit(
            "generate", split, {"variant": "default"}, inputs, files={f"{BENCHMARK}.jsonl": written}
        )
        items = load_items(asked.path / benchmark.tsv, benchmark)
        verdicts = score(benchmark, items, {line["index"]: line["response"] for line in responses}, "official", None)
        lines = "".join(json.dumps(vars(verdict)) + "\n" for verdict in verdicts)
        params = {"benchmarks": {"MathVista": BENCHMARK}, "judge": {"name": "rules", "mode": "official"}}
        scored = {"MathVista": Scored(summarise(benchmark, items, verdicts), {}, 0)}
        return self._commit(
            "score", f"{made.manifest['label']} on {split}", params, {"responses": answered, "benchmarks": asked},
            {"scores": {"MathVista": 50.0}}, {f"{BENCHMARK}.verdicts.jsonl": lines}, scored,
        )  # fmt: skip

    def report(self) -> Artifact:
        """A table and a figure."""
        files = {"tables/table1.csv": "row,Avg\nMLLM,50.0\n", "report.md": "# Report\n"}
        return self._commit("report", "table1", {"profile": "smoke"}, values={"numbers": 1}, files=files)

    def find(self, stage: str, mark: str) -> Artifact:
        found = self.store.find(stage, mark)
        assert found is not None
        return found

    def _commit(
        self, stage: str, label: str, params: dict[str, Any], inputs: dict[str, Artifact] | None = None,
        values: dict[str, Any] | None = None, files: dict[str, str] | None = None,
        scored: dict[str, Scored] | None = None, mark: str = "",
    ) -> Artifact:  # fmt: skip
        mark = mark or hashlib.sha256(f"{stage} {label}".encode()).hexdigest()
        if (found := self.store.find(stage, mark)) is not None:
            return found
        manifest = {
            "stage": stage, "fingerprint": mark, "label": label, "params": params, "values": values or {},
            "inputs": {name: artifact.fingerprint for name, artifact in (inputs or {}).items()}, "seconds": 1.0,
            "git": {"sha": "1" * 40, "dirty": False}, "started": "2026-01-01T00:00:00+00:00", "version": 1,
        }  # fmt: skip
        with self.store.writing(stage, mark) as partial:
            for name, text in (files or {}).items():
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                (partial / name).write_text(text)
            if scored:
                write_scores(partial, scored)
            return self.store.commit(partial, manifest)


def kind(segment: Path) -> str:
    """`train`, `evaluate` or `report`."""
    return segment.name.split("-")[3]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
