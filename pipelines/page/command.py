"""The page of a profile's results, built again from the results alone: drift page [overrides]

Reads `results/<profile>` (the report's tables, verdicts and items) and writes `index.html` beside them: one file that
opens from disk with no network. No store and no model is needed.

Example:
    drift page
    drift page profile=smoke
"""

import logging
import sys
from collections.abc import Sequence

from pipelines import compose
from pipelines.page.build import write_page
from pipelines.session import guarded, rooted

log = logging.getLogger(__name__)


def main(words: Sequence[str]) -> int:
    """The command `drift page`; the exit status."""
    return guarded(lambda: page(words), words, __doc__)


def page(words: Sequence[str]) -> int:
    """Builds the page of the configured results.

    Raises:
        StoreError: there are none.
    """
    config, _ = compose.load_fitting([], words)
    path = write_page(rooted(config.results))
    log.info("%.1f MB: open %s", path.stat().st_size / 1e6, path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
