"""Which commit a hub name means: pinned in `conf/pair`, or looked up once and kept in `conf/revisions.lock.json`.

An artifact's identity has the commit in it, never a moving name; a local folder's identity is the digest of its files.
"""

import hashlib
import json
import logging
from dataclasses import replace
from functools import cache
from pathlib import Path

from drift.files import sha256_of, write_whole
from evaluation.toolkit.job import toolkit_commit, toolkit_python
from pipelines import compose
from pipelines.errors import ConfigError
from pipelines.schema import Config, Data, ModelRef

log = logging.getLogger(__name__)
LOCK = compose.CONF / "revisions.lock.json"
LOCKED = "locked"
INSTALLED = "installed"


def resolve(config: Config, online: bool) -> Config:
    """The config with every `revision: locked` replaced by its commit, and folders by their digest.

    The toolkit of `evaluator=vlmevalkit` is asked for its commit. With `online` false a name that was never locked
    stays `locked` (the toolkit `installed`): good enough for a plan, refused by a stage.

    Raises:
        ConfigError: the hub can't be asked, or a local folder is missing.
        ToolkitError: the toolkit is not installed.
    """
    pair, data = config.pair, config.data
    if pair.source == "hub":
        pair = replace(
            pair,
            mllm=_resolved(pair.mllm, "model", online),
            expert=_resolved(pair.expert, "model", online),
            base=_resolved(pair.base, "model", online),
            prior_base=_resolved(pair.prior_base, "model", online),
        )
    if pair.source == "folder":
        pair = replace(
            pair,
            mllm=_located(pair.mllm),
            expert=_located(pair.expert),
            base=_located(pair.base),
            prior_base=_located(pair.prior_base),
        )
    if data.source == "hub":
        ref = _resolved(ModelRef(repo=data.repo, revision=data.revision), "dataset", online)
        data = replace(data, revision=ref.revision)
    if config.suite.source == "folder" or data.source == "folder":
        data = _digested(data)
    evaluator = config.evaluator
    if evaluator.revision == INSTALLED and online:
        evaluator = replace(evaluator, revision=toolkit_commit(toolkit_python()))
    return replace(config, pair=pair, data=data, evaluator=evaluator)


def _resolved(ref: ModelRef, kind: str, online: bool) -> ModelRef:
    if ref.revision != LOCKED:
        return ref
    locked = json.loads(LOCK.read_text()) if LOCK.exists() else {}
    key = f"{kind}:{ref.repo}"
    if key not in locked:
        if not online:
            return ref
        locked[key] = _ask_hub(ref.repo, kind)
        write_whole(LOCK, json.dumps(locked, indent=2, sort_keys=True) + "\n")
        log.info("locked %s at %s in %s", key, locked[key], LOCK)
    return replace(ref, revision=locked[key])


def _located(ref: ModelRef) -> ModelRef:
    """A local checkpoint named by what its files are; one that is not there is refused by the stage that needs it."""
    folder = (compose.ROOT / ref.repo).resolve()
    return ModelRef(str(folder), _digest_of(folder, _stamp(folder))) if ref.repo and folder.is_dir() else ref


def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and times of a folder's files: while they stand still it is not read again."""
    found = ((path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file())
    return tuple((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in found)


@cache
def _digest_of(folder: Path, stamp: tuple[tuple[str, int, int], ...]) -> str:
    return folder_digest(folder)


def _ask_hub(repo: str, kind: str) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError

    try:
        return str(HfApi().repo_info(repo, repo_type=kind).sha)
    except (HTTPError, OSError) as error:  # HTTPError: no connection; and the base of what the hub answers
        raise ConfigError(
            f"the revision of {kind} {repo} is not locked and the hub can't be asked: {error}. "
            f"Pin it in conf/, or put it into {LOCK}"
        ) from error


def _digested(data: Data) -> Data:
    if not data.root:
        raise ConfigError("data.root is empty; give the folder: data.root=/path/to/folder")
    root = (compose.ROOT / data.root).resolve()
    if not root.is_dir():
        raise ConfigError(f"data.root is {root}, which is no folder")
    return replace(data, root=str(root), revision=folder_digest(root))


def folder_digest(root: Path) -> str:
    """sha256 over the names and contents of all files below a folder."""
    digest = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(root)}\0{sha256_of(path)}\n".encode())
    return digest.hexdigest()
