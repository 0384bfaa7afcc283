"""What `run` and `reproduce` share: from a Config to a scheduler, and errors to one message and an exit status."""

import atexit
import json
import logging
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from drift.errors import DriftError, closest
from drift.words import HELP
from pipelines import compose, executors, rates
from pipelines.catalogue.about import about
from pipelines.environment import set_defaults
from pipelines.errors import ConfigError, StoreError
from pipelines.fingerprint import canonical
from pipelines.lease import Lease
from pipelines.overrides import choices
from pipelines.scheduler import Scheduler
from pipelines.schema import Config, Wandb
from pipelines.stage import Runtime
from pipelines.stages import STAGES
from pipelines.staleness import Freshness
from pipelines.store import Store
from pipelines.tracking import Recorder

log = logging.getLogger(__name__)
DEGRADED = 3  # the exit status of a command that did its work, though not all as it was asked
_recorders: list[Recorder] = []


def rooted(path: str) -> Path:
    """A configured path; relative ones lie below the project's root, wherever the command was typed."""
    return (compose.ROOT / path).resolve()


def writable(folder: Path) -> Path:
    """A folder that results will be written into, or can be made for them.

    Raises:
        ConfigError: it can't, which is found before hours of work and not after.
    """
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    try:
        with TemporaryDirectory(dir=nearest):
            return folder
    except OSError as error:
        raise ConfigError(f"{folder} can't be written ({nearest}: {error.strerror}); say results=FOLDER") from None


def runtime(config: Config) -> Runtime:
    """How stages run on this machine, as the launcher group says."""
    store = rooted(config.store)
    return Runtime(
        store=store,
        threads=config.launcher.threads,
        launcher=config.launcher.kind,
        cache=store / ".cache",
        offline=config.launcher.offline,
    )


def scheduler(config: Config) -> Scheduler:
    """The scheduler of this machine, as the launcher and tracker groups say."""
    own = runtime(config)
    executor = executors.make(config.launcher, own)
    recorder, machine = recording(config), rates.load(own.store)
    _use(own.store)
    return Scheduler(
        own, executor, recorder, lambda call: call.needs_on(machine).seconds, config.keep, freshness(config), about,
        on_planned=recorder.planned, on_started=recorder.started,
    )  # fmt: skip


def recording(config: Config) -> Recorder:
    """What records for this process, as the tracker group says; `degraded` ends it."""
    tracker = config.tracker
    folder = rooted(tracker.folder if isinstance(tracker, Wandb) else config.store)
    recorder = Recorder(tracker, folder, rooted(config.store), rooted(config.results), config.profile)
    _recorders.append(recorder)
    return recorder


def freshness(config: Config) -> Freshness:
    """Which artifacts of the store are taken, as `trust` and `force` say.

    Raises:
        ConfigError: `force` names no stage.
    """
    if unknown := [name for name in config.force if name not in STAGES]:
        raise ConfigError(f"force={unknown[0]}: {closest(unknown[0], STAGES)}")
    return Freshness(Store(rooted(config.store)), config.trust, config.force)


@cache
def _use(store: Path) -> Lease:
    """Says for as long as this process lives that it uses the store, so that nobody removes it meanwhile.

    Raises:
        StoreError: the store can't be written.
    """
    lease = Lease(store / ".partial" / f"run-{platform.node()}-{os.getpid()}.lease")
    try:
        lease.path.parent.mkdir(parents=True, exist_ok=True)
        lease.take()
    except OSError as error:
        raise StoreError(
            f"store={store} can't be written ({error.strerror}); mend that disk, or name another by store=FOLDER"
        ) from None
    atexit.register(lease.release)
    return lease


def degraded() -> int:
    """Ends what was recorded; DEGRADED where some of it was not recorded as asked, else 0."""
    for recorder in _recorders:
        recorder.finish()
    troubles = [recorder.trouble for recorder in _recorders if recorder.trouble]
    _recorders.clear()
    if troubles:
        log.warning("the work is done; its record is not as it was asked: %s", troubles[-1])
    return DEGRADED if troubles else 0


class _Messages(logging.Handler):
    """On stderr as it is at that moment: while a screen is open, that is the place above it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Of what libraries say, warnings alone."""
        is_ours = record.name.partition(".")[0] in ("drift", "evaluation", "pipelines", "__main__")
        return is_ours or record.levelno >= logging.WARNING

    def emit(self, record: logging.LogRecord) -> None:
        """Prints the record."""
        print(self.format(record), file=sys.stderr)


def guarded(main: Callable[[], int], words: Sequence[str] = (), about: str | None = None) -> int:
    """Runs a command; an error of the user's is one message on stderr and status 2, Ctrl-C is status 130.

    Work that was done and not recorded as asked is status 3.

    Args:
        words: with --help among them, `about` and every group and key are printed, and nothing runs.
    """
    set_defaults()
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[_Messages()])
    try:
        if any(word in HELP for word in words):
            print(f"{about}\n{_groups()}")
            return 0
        return main() or degraded()
    except DriftError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130


def _groups() -> str:
    """The groups with their choices, and every key with its default."""
    groups = [f"  {path.name}={'|'.join(choices(path))}" for path in compose.groups()]
    keys = [f"  {key}={json.dumps(value)}" for key, value in _flat(canonical(compose.load(), whole=True))]
    return "\n".join(["Groups:", *groups, "", "Keys, with what they are by default:", *keys])


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
