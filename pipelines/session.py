"""What `run` and `reproduce` share: from a Config to a scheduler, and errors to one message and an exit status."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

from drift.errors import DriftError
from pipelines import compose, executors
from pipelines.scheduler import Scheduler
from pipelines.schema import Config
from pipelines.stage import Runtime
from pipelines.tracking import Recorder

log = logging.getLogger(__name__)


def rooted(path: str) -> Path:
    """A configured path; relative ones lie below the project's root, wherever the command was typed."""
    return (compose.ROOT / path).resolve()


def scheduler(config: Config) -> Scheduler:
    """The scheduler of this machine, as the launcher and tracker groups say."""
    store = rooted(config.store)
    runtime = Runtime(
        store=store,
        threads=config.launcher.threads,
        launcher=config.launcher.kind,
        cache=store / ".cache",
        offline=config.launcher.offline,
        judge_prices=(config.judge.prompt_price, config.judge.completion_price),
    )
    executor = executors.make(config.launcher, runtime)
    return Scheduler(runtime, executor, Recorder(config.tracker, store / ".tracker", config.profile))


def guarded(main: Callable[[], int]) -> int:
    """Runs a command; an error of the user's is one message on stderr and status 2, Ctrl-C is status 130."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return main()
    except DriftError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
