"""What comes over the network is bounded in time and size, and what is downloaded comes over TLS."""

import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from evaluation.data import download as downloads
from evaluation.data.download import DownloadError, download
from evaluation.engines.chat import ChatClient, ChatError
from evaluation.engines.config import Endpoint

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "evaluation"))
from local_http import send, serve


def dripping_headers(request: BaseHTTPRequestHandler, _body: dict) -> None:
    """A status line, then a byte of a header now and then, for ever."""
    request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    for _ in range(200):
        request.wfile.write(b"a")
        time.sleep(0.05)


def test_a_server_that_drips_its_headers_holds_no_call() -> None:
    with serve(dripping_headers) as url:
        began = time.monotonic()
        with pytest.raises(ChatError, match="headers were not complete in time"):
            ChatClient(Endpoint(url, "m", timeout=0.4, attempts=1)).complete([], {})
        assert time.monotonic() - began < 3


def test_a_server_that_drips_its_headers_holds_no_download(tmp_path: Path) -> None:
    with serve(dripping_headers) as url:
        began = time.monotonic()
        with pytest.raises(DownloadError, match="no complete headers within"):
            download(f"{url}/x.tsv", tmp_path / "x.tsv", md5=None, attempts=1, timeout=0.4)
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("url", ["http://example.com/x.tsv", "ftp://example.com/x.tsv", "file:///etc/passwd", "x.tsv"])
def test_a_download_without_tls_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError, match="is no https:// address; fetch the file yourself"):
        download(url, tmp_path / "x.tsv", md5=None)
    assert not list(tmp_path.iterdir())


def test_a_redirection_away_from_tls_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def handle(request: BaseHTTPRequestHandler, _body: dict) -> None:
        if request.path == "/moved":
            send(request, 200, b"index\n")
        else:
            send(request, 302, b"", Location="/moved")

    def check(url: str) -> None:
        if url.endswith("/moved"):
            original(url.replace("127.0.0.1", "example.com"))

    original: Callable[[str], None] = downloads._check_address
    monkeypatch.setattr(downloads, "_check_address", check)
    with serve(handle) as url, pytest.raises(DownloadError, match=r"http://example\.com:\d+/moved is no https://"):
        download(f"{url}/x.tsv", tmp_path / "x.tsv", md5=None)


def test_a_download_without_an_end_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_LARGEST", 2**18)

    def endless(request: BaseHTTPRequestHandler, _body: dict) -> None:
        request.send_response(200)
        request.end_headers()
        for _ in range(64):
            request.wfile.write(b"x" * 2**16)

    with serve(endless) as url, pytest.raises(DownloadError, match=r"sent more than .* GiB; that is no table"):
        download(f"{url}/x.tsv", tmp_path / "x.tsv", md5=None)
