"""What comes from a hub or a folder is linked, not copied: a 15 GB checkpoint is stored once.

Its files' sizes and sha256 stand in the manifest all the same.
"""

import os
from pathlib import Path

from drift.errors import DataError
from pipelines.errors import StageError
from pipelines.stage import Runtime


def snapshot(repo: str, revision: str, runtime: Runtime, kind: str, patterns: tuple[str, ...]) -> Path:
    """The folder of a hub repository at a pinned revision, from the cache where it is there.

    Raises:
        StageError: offline and not cached, or the hub can't be reached or refuses; names repository and revision.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HTTPError

    if revision in ("", "locked"):
        raise StageError(f"{kind} {repo} has no resolved revision; run online once so that it can be locked")
    try:
        return Path(
            snapshot_download(
                repo,
                revision=revision,
                repo_type=kind,
                allow_patterns=list(patterns),
                cache_dir=hub_cache(runtime.cache),
                local_files_only=runtime.offline,
            )
        )
    except (HTTPError, OSError) as error:
        raise StageError(f"{kind} {repo}@{revision} can't be had: {error}") from error


def hub_cache(cache: Path) -> Path:
    """Where downloads lie: where the user says (HF_HOME, HF_HUB_CACHE), else in the store: homes have small quotas."""
    from huggingface_hub.constants import HF_HUB_CACHE

    is_said = any(name in os.environ for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"))
    return Path(HF_HUB_CACHE) if is_said else cache / "hub"


def link_all(source: Path, folder: Path) -> None:
    """Links every file of `source` into `folder`, in the same places.

    Raises:
        DataError: `source` is no folder.
    """
    if not source.is_dir():
        raise DataError(f"{source} is no folder")
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        link(path, folder / path.relative_to(source))


def link(source: Path, target: Path) -> None:
    """Puts a link to a file in its place; one that is there already stays."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        target.symlink_to(source.resolve())
