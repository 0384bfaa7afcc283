"""A profile's results as one file to share: drift export [out=FILE.tar.gz] [answers=yes] [overrides]
Or every item in a form that other viewers open: drift export --inspect|--lm-eval [out=FOLDER] [table=NAME] [overrides]

Packs results/<profile> (tables, figures, page, provenance), the composed config, and of every artifact behind a cell
its manifest (parameters, inputs, hashes) and its verdicts by item id. No weights, and nothing of a benchmark but ids:
its licence is its own. `answers=yes` adds what was read from each response, the gold answer and the judge's words. The
same results give the same bytes.

`--inspect` writes a log for each benchmark of each score behind the cells, which `inspect view --log-dir FOLDER` opens;
`--lm-eval` writes lm-evaluation-harness's samples. Both hold questions, and the first pictures: mind their licences.

Example:
    drift export
    drift export profile=paper out=drift-paper.tar.gz
    drift export --inspect table=table3
"""

import gzip
import hashlib
import io
import json
import logging
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from drift.errors import closest
from drift.files import write_whole
from pipelines import compose, item_logs
from pipelines.errors import ConfigError, StoreError
from pipelines.fingerprint import canonical
from pipelines.session import guarded, rooted
from pipelines.store import MANIFEST

log = logging.getLogger(__name__)
INDEX = "index.json"
HASHES = "sha256.txt"
_OUT, _ANSWERS = "out=", "answers="
# Of a verdict: which item, how it was judged and whether it is right; not what was said or is true.
_DECIDED = ("index", "correct", "rule", "mode", "group", "is_missing", "is_truncated")
_JUDGED_BY = ("judge", "judge_prompt_sha256", "judge_tokens")


def main(words: Sequence[str]) -> int:
    """The command `drift export`; the exit status."""
    return guarded(lambda: export(words), words, __doc__)


def export(words: Sequence[str]) -> int:
    """Writes the archive.

    Raises:
        ConfigError: an override that is none, or `answers` that is neither yes nor no.
        StoreError: there are no results, or an artifact behind them is not in the store.
    """
    forms = [word for word in words if word.startswith("--")]
    if forms:
        return _logs(forms, [word for word in words if word not in forms])
    own = {word.partition("=")[0]: word.partition("=")[2] for word in words if word.startswith((_OUT, _ANSWERS))}
    config, _ = compose.load_fitting([], [word for word in words if not word.startswith((_OUT, _ANSWERS))])
    answers = own.get("answers", "no")
    if answers not in ("yes", "no"):
        raise ConfigError(f"answers={answers!r}, expected yes or no")
    results = rooted(config.results)
    out = rooted(own.get("out", f"{results.name}.tar.gz"))
    files = collect(results, rooted(config.store), answers == "yes")
    files["config.yaml"] = yaml.safe_dump(canonical(config, whole=True), sort_keys=True).encode()
    content = pack(files, {"profile": config.profile, "answers": answers})
    write_whole(out, content)
    log.info("%d files, %.1f MB: %s", len(files), len(content) / 1e6, out)
    return 0


def _logs(forms: Sequence[str], words: Sequence[str]) -> int:
    """Writes items in another form.

    Raises:
        ConfigError: a form that there is none of, or two.
    """
    if len(forms) > 1 or forms[0] not in item_logs.WRITERS:
        raise ConfigError(f"{' '.join(forms)}: {closest(forms[0], item_logs.WRITERS)}")
    own = {key: value for key, _, value in (word.partition("=") for word in words) if key in ("out", "table")}
    config, _ = compose.load_fitting([], [word for word in words if word.partition("=")[0] not in own])
    results, name = rooted(config.results), forms[0].removeprefix("--")
    out = rooted(own.get("out", f"{results.name}-{name}"))
    item_logs.write(forms[0], results, rooted(config.store), out, own.get("table", ""))
    return 0


def collect(results: Path, store: Path, answers: bool) -> dict[str, bytes]:
    """What goes into the archive, by its path in it.

    Raises:
        StoreError: there are no results, or an artifact that they name is not in the store.
    """
    provenance = results / "provenance.json"
    if not provenance.exists():
        raise StoreError(f"{results} holds no results; make them first: make reproduce")
    files = {f"results/{path.relative_to(results)}": path.read_bytes() for path in _files(results)}
    for place in json.loads(provenance.read_text())["artifacts"]:
        folder = store / place
        if not (folder / MANIFEST).exists():
            raise StoreError(f"{provenance} names {place}, which is not in {store}; make it again: make reproduce")
        files[f"artifacts/{place}/{MANIFEST}"] = (folder / MANIFEST).read_bytes()
        for path in sorted(folder.glob("*.verdicts.jsonl")):
            files[f"artifacts/{place}/{path.name}"] = path.read_bytes() if answers else _without_answers(path)
    return files


def pack(files: Mapping[str, bytes], about: Mapping[str, Any]) -> bytes:
    """A tar.gz with an index and a list of hashes (`sha256sum --check sha256.txt`), without times or owners."""
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    index = {**about, "files": {name: {"size": len(files[name]), "sha256": hashes[name]} for name in sorted(files)}}
    listed = "".join(f"{hashes[name]}  {name}\n" for name in sorted(files))
    added = {INDEX: (json.dumps(index, indent=1) + "\n").encode(), HASHES: listed.encode()}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in sorted({**files, **added}.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _without_answers(path: Path) -> bytes:
    """Verdicts with the item's id and what was decided alone."""
    rows = (json.loads(line) for line in path.read_text().splitlines())
    kept = ({key: value for key, value in row.items() if key in (*_DECIDED, *_JUDGED_BY)} for row in rows)
    return "".join(json.dumps(row, sort_keys=True) + "\n" for row in kept).encode()
