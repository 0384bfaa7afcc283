"""Benchmark tables on this machine: a local folder first, then a cache, then the published address.

A download is resumed where it stopped (HTTP Range), checked against the published md5 before it gets its name, and
never half there under that name. A local file with another md5 is refused by default: a table that differs from the
published one gives scores that can't be compared.
"""

import logging
import os
import time
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import requests
from tqdm import tqdm

from drift.errors import DataError
from drift.files import md5_of
from evaluation.data.deadline import within
from evaluation.data.tsv import Table

log = logging.getLogger(__name__)

# A transfer that is cut loses its last incomplete block, so blocks are small. (huggingface_hub's http_get has blocks of
# 10 MB and takes a complete part for an error; pooch begins anew after every cut.)
_BLOCK = 1 << 16
_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_PAUSE = 30.0
_LARGEST = 16 * 2**30
_OWN = ("localhost", "127.0.0.1", "::1")


class DownloadError(DataError):
    """A table is neither here nor to be had, or is not the one that was published."""


class _CutError(Exception):
    """The transfer stopped before its end; what arrived is kept and the next attempt goes on from there."""


def find_table(
    benchmark: Table, *, folder: Path | None = None, cache: Path | None = None, check_md5: bool = True
) -> Path:
    """The path of a benchmark's TSV: from `folder`, else from the cache, else downloaded into the cache.

    Args:
        benchmark: gives the file name, the address and the md5 (None: not checked).
        folder: a folder of TSVs, laid out like VLMEvalKit's; None takes the environment variable LMUData if it is set.
        cache: where downloads go; None is ~/.cache/drift/benchmarks.
        check_md5: False accepts a local or published table that has changed; the caller then records its md5.
    Raises:
        DownloadError: no table and no address, a failed download, or another md5 than published.
    """
    named = os.environ.get("LMUData", "")  # noqa: SIM112 (VLMEvalKit spells it so)
    local = folder if folder is not None or not named else Path(named)
    cached = (cache or Path.home() / ".cache" / "drift" / "benchmarks") / benchmark.tsv
    expected = benchmark.md5 if check_md5 else None
    for path in (local / benchmark.tsv if local else None, cached):
        if path is not None and path.is_file():
            if expected is not None and (found := md5_of(path)) != expected:
                raise DownloadError(
                    f"{path} has md5 {found}, published is {expected}; delete it to download the published one, or "
                    "turn the check off (check_md5=False) if you know why it differs"
                )
            return path
    if benchmark.url is None:
        raise DownloadError(
            f"{benchmark.name} has no published table, and {benchmark.tsv} is not in {local or 'LMUData (not set)'} "
            f"nor in {cached.parent}; pass the folder that holds it"
        )
    return download(benchmark.url, cached, md5=expected)


def download(
    url: str, path: Path, *, md5: str | None, attempts: int = 5, pause: float = 1.0, timeout: float = 60.0
) -> Path:
    """Fetch `url` to `path`, whole and checked, going on from an earlier part file if there is one.

    Args:
        md5: the expected checksum, or None.
        attempts: tries without progress, the first included; a try that received something does not count.
        pause: seconds before the next try; doubles, at most 30.
        timeout: seconds without a byte after which a try ends.
    Raises:
        DownloadError: no success in all attempts, an answer that no retry mends, or another md5.
    """
    _check_address(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _fetch(url, part, timeout)
            break
        except (requests.ConnectionError, requests.Timeout, _CutError) as error:
            moved = part.exists() and part.stat().st_size > before
            failures = 0 if moved else failures + 1
            if failures >= attempts:
                raise DownloadError(
                    f"{url}: {failures} attempts failed, last: {error}; the part so far is kept in {part}. Run again "
                    f"to resume, or put the file at {path} yourself"
                ) from error
            log.warning("%s: %s; going on from byte %d", url, error, part.stat().st_size if part.exists() else 0)
            time.sleep(min(pause * 2**failures, _LONGEST_PAUSE))
    found = md5_of(part)
    if md5 is not None and found != md5:
        part.unlink()
        raise DownloadError(f"{url} has md5 {found}, published is {md5}: it was changed or damaged; nothing was kept")
    os.replace(part, path)
    log.info("downloaded %s (%d bytes, md5 %s)", path, path.stat().st_size, found)
    return path


def unreachable(url: str, timeout: float = 5.0) -> str:
    """Why a site gives no answer at all within seconds; empty where it gives any."""
    try:
        within(2 * timeout, partial(requests.head, url, timeout=timeout), requests.RequestException)
    except (requests.RequestException, TimeoutError) as error:
        return f"{type(error).__name__}: {error}"[:200]
    return ""


def _fetch(url: str, part: Path, timeout: float) -> None:
    start = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    ask = partial(requests.get, url, headers=headers, stream=True, timeout=timeout)
    try:
        answer = within(2 * timeout, ask, requests.RequestException)
    except TimeoutError:
        raise _CutError(f"timed out: no complete headers within {timeout:g} s") from None
    with answer as response:
        for step in (*response.history, response):
            _check_address(step.url)
        if response.status_code == 416:
            # A range that begins at the end is the whole file; else the part is of another file.
            if response.headers.get("Content-Range", "").rpartition("/")[2] != str(start):
                part.unlink()
                raise _CutError(f"the server refused to go on from byte {start}; starting anew")
            return
        if response.status_code in _PASSING_STATUS:
            raise _CutError(f"HTTP {response.status_code}")
        if response.status_code not in (200, 206):
            raise DownloadError(
                f"{url} answered HTTP {response.status_code}; check the address, or fetch the file yourself"
            )
        if response.status_code == 200:
            start = 0  # the server ignores Range and sends the file from its beginning
        _store(response, part, start)


def _check_address(url: str) -> None:
    """What is downloaded comes over TLS, where nobody on the way can change it; this machine may serve itself.

    Raises:
        DownloadError: another address, of a redirection too.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _OWN):
        raise DownloadError(f"{url} is no https:// address; fetch the file yourself and pass its folder")


def _store(response: requests.Response, part: Path, start: int) -> None:
    length = response.headers.get("Content-Length")
    total, size = start + int(length) if length is not None else None, start
    bar = tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=part.stem, disable=None)
    with bar, part.open("ab" if start else "wb") as stream:
        try:
            for block in response.iter_content(_BLOCK):
                stream.write(block)
                size += len(block)
                if size > _LARGEST:
                    raise DownloadError(f"{response.url} sent more than {_LARGEST / 2**30:.0f} GiB; that is no table")
                bar.update(len(block))
        except requests.exceptions.ChunkedEncodingError as error:  # also where it is shorter than its Content-Length
            raise _CutError(f"cut after {size} of {total or 'unknown'} bytes") from error
