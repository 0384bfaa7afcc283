"""Removes the store of artifacts, unless a run is using it: python -m pipelines.clean [overrides]

What was recorded for a tracker lies elsewhere and stays, and so do the tables in results/. The same as `make clean`.
"""

import logging
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines import compose
from pipelines.errors import StoreError
from pipelines.lease import Lease
from pipelines.session import guarded, rooted

log = logging.getLogger(__name__)


def clean(store: Path) -> None:
    """Removes all of a store.

    Raises:
        StoreError: somebody is using it; says who.
    """
    holders = {str(holder) for path in store.glob(".partial/*.lease") if (holder := Lease(path).holder())}
    if holders:
        raise StoreError(f"{store} is in use by {', '.join(sorted(holders))}; let it end, or stop it first")
    if not store.is_dir():
        return
    away = store / f".removing-{os.getpid()}"  # at once, so that a run which starts now finds nothing half gone
    away.mkdir()
    for path in store.iterdir():
        if path != away:
            path.rename(away / path.name)
    shutil.rmtree(away)


def main(words: Sequence[str]) -> int:
    """Cleans the configured store."""
    store = rooted(compose.load(words).store)
    clean(store)
    log.info("removed the artifacts in %s", store)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:])))
