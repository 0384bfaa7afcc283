"""What the manifest of a score says of the run behind it: its name, its whole config, and the command that made it.

The config is by the names of `conf/`: what was chosen of each group, and every parameter of the score and of all that
it is made from (`settings_of`). None of it is in a fingerprint.
"""

import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipelines.catalogue.names import name
from pipelines.catalogue.runs import GROUPS, RUN, settings_of
from pipelines.fingerprint import canonical
from pipelines.job import Job
from pipelines.stage import Call
from pipelines.store import Artifact


def about(call: Call, job: Job, done: Mapping[str, Artifact]) -> dict[str, Any]:
    """What to record of a call that knows its config; nothing of the others.

    Args:
        done: the artifacts that it is made from, by key.
    """
    if call.config is None:
        return {}
    own = {"stage": job.stage.name, "params": canonical(job.params, whole=True)}
    lineage = {"": own, **dict(_behind(call, done, ""))}
    chosen = {group: getattr(call.config, group).name for group in GROUPS}
    config = {"profile": call.config.profile, **chosen, **settings_of(lineage)}
    return {RUN: {"name": name(call.config), "command": command(), "config": config}}


def _behind(call: Call, done: Mapping[str, Artifact], way: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for role, source in call.inputs.items():
        here = f"{way}.{role}".lstrip(".")
        yield here, done[source.key].manifest
        yield from _behind(source, done, here)


def command() -> str:
    """The command line of this process, as it can be typed again."""
    first, *words = sys.orig_argv[1:] or [""]
    if first == "-m":
        return shlex.join(["python", "-m", *words])
    return shlex.join([Path(first).name, *words])
