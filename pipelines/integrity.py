"""Whether an artifact still is what was sealed: its manifest, the files beside it, and what it was made from.

Three hashes, each for what it finds:
- a file's sha256 in the manifest: changed bytes;
- the manifest's `seal`, of everything else in it: edited values, an emptied list of files;
- a `link` for each input, of what that input held when it was read: an input that is another one by now.

To hash a store takes as long as to read it, so what was found whole is recorded (`Record`) with the size, times and
inode of every file, and is read again only when one of these has changed. Bytes that change and leave all of them as
they were (a failing disk) are found by `drift verify`, which reads everything. All this is against accidents: who may
write to a store can compute a hash.
"""

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from drift.files import is_part, sha256_of, write_whole
from pipelines.errors import DamageError, StoreError
from pipelines.layout import PACE, SUMMARY

MANIFEST = "manifest.json"
LOG = "log.txt"
SEAL = "seal"
LINKS = "links"
_SECONDS = "seconds"  # the value that no two runs share; the same time stands in SUMMARY, others in PACE
_CANT_WRITE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC)


@dataclass(frozen=True)
class File:
    """A file as it lies on the disk; `link` is where it points to, empty for a file of its own."""

    size: int
    mark: str
    link: str

    @classmethod
    def of(cls, entry: os.DirEntry[str]) -> "File":
        """The mark changes whenever the file, or what it points to, is written, replaced or touched."""
        link = os.readlink(entry.path) if entry.is_symlink() else ""
        stat = entry.stat()
        return cls(stat.st_size, f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino} {link}", link)


@dataclass(frozen=True)
class Record:
    """What was found whole: the manifest's seal, the artifact's links, the marks of all its files as one hash."""

    seal: str
    links: Mapping[str, str]
    marks: str

    @classmethod
    def read(cls, path: Path) -> "Record | None":
        """The record; None where there is none that can be read, and all is hashed once more."""
        try:
            return cls(**json.loads(path.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write(self, path: Path) -> None:
        """Keeps the record; where the store can't be written to it is not kept, and all is hashed again next time."""
        try:
            write_whole(path, json.dumps(asdict(self)))
        except OSError as error:
            if error.errno not in _CANT_WRITE:
                raise


def sealed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with its own hash in it."""
    return {**manifest, SEAL: seal_of(manifest)}


def seal_of(manifest: Mapping[str, Any]) -> str:
    """sha256 of a manifest without its seal."""
    return _digest({key: value for key, value in manifest.items() if key != SEAL})


def content(manifest: Mapping[str, Any]) -> str:
    """sha256 of what an artifact holds: equal for one that was made again and came out the same."""
    values = {name: value for name, value in manifest["values"].items() if name != _SECONDS}
    files = {name: entry["sha256"] for name, entry in manifest["files"].items() if name not in (PACE, SUMMARY)}
    return _digest({"fingerprint": manifest["fingerprint"], "values": values, "files": files})


def inventory(folder: Path) -> dict[str, File]:
    """The files of an artifact by name, its log, its manifest and what a killed writer left of them apart.

    Raises:
        DamageError: a folder in it is a link, or a link leads nowhere.
    """
    found, folders = {}, [""]
    while folders:
        place = folders.pop()
        with os.scandir(folder / place) as entries:
            for entry in entries:
                name = f"{place}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{name}/")
                elif entry.is_dir() or not entry.is_file():
                    raise DamageError(f"{folder / name} is a link, or nothing that can be read; expected a file")
                elif name not in (LOG, MANIFEST) and not is_part(entry.name):
                    found[name] = File.of(entry)
    return found


def check_listed(folder: Path, manifest: Mapping[str, Any], found: Mapping[str, File]) -> None:
    """The files there are those that the manifest lists, at their sizes, and no others.

    Raises:
        DamageError: the first that is missing, of another size, a link that was none, or not listed.
    """
    for name, recorded in manifest["files"].items():
        if name not in found:
            raise DamageError(f"{folder / name} is missing")
        if found[name].size != recorded["size"]:
            raise DamageError(f"{folder / name} has {found[name].size} bytes, its manifest says {recorded['size']}")
        if SEAL in manifest and found[name].link != recorded.get("link", ""):
            raise DamageError(f"{folder / name} is a link to {found[name].link!r}, its manifest knows of none there")
    for name in found.keys() - manifest["files"].keys():
        raise DamageError(f"{folder / name} is not in the manifest")


def check_bytes(folder: Path, name: str, recorded: Mapping[str, Any]) -> None:
    """A file has the bytes that the manifest recorded.

    Raises:
        DamageError: it has others.
        StoreError: it may not be read.
    """
    try:
        found = sha256_of(folder / name)
    except PermissionError as error:
        raise StoreError(f"{folder / name} may not be read ({error.strerror}); give this user the right to") from None
    if found != recorded["sha256"]:
        raise DamageError(f"{folder / name} differs from its manifest (sha256)")


def marks_of(found: Mapping[str, File]) -> str:
    """One hash of the marks of all files."""
    return hashlib.sha256("\n".join(f"{name} {found[name].mark}" for name in sorted(found)).encode()).hexdigest()


def entry_of(folder: Path, name: str, file: File) -> dict[str, Any]:
    """What a manifest says of a file."""
    entry = {"size": file.size, "sha256": sha256_of(folder / name)}
    return entry | {"link": file.link} if file.link else entry


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
