"""A table is there whole, checked and from the nearest place, or there is an error that says what to do."""

import hashlib
import random
import time
from dataclasses import replace

import pytest
from local_http import send, serve

from evaluation.benchmarks import get_benchmark
from evaluation.data.download import DownloadError, download, find_table

DATA = random.Random(0).randbytes(300_000)
MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()


class Shelf:
    """Serves DATA by Range; each entry of `cuts` is how many bytes the next answer really sends."""

    def __init__(self, cuts=(), *, ranges=True, delay=0.0, statuses=()):
        self.cuts, self.statuses, self.ranges, self.delay = list(cuts), list(statuses), ranges, delay
        self.starts: list[int] = []

    def __call__(self, request, _body) -> None:
        if self.statuses:
            send(request, self.statuses.pop(0), b"later")
            return
        asked = request.headers.get("Range", "bytes=0-")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if self.ranges else 0
        self.starts.append(start)
        if start >= len(DATA):
            send(request, 416, b"", Content_Range=f"bytes */{len(DATA)}")
            return
        whole = DATA[start:]
        sent = whole[: self.cuts.pop(0)] if self.cuts else whole
        time.sleep(self.delay)
        send(request, 206 if start else 200, sent, Content_Length=str(len(whole)))
        request.close_connection = True


def fetch(shelf: Shelf, path, **options):
    with serve(shelf) as url:
        return download(f"{url}/table.tsv", path, **{"md5": MD5, "pause": 0.0, "timeout": 5.0, **options})


def test_a_cut_transfer_goes_on_where_it_stopped(tmp_path):
    shelf = Shelf(cuts=[2 * 65_536, 65_536 + 9])
    assert fetch(shelf, tmp_path / "t.tsv").read_bytes() == DATA
    assert shelf.starts == [0, 2 * 65_536, 3 * 65_536]
    assert [p.name for p in tmp_path.iterdir()] == ["t.tsv"]


def test_a_part_of_an_earlier_process_is_gone_on_with_or_found_complete(tmp_path):
    for have in (70_000, len(DATA)):
        (tmp_path / "t.tsv.part").write_bytes(DATA[:have])
        shelf = Shelf()
        assert fetch(shelf, tmp_path / "t.tsv").read_bytes() == DATA
        assert shelf.starts == [have]


def test_a_part_longer_than_the_file_is_thrown_away(tmp_path):
    (tmp_path / "t.tsv.part").write_bytes(DATA + b"more")
    shelf = Shelf()
    assert fetch(shelf, tmp_path / "t.tsv").read_bytes() == DATA
    assert shelf.starts == [len(DATA) + 4, 0]


def test_a_server_without_ranges_is_read_from_the_start(tmp_path):
    (tmp_path / "t.tsv.part").write_bytes(b"something else")
    assert fetch(Shelf(ranges=False), tmp_path / "t.tsv").read_bytes() == DATA


def test_a_wrong_checksum_leaves_nothing_behind(tmp_path):
    with pytest.raises(DownloadError, match=f"has md5 {MD5}, published is 0000"):
        fetch(Shelf(), tmp_path / "t.tsv", md5="0000")
    assert list(tmp_path.iterdir()) == []


def test_a_busy_server_is_asked_again_and_a_dead_one_is_given_up(tmp_path):
    assert fetch(Shelf(statuses=[503, 429]), tmp_path / "a.tsv").read_bytes() == DATA
    with pytest.raises(DownloadError, match="2 attempts failed, last: HTTP 503"):
        fetch(Shelf(statuses=[503] * 9), tmp_path / "b.tsv", attempts=2)
    with pytest.raises(DownloadError, match="HTTP 404; check the address"):
        fetch(Shelf(statuses=[404]), tmp_path / "c.tsv")


def test_a_server_that_falls_silent_is_left_after_the_timeout(tmp_path):
    start = time.monotonic()
    with pytest.raises(DownloadError, match="timed out"):
        fetch(Shelf(delay=3.0), tmp_path / "t.tsv", attempts=2, timeout=0.2)
    assert time.monotonic() - start < 2.5


def test_the_local_folder_comes_before_the_cache_and_the_cache_before_the_network(tmp_path, monkeypatch):
    shelf = Shelf()
    with serve(shelf) as url:
        row = replace(get_benchmark("MMStar"), url=f"{url}/t.tsv", md5=MD5, tsv="t.tsv")
        lmu, cache = tmp_path / "lmu", tmp_path / "cache"
        monkeypatch.setenv("LMUData", str(lmu))
        assert find_table(row, cache=cache) == cache / "t.tsv"
        assert find_table(row, cache=cache) == cache / "t.tsv"
        assert len(shelf.starts) == 1
        lmu.mkdir()
        (lmu / "t.tsv").write_bytes(DATA)
        assert find_table(row, cache=cache) == lmu / "t.tsv"
        assert find_table(row, folder=tmp_path, cache=cache) == cache / "t.tsv"


def test_a_changed_local_table_and_a_lab_table_that_is_nowhere_are_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("LMUData", raising=False)
    row = replace(get_benchmark("MMStar"), md5=MD5)
    (tmp_path / row.tsv).write_bytes(b"changed")
    with pytest.raises(DownloadError, match=f"published is {MD5}; delete it"):
        find_table(row, folder=tmp_path)
    assert find_table(row, folder=tmp_path, check_md5=False) == tmp_path / row.tsv
    with pytest.raises(DownloadError, match="LabMathVista has no published table"):
        find_table(get_benchmark("LabMathVista"), folder=tmp_path, cache=tmp_path)
