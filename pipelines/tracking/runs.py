"""The runs as wandb gets them, each written to this disk: the only module that imports wandb."""

import csv
import io
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import wandb
from PIL import Image
from wandb.sdk.wandb_run import Run

from drift.files import write_whole
from pipelines.answered import Manifests, ScoreFiles
from pipelines.layout import CHECKPOINT, FIGURES, PACE, PAGE, TABLES
from pipelines.stages import REPORT, SCORE, TRAIN
from pipelines.store import MANIFEST, Store
from pipelines.tracking import describe, evaluations
from pipelines.tracking.journal import Begin, Finished, Lines, Started
from pipelines.tracking.read import last_step, segments
from pipelines.tracking.upload import Upload

METRICS = f"{CHECKPOINT}/metrics.jsonl"
RECORDED = ".recorded"
_LOOK_SECONDS = 0.1
_FLUSH_SECONDS = 1.0  # what a kill takes of a run's file


@dataclass
class Live:
    """A training that is written as its metrics grow. What an earlier segment of the run holds is left out."""

    run: Run
    last: int
    _metrics: Lines
    _pace: Lines

    @classmethod
    def of(cls, run: Run, last: int, folder: Path) -> "Live":
        """Follows the metrics below a stage's folder."""
        return cls(run, last, Lines(folder / METRICS), Lines(folder / PACE))

    def look(self) -> None:
        """Writes the steps that are new."""
        steps = [json.loads(line) for line in self._metrics.new()]
        pace = {line["step"]: line for line in map(json.loads, self._pace.new())}
        for line in steps:
            step = line["step"]
            if step > self.last:
                values = {key: value for key, value in (line | pace.get(step, {})).items() if value is not None}
                del values["step"]
                self.run.log({f"train/{key}": value for key, value in values.items()}, step=step, commit=True)
                self.last = step


