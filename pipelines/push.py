"""A set sent to the hub, by this command and by nothing else: its tables, pictures and card, and who may see it.

Light: the hub's client is imported when there is something to send.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drift import words
from drift.errors import DataError
from pipelines.distil.sets import TRAIN, read_set

log = logging.getLogger(__name__)
_NOT_SENT = ("manifest.json", "log.txt")  # the store's own


@dataclass(frozen=True)
class Push:
    """Sends a set of SFT examples, as `drift data` makes it, to a data set repository of the hub.

    The hub's own login is used (`hf auth login`, or HF_TOKEN). A repository that is not there is made.

    Example:
        drift push folder=FOLDER repo=you/your-set

    Attributes:
        folder: of the set.
        repo: owner/name.
        private: whether only you see it, where it is made.
    """

    folder: Path
    repo: str
    private: bool = True


def push(command: Push) -> str:
    """Sends the folder; the address.

    Raises:
        DataError: the folder holds no set, or the hub does not take it.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, HTTPError

    if not (command.folder / TRAIN).is_file():
        raise DataError(f"{command.folder} has no {TRAIN}; expected a set, as `drift data` prints its folder")
    examples, api = len(read_set(command.folder)), HfApi()
    try:
        api.create_repo(command.repo, repo_type="dataset", private=command.private, exist_ok=True)
        found = api.upload_folder(
            repo_id=command.repo,
            repo_type="dataset",
            folder_path=command.folder,
            ignore_patterns=list(_NOT_SENT),
            commit_message=f"{examples} examples",
        )
    except (HTTPError, HFValidationError, OSError) as error:
        raise DataError(f"{command.repo} can't be written: {error}; are you logged in (hf auth login)?") from error
    return str(found)


def main(given: Sequence[str]) -> int:
    """The command `drift push`; the exit status."""
    return words.run(given, Push, push)
