"""Recordings looked at, sent and made up for: drift track --watch | --sync | --backfill | --dashboards [overrides]

`--watch` opens `wandb leet` on the training that was begun last; `--sync` sends what was recorded on this disk and not
sent yet; `--backfill` records what the store holds of the profile's tables and was not recorded; `--dashboards` writes
the saved views and the report as code, and saves them on the server where there is a key. The same as `make watch`,
`make sync`, `make dashboards`.

Example:
    drift track --watch
    drift track --sync
    drift track --backfill profile=smoke
    drift track --dashboards entity=somebody
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from drift.errors import closest
from drift.files import write_whole
from pipelines import compose, tables
from pipelines.errors import ConfigError
from pipelines.scheduler import resolve
from pipelines.schema import Config, Wandb
from pipelines.session import DEGRADED, guarded, recording, rooted
from pipelines.stage import Call, ordered
from pipelines.store import Artifact, Store
from pipelines.tracking.recorder import environment
from pipelines.tracking.upload import unmark_refused, why_not

log = logging.getLogger(__name__)
_ENTITY = "entity="


def main(words: Sequence[str]) -> int:
    """The command `drift track`; the exit status."""
    return guarded(lambda: track(words), words, __doc__)


def track(words: Sequence[str]) -> int:
    """Does the one thing that is asked.

    Raises:
        ConfigError: none or several are asked, an override that is none, or nothing is recorded (tracker=disabled).
    """
    asked = [word for word in words if word.startswith("--")]
    if len(asked) != 1 or asked[0] not in _DOES:
        raise ConfigError(f"{' '.join(asked) or 'nothing'} is asked: {closest(''.join(asked), _DOES)}")
    entity = next((word.removeprefix(_ENTITY) for word in words if word.startswith(_ENTITY)), "")
    overrides = [word for word in words if word not in asked and not word.startswith(_ENTITY)]
    config, _ = compose.load_fitting([], overrides)
    if not isinstance(config.tracker, Wandb):
        raise ConfigError("tracker=disabled records nothing; tracker=offline says where the recordings lie")
    return _DOES[asked[0]](config, config.tracker, overrides, entity)


def watch(config: Config, tracker: Wandb, overrides: Sequence[str], entity: str) -> int:
    """Opens wandb's terminal view on the training that was begun last.

    Raises:
        ConfigError: none was recorded.
    """
    folder = rooted(tracker.folder)
    found = sorted((folder / "wandb").glob("offline-run-*-train-*"), key=lambda path: path.name)
    if not found:
        raise ConfigError(f"{folder} holds no training; they are recorded from their first logged step on")
    return _wandb(folder, "leet", str(found[-1]))


def sync(config: Config, tracker: Wandb, overrides: Sequence[str], entity: str) -> int:
    """Sends what was not sent; DEGRADED where some of it still is not.

    Raises:
        ConfigError: nothing can be sent from here; says why.
    """
    folder = rooted(tracker.folder)
    if why := why_not(os.environ):
        raise ConfigError(why)
    before = unsent(folder)
    command = [sys.executable, "-m", "wandb", "sync", *(["--entity", entity] if entity else []), *map(str, before)]
    if not before:
        log.info("all that was recorded in %s is sent", folder)
        return 0
    said, status = _shown(command, os.environ | environment(folder))
    unmark_refused(said, before)
    left = unsent(folder)
    log.info("%d recordings are still to be sent; the same command goes on with them", len(left)) if left else None
    return DEGRADED if left or status else 0


def _shown(command: Sequence[str], environ: Mapping[str, str]) -> tuple[str, int]:
    """What a command says, which is shown as it comes, and its status."""
    lines: list[str] = []
    with subprocess.Popen(
        command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            lines.append(line)
            sys.stderr.write(line)
    return "".join(lines), process.returncode


def unsent(folder: Path) -> list[Path]:
    """The segments that no server has."""
    found = (folder / "wandb").glob("offline-run-*/*.wandb")
    return sorted(path.parent for path in found if not path.with_suffix(".wandb.synced").exists())


def backfill(config: Config, tracker: Wandb, overrides: Sequence[str], entity: str) -> int:
    """Records what the store holds of the profile's tables; what was recorded is left as it is."""
    calls = ordered([tables.as_asked(tables.standard(), overrides, online=False)[0]])
    done = held(calls, Store(rooted(config.store)))
    recorder = recording(config)
    recorder.planned(calls, done)
    for artifact in done.values():
        recorder(artifact)
    log.info("%d artifacts of %d are in the store; what of them is worth a run is recorded", len(done), len(calls))
    recorder.finish(None)
    return 0


def held(calls: Sequence[Call], store: Store) -> dict[str, Artifact]:
    """What a store holds of a plan, by call key."""
    done: dict[str, Artifact] = {}
    for call in calls:
        if all(source.key in done for source in call.sources):
            found = store.usable(call.stage.name, resolve(call, done).fingerprint)
            if found is not None:
                done[call.key] = found
    return done


def dashboards(config: Config, tracker: Wandb, overrides: Sequence[str], entity: str) -> int:
    """Writes the views and the report as JSON, and saves them on the server where an entity and a key are given.

    Raises:
        ConfigError: an entity is given, and the server can't be had.
    """
    from wandb.errors import Error

    from pipelines.tracking import dashboards as code

    folder = rooted(tracker.folder)
    for title, spec in code.specs(tracker.project).items():
        path = rooted(config.results).with_name("dashboards") / f"{title.lower()}.json"
        write_whole(path, json.dumps(spec, indent=1) + "\n")
        log.info("%s: %s", title, path)
    if not entity:
        log.info("to save them on the server: drift track --dashboards entity=NAME, with WANDB_API_KEY set")
        return 0
    if why := why_not(os.environ):
        raise ConfigError(why)
    try:
        places = code.apply(entity, tracker.project, folder)
    except Error as error:
        raise ConfigError(f"the server did not take the dashboards of {entity}: {error}") from None
    for title, place in places.items():
        log.info("%s: %s", title, place)
    return 0


_DOES = {"--watch": watch, "--sync": sync, "--backfill": backfill, "--dashboards": dashboards}


def _wandb(folder: Path, *words: str) -> int:
    """Runs a command of wandb's own on the recordings; its status."""
    command = [sys.executable, "-m", "wandb", *words]
    return subprocess.run(command, env=os.environ | environment(folder), check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