class Book:
    """Every run of one scheduler.

    Attributes:
        live: the trainings that run, by fingerprint.
        trouble: what could not be sent.
    """

    def __init__(self, begin: Begin) -> None:
        self._begin, self._known = begin, Manifests(begin.store)
        self._upload = Upload(begin.folder / "sync.log") if begin.uploads else None
        self._report: Finished | None = None
        self._tried: dict[str, list[str]] = {}  # scores of checkpoints that have no run yet, by its id
        self.live: dict[str, Live] = {}
        self.trouble = ""

    def begin(self, started: Started) -> None:
        """Opens, or takes up, a training's run."""
        made = started.made
        mark = str(made["fingerprint"])
        if mark in self.live or self._marks(_id(TRAIN.name, mark)):  # its worker was started again, or its weights are
            return
        last = last_step(self._begin.folder, _id(TRAIN.name, mark))
        run = self._training(made, started.group)
        self.live[mark] = Live.of(run, last, started.partial)
        if self._upload is not None:
            self._upload.follow(Path(run.dir).parent)

    def finish(self, finished: Finished) -> None:
        """Records what was made; the report only when it is published, at the end."""
        manifest = json.loads((finished.path / MANIFEST).read_text())
        match manifest["stage"]:
            case TRAIN.name:
                self._trained(manifest, finished)
            case SCORE.name:
                self._scored(manifest, finished)
            case REPORT.name:
                self._report = finished

    def close(self) -> None:
        """Records the report, ends what still runs as failed, and waits for what is to be sent."""
        if self._report is not None:
            self._reported(self._report)
        for live in self.live.values():
            live.look()
            self._end(live.run, 1)
        self.live.clear()
        wandb.teardown()
        if self._upload is not None:
            self._upload.finish()
            self.trouble = self._upload.trouble

    def _trained(self, manifest: Mapping[str, Any], finished: Finished) -> None:
        mark = str(manifest["fingerprint"])
        run_id = _id(TRAIN.name, mark)
        live = self.live.pop(mark, None)
        if live is None and self._marks(run_id):
            return
        last = live.last if live else last_step(self._begin.folder, run_id)
        run = live.run if live else self._training(manifest, finished.group)
        Live.of(run, last, finished.path).look()
        run.summary.update(_flat(manifest["values"]) | {"seconds": manifest["seconds"]})
        run.config.update({"made": _made(manifest)}, allow_val_change=True)
        self._end(run, 0)
        self._mark(run_id, [mark])

    def _training(self, made: Mapping[str, Any], group: str) -> Run:
        settings = describe.of_training(made, self._known)
        return self._open(TRAIN.name, made["fingerprint"], made["label"], group, settings)

    def _scored(self, manifest: Mapping[str, Any], finished: Finished) -> None:
        """Adds to the run of the score's checkpoint; a later segment repeats what the earlier ones say.

        A checkpoint that was only tried, and is not the one that is reported on, is no run.
        """
        score, mark = self._files(manifest), str(manifest["fingerprint"])
        checkpoint = score.checkpoint
        run_id = _id("evaluate", checkpoint["fingerprint"])
        marks = self._marks(run_id)
        if mark in marks:
            return
        if finished.tried and not marks:
            self._tried.setdefault(run_id, []).append(mark)
            return
        marks += self._tried.pop(run_id, [])
        settings = describe.of_checkpoint(manifest, self._known)
        run = self._open("evaluate", checkpoint["fingerprint"], checkpoint["label"], finished.group, settings)
        shown: dict[str, Any] = _flat(checkpoint["values"], "checkpoint/")
        for each in (*marks, mark):
            shown |= evaluations.values(self._files(self._known[each]))
        items = evaluations.items(score, self._begin.tracker.items)
        run.log({**shown, **{name: _table(rows) for name, rows in items.items()}}, step=len(marks))
        run.config.update({"made": _made(manifest)}, allow_val_change=True)
        self._end(run, 0)
        self._mark(run_id, [*marks, mark])

    def _files(self, score: Mapping[str, Any]) -> ScoreFiles:
        return ScoreFiles(Store(self._begin.store), score, self._known)

    def _reported(self, finished: Finished) -> None:
        manifest = json.loads((finished.path / MANIFEST).read_text())
        run_id = _id(REPORT.name, manifest["fingerprint"])
        if self._marks(run_id):
            return
        run = self._open(REPORT.name, manifest["fingerprint"], manifest["label"], self._begin.profile, None)
        shown: dict[str, Any] = {f"tables/{path.stem}": _csv(path) for path in finished.path.glob(f"{TABLES}/*.csv")}
        figures = finished.path.glob(f"{FIGURES}/*.png")
        shown |= {f"figures/{path.stem}": wandb.Image(str(path)) for path in figures}
        pages = [each / PAGE for each in (finished.path, self._begin.results) if (each / PAGE).is_file()]
        for page in pages[:1]:
            shown["page"] = wandb.Html(str(page), inject=False)
            kept = wandb.Artifact(f"page-{self._begin.profile}", type="page")
            kept.add_file(str(page))
            run.log_artifact(kept)
        run.log(shown, step=0)
        run.summary.update(_flat(manifest["values"]))
        self._end(run, 0)
        self._mark(run_id, [str(manifest["fingerprint"])])

    def _open(self, kind: str, mark: str, label: str, group: str, settings: Mapping[str, describe.Value] | None) -> Run:
        """Begins a segment of a run."""
        profile = self._begin.profile
        while segments(self._begin.folder, _id(kind, mark), f"{datetime.now():%Y%m%d_%H%M%S}"):
            time.sleep(_LOOK_SECONDS)  # a segment's folder is named by the second: two must not share one
        tags = [profile] if settings is None else describe.tags(settings, label, profile)
        config = describe.nested(settings or {}) | {"fingerprint": mark, "label": label, "profile": profile}
        return wandb.init(
            id=_id(kind, mark),
            resume="allow",
            reinit="create_new",
            project=self._begin.tracker.project,
            mode="offline",
            dir=str(self._begin.folder),
            group=group,
            job_type=kind,
            name=describe.name(kind, label),
            tags=tags,
            config=config,
            settings=_settings(),
        )

    def _end(self, run: Run, status: int) -> None:
        place = Path(run.dir).parent
        run.finish(exit_code=status)
        if self._upload is not None:
            self._upload.add(place)

    def _marks(self, run_id: str) -> list[str]:
        """The fingerprints of what a run is known to hold."""
        path = self._place(run_id)
        found: list[str] = json.loads(path.read_text()) if path.is_file() else []
        return found

    def _mark(self, run_id: str, marks: list[str]) -> None:
        write_whole(self._place(run_id), json.dumps(marks))

    def _place(self, run_id: str) -> Path:
        return self._begin.folder / RECORDED / f"{run_id}.json"


def _settings() -> wandb.Settings:
    """Nothing but what is recorded here: no console, no statistics of the machine, no list of packages."""
    return wandb.Settings(
        silent=True,
        console="off",
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        disable_git=True,
        disable_code=True,
        x_transaction_log_flush_interval=_FLUSH_SECONDS,
    )


def _id(kind: str, fingerprint: str) -> str:
    """As the store's folders are called."""
    return f"{kind}-{fingerprint[:20]}"


def _made(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """By which code, where and in which time."""
    return {key: manifest.get(key) for key in ("git", "packages", "hardware", "place", "started", "seconds")}


def _table(rows: list[dict[str, Any]]) -> wandb.Table:
    """A table whose cells of bytes are pictures."""
    data = [[_picture(cell) if isinstance(cell, bytes) else cell for cell in row.values()] for row in rows]
    return wandb.Table(columns=[*rows[0]], data=data)


def _picture(content: bytes) -> wandb.Image:
    return wandb.Image(Image.open(io.BytesIO(content)))


def _csv(path: Path) -> wandb.Table:
    with path.open(newline="", encoding="utf-8") as stream:
        columns, *rows = list[list[Any]](csv.reader(stream))
    return wandb.Table(columns=columns, data=[[_number(cell) for cell in row] for row in rows], allow_mixed_types=True)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values as `a/b` keys, numbers and texts only: what a dashboard can plot or sort."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}/")
        elif isinstance(value, (int, float, str)):
            flat[f"{prefix}{key}"] = value
    return flat
