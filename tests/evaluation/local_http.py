"""A web server on 127.0.0.1 whose answers are written by the test: slow, broken, or wrong on purpose."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Handler = Callable[[BaseHTTPRequestHandler, dict], None]


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that hangs up early is what some tests are about; no traceback."""


@contextmanager
def serve(handle: Handler) -> Iterator[str]:
    """The server's address while the block runs; `handle` gets the request and its JSON body ({} for a GET)."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            handle(self, {})

        def do_POST(self) -> None:
            handle(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = _Server(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def send(request: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    """A whole answer with its true length unless `Content-Length` is given."""
    request.send_response(status)
    for name, value in (
        {"Content-Length": str(len(body))} | {k.replace("_", "-"): v for k, v in headers.items()}
    ).items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)


def completion(text: str | None, finish_reason: str = "stop", tokens: tuple[int, int] = (10, 2)) -> bytes:
    """The body of a chat completion."""
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    return json.dumps({"choices": [choice], "usage": usage}).encode()


class Server:
    """Answers calls with `replies` in turn (a text, bytes, a status, or a function), the last one for ever."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.bodies: list[dict] = []
        self.lock = threading.Lock()

    def __call__(self, request, body) -> None:
        with self.lock:
            self.bodies.append(body)
            reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        reply = reply(body) if callable(reply) else reply
        if isinstance(reply, int):
            send(request, reply, b'{"error": "told to"}')
        else:
            send(request, 200, completion(reply) if isinstance(reply, str) else reply)
