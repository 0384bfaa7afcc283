"""The process that records: python -m pipelines.tracking.sidecar JOURNAL

Follows the journal and the metrics of running trainings until the journal ends, or the scheduler does: its death closes
this process's stdin. What it can't do is kept beside the journal for the scheduler to tell.
"""

import logging
import os
import select
import sys
from pathlib import Path

from wandb.errors import Error

from drift.errors import DriftError
from drift.files import write_whole
from pipelines.tracking.journal import Begin, End, Finished, Lines, Message, Started, follow
from pipelines.tracking.recorder import SAID
from pipelines.tracking.runs import Book, Live

log = logging.getLogger(__name__)
_LOOK_SECONDS = 0.5
_NICE = 5  # what is measured comes before what is told of it


class Sidecar:
    """Handles messages one by one; one that can't be recorded is told, and the next is tried."""

    def __init__(self, journal: Path) -> None:
        self._messages = Lines(journal)
        first, *self._waiting = follow(self._messages)
        if not isinstance(first, Begin):
            raise DriftError(f"{journal} begins with {first}, expected what is recorded and where")
        self.book, self.trouble, self._ended = Book(first), "", False

    def look(self) -> bool:
        """Records what is new; whether there may be more."""
        waiting, self._waiting = [*self._waiting, *follow(self._messages)], []
        for message in waiting:
            self._try(message)
        for live in list(self.book.live.values()):
            self._try(live)
        return not self._ended

    def close(self) -> None:
        """Ends what is open."""
        try:
            self.book.close()
        except (Error, OSError) as error:
            self._degrade(f"the recordings were not closed: {error}")
        self.trouble = self.trouble or self.book.trouble

    def _try(self, what: Message | Live) -> None:
        try:
            match what:
                case Started():
                    self.book.begin(what)
                case Finished():
                    self.book.finish(what)
                case End():
                    self._ended = True
                case Live():
                    what.look()
        except (Error, OSError, DriftError, ValueError, KeyError) as error:
            log.exception("%s", what)
            self._degrade(f"{what} was not recorded: {error}")

    def _degrade(self, why: str) -> None:
        self.trouble = self.trouble or why


def main(journal: Path) -> int:
    """Records until there is nothing more to come; 1 where something could not be."""
    os.nice(_NICE)
    sidecar = Sidecar(journal)
    while sidecar.look():
        ready, _, _ = select.select([sys.stdin], [], [], _LOOK_SECONDS)
        if ready and not os.read(sys.stdin.fileno(), 1):
            sidecar.look()
            break
    sidecar.close()
    if sidecar.trouble:
        write_whole(journal.with_suffix(SAID), sidecar.trouble)
    return bool(sidecar.trouble)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    sys.exit(main(Path(sys.argv[1])))
