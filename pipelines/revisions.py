"""Which commit a hub name means: pinned in `conf/pair`, or looked up once and kept in `conf/revisions.lock.json`.

An artifact's identity has the commit in it, never a moving name; a local folder's identity is the digest of its files.
"""

import hashlib
import json
import logging
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from drift.files import sha256_of, write_whole
from evaluation.toolkit.job import toolkit_commit, toolkit_python
from pipelines import compose
from pipelines.errors import ConfigError
from pipelines.schema import Against, Answers, Config, Data, Distil, ModelRef, Questions, Suite, VLMEvalKit

log = logging.getLogger(__name__)
LOCK = compose.CONF / "revisions.lock.json"
LOCKED = "locked"
INSTALLED = "installed"
Tables = TypeVar("Tables", Data, Suite, Questions, Against)


def resolve(config: Config, online: bool, lock: Path | None = None) -> Config:
    """The config with every `revision: locked` replaced by its commit, and folders by their digest.

    The toolkit of `evaluator=vlmevalkit` is asked for its commit. With `online` false a name that was never locked
    stays `locked` (the toolkit `installed`): good enough for a plan, refused by a stage. `lock` is another file of
    commits than `conf/revisions.lock.json`.

    Raises:
        ConfigError: the hub can't be asked, or a local folder is missing.
        ToolkitError: the toolkit is not installed.
    """
    pair, evaluator = config.pair, config.evaluator
    if pair.source != "lab":
        roles = ("mllm", "expert", "base", "prior_base")
        known: dict[str, Any] = {role: _known(getattr(pair, role), pair.source, online, lock or LOCK) for role in roles}
        pair = replace(pair, **known)
    if isinstance(evaluator, VLMEvalKit) and evaluator.revision == INSTALLED and online:
        evaluator = replace(evaluator, revision=toolkit_commit(toolkit_python()))
    tables: dict[str, Any] = {
        key: _with_revision(getattr(config, key), key, online, lock or LOCK) for key in ("data", "suite", "validation")
    }
    tables["data"] = replace(tables["data"], distil=_distilled(config.data.distil, online, lock or LOCK))
    return replace(config, pair=pair, evaluator=evaluator, answers=_placed(config.answers), **tables)


def _distilled(told: Distil | None, online: bool, lock: Path) -> Distil | None:
    """Questions, generator and benchmarks at their commits, or as what their files are."""
    if told is None:
        return None
    ref, source = ModelRef(told.generator.repo, told.generator.revision), told.generator.source
    ref = ref if source == "lab" else _known(ref, source, online, lock)
    return replace(
        told,
        questions=_with_revision(told.questions, "data.distil.questions", online, lock),
        generator=replace(told.generator, repo=ref.repo, revision=ref.revision),
        against=_with_revision(told.against, "data.distil.against", online, lock),
    )


def _placed(answers: Answers) -> Answers:
    """Published answers whose folder, where one is given, holds all of their files.

    Raises:
        ConfigError: it is no folder, or lacks some; names them.
    """
    if not answers.root:
        return answers
    root = (compose.ROOT / answers.root).expanduser().resolve()
    if not root.is_dir():
        raise ConfigError(
            f"answers.root is {root}, which is no folder; without it {answers.repository} is fetched from"
        )
    wanted = [*answers.files.values(), *([answers.questions] if answers.questions else [])]
    if missing := [each.place for each in wanted if not (root / each.place).is_file()]:
        raise ConfigError(f"answers.root={root} lacks {len(missing)} files of {answers.name}, first {missing[0]}")
    return replace(answers, root=str(root))


def _known(ref: ModelRef, source: str, online: bool, lock: Path) -> ModelRef:
    """A checkpoint at its commit, or named by what its files are; one that is not there is refused by its stage."""
    if source == "folder":
        folder = (compose.ROOT / ref.repo).resolve()
        return ModelRef(str(folder), _digest_of(folder, _stamp(folder))) if ref.repo and folder.is_dir() else ref
    return replace(ref, revision=_commit(ref.repo, ref.revision, "model", online, lock))


def _with_revision(tables: Tables, key: str, online: bool, lock: Path) -> Tables:
    """SFT data, questions or benchmarks with the commit of their repository, or with the digest of their folder."""
    if tables.source == "folder":
        if not tables.root:
            raise ConfigError(f"{key}.root is empty; give the folder: {key}.root=/path/to/folder")
        root = (compose.ROOT / tables.root).resolve()
        if not root.is_dir():
            raise ConfigError(f"{key}.root is {root}, which is no folder")
        return replace(tables, root=str(root), revision=_digest_of(root, _stamp(root)))
    if isinstance(tables, Data | Questions) and tables.source == "hub":
        return replace(tables, revision=_commit(tables.repo, tables.revision, "dataset", online, lock))
    return tables


def _commit(repo: str, revision: str, kind: str, online: bool, lock: Path) -> str:
    """The commit that `locked` stands for; any other revision is taken at its word."""
    if revision != LOCKED:
        return revision
    locked = json.loads(lock.read_text()) if lock.exists() else {}
    key = f"{kind}:{repo}"
    if key not in locked:
        if not online:
            return revision
        locked[key] = _ask_hub(repo, kind)
        write_whole(lock, json.dumps(locked, indent=2, sort_keys=True) + "\n")
        log.info("locked %s at %s in %s", key, locked[key], lock)
    return str(locked[key])


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


def folder_digest(root: Path) -> str:
    """sha256 over the names and contents of all files below a folder."""
    digest = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(root)}\0{sha256_of(path)}\n".encode())
    return digest.hexdigest()
