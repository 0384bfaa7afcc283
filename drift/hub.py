"""A checkpoint by the word that a user has for it: a folder, or a repository on the Hugging Face hub."""

import logging
import re
from functools import partial
from pathlib import Path

from drift.errors import CheckpointError

log = logging.getLogger(__name__)

_ID = re.compile(r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>[\w./-]+))?")
# The same weights in other formats.
_IGNORED = ["*.bin", "*.pth", "*.pt", "*.gguf", "*.h5", "*.msgpack", "*.onnx", "original/*"]


def checkpoint_folder(word: Path | str) -> Path:
    """The folder of a checkpoint: `word` itself, or what the hub has under it, from the cache where it is there.

    Args:
        word: a folder, or a hub id: owner/name, or owner/name@revision (a branch, a tag or a commit). A folder of that
            name goes first. HF_HUB_OFFLINE=1 leaves the cache alone to answer.
    Raises:
        CheckpointError: neither; or the hub can't be reached or refuses. Says how to download.
    """
    folder = Path(word)
    if folder.is_dir():
        return folder
    match = _ID.fullmatch(str(word))
    if match is None:
        raise CheckpointError(
            f"no checkpoint folder at {word}, and it is no hub id of the form owner/name or owner/name@revision; "
            "give the folder, or the id as in `hf download owner/name`"
        )
    return _snapshot(match["repo"], match["revision"])


def _snapshot(repo: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError, HTTPError

    get = partial(snapshot_download, repo, revision=revision, ignore_patterns=_IGNORED)
    try:
        try:
            return _weighed(get(local_files_only=True))
        except FileNotFoundError:  # not in the cache (LocalEntryNotFoundError is one), or there without its weights
            log.info("downloading %s at %s from the hub", repo, revision or "main")
            return _weighed(get())
    except (HTTPError, OSError, EntryNotFoundError, HFValidationError) as error:  # HTTPError: no connection, or refused
        wanted = f"{repo} --revision {revision}" if revision else repo
        raise CheckpointError(
            f"no checkpoint folder at {repo}, and the hub can't give {repo} at {revision or 'main'} "
            f"({str(error).strip().splitlines()[0]}); where there is a network: hf download {wanted}"
        ) from error


def _weighed(snapshot: str) -> Path:
    """The snapshot's folder, which has weights: somebody may have asked for the tokenizer alone."""
    if not any(Path(snapshot).glob("*.safetensors")):
        raise FileNotFoundError(f"{snapshot} holds no safetensors")
    return Path(snapshot)
