"""What wandb is told: one run per artifact that was made, with its config, curves, scores, tables and manifest.

The only module that imports wandb. Runs are written by the scheduling process, so a worker never waits for a tracker;
and they are written to this disk, so nobody waits for a server: `tracker=online` sends them from there
(`pipelines.upload`). What a tracker can't do never stops a run: it is told, and the command ends with status 3.
"""

import logging
import os
import shutil
from pathlib import Path
from typing import Any

from drift.files import read_jsonl
from pipelines.layout import CHECKPOINT
from pipelines.schema import NoTracker, Wandb
from pipelines.store import MANIFEST, Artifact
from pipelines.upload import Upload, why_not

log = logging.getLogger(__name__)


class Recorder:
    """Records artifacts as they are made.

    Args:
        folder: where wandb keeps its runs; `wandb sync <folder>/wandb/offline-run-*` uploads offline ones.
        group: gathers the runs of one profile in the dashboard.

    Attributes:
        trouble: why not everything was recorded as it was asked; empty where it was.
    """

    def __init__(self, tracker: Wandb | NoTracker, folder: Path, group: str) -> None:
        self.tracker, self.folder, self.group, self.trouble = tracker, folder, group, ""
        self._upload: Upload | None = None
        if isinstance(tracker, Wandb) and tracker.mode == "online":
            if why := why_not(os.environ):
                self._degrade(f"tracker=online, and {why}")
            else:
                self._upload = Upload(folder / "sync.log")

    def __call__(self, artifact: Artifact) -> None:
        """Records one artifact; does nothing where tracking is disabled."""
        if isinstance(self.tracker, NoTracker):
            return
        from wandb.errors import Error

        try:
            place = self._record(artifact, self.tracker)
        except (Error, OSError) as error:
            self._degrade(f"{artifact.manifest['stage']} {artifact.manifest['label']} was not recorded: {error}")
        else:
            if self._upload is not None:
                self._upload.add(place)

    def finish(self) -> None:
        """Waits a bounded time for what is still to be sent."""
        if self._upload is not None:
            self._upload.finish()
            if self._upload.trouble:
                self._degrade(self._upload.trouble)

    def _degrade(self, why: str) -> None:
        if not self.trouble:
            sync = f"wandb sync {self.folder / 'wandb'}/offline-run-*"
            log.warning("%s; the run goes on, recorded on this disk. To send it: %s", why, sync)
        self.trouble = why

    def _record(self, artifact: Artifact, tracker: Wandb) -> Path:
        """The folder of the recorded run."""
        import pandas
        import wandb

        manifest = artifact.manifest
        self.folder.mkdir(parents=True, exist_ok=True)
        run = wandb.init(
            project=tracker.project,
            mode="offline",
            dir=str(self.folder),
            group=self.group,
            job_type=manifest["stage"],
            name=f"{manifest['stage']} {manifest['label']}"[:128],
            config={key: manifest[key] for key in ("params", "inputs", "fingerprint", "git", "packages", "hardware")},
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True, disable_git=True),
        )
        metrics = artifact.path / CHECKPOINT / "metrics.jsonl"
        for row in read_jsonl(metrics, "training metrics") if metrics.exists() else ():
            run.log({key: value for key, value in row.items() if key != "step"}, step=row["step"])
        for path in sorted(artifact.path.glob("tables/*.csv")):
            run.log({f"tables/{path.stem}": wandb.Table(dataframe=pandas.read_csv(path, keep_default_na=False))})
        run.summary.update({**_flat(manifest["values"]), "seconds": manifest["seconds"]})
        shutil.copyfile(artifact.path / MANIFEST, Path(run.dir) / MANIFEST)
        place = Path(run.dir).parent
        run.finish()
        return place


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values as `a/b` keys, numbers and texts only: what a dashboard can plot or sort."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}/")
        elif isinstance(value, (int, float, str)):
            flat[f"{prefix}{key}"] = value
    return flat
