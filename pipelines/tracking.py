"""What wandb is told: one run per artifact that was made, with its config, curves, scores, tables and manifest.

The only module that imports wandb. Runs are written by the scheduling process, so a worker never waits for a tracker.
"""

import logging
import shutil
from pathlib import Path
from typing import Any

from drift.files import read_jsonl
from pipelines.layout import CHECKPOINT
from pipelines.schema import NoTracker, Wandb
from pipelines.store import MANIFEST, Artifact

log = logging.getLogger(__name__)


class Recorder:
    """Sends artifacts to wandb as they are made.

    Args:
        folder: where wandb keeps its runs; `wandb sync <folder>/wandb/offline-run-*` uploads offline ones.
        group: gathers the runs of one profile in the dashboard.
    """

    def __init__(self, tracker: Wandb | NoTracker, folder: Path, group: str) -> None:
        self.tracker, self.folder, self.group = tracker, folder, group

    def __call__(self, artifact: Artifact) -> None:
        """Records one artifact; does nothing where tracking is disabled."""
        if isinstance(self.tracker, NoTracker):
            return
        import pandas
        import wandb

        manifest = artifact.manifest
        self.folder.mkdir(parents=True, exist_ok=True)
        run = wandb.init(
            project=self.tracker.project,
            mode=self.tracker.mode,
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
        run.finish()


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values as `a/b` keys, numbers and texts only: what a dashboard can plot or sort."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}/")
        elif isinstance(value, (int, float, str)):
            flat[f"{prefix}{key}"] = value
    return flat
