"""What of wandb's server an upload talks to: runs that can be taken up, their history by line, and their files."""

import gzip
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Run:
    """A run as the server has it."""

    facts: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: dict[int, dict[str, Any]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    uploads: int = 0

    def steps(self) -> list[int]:
        """The steps of the curve, in the order of its lines."""
        return [self.history[place]["_step"] for place in sorted(self.history)]


class Server(ThreadingHTTPServer):
    """Speaks GraphQL and the file stream on 127.0.0.1; `fails_after` uploads it refuses all."""

    daemon_threads = True

    def __init__(self, fails_after: int | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.runs: dict[str, Run] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.views: dict[str, dict[str, Any]] = {}
        self.fails_after = fails_after
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """A client that hangs up early is what some tests are about; no traceback."""

    def uploads(self) -> int:
        """The segments that arrived whole."""
        return sum(run.uploads for run in self.runs.values())

    def run(self, name: str) -> Run:
        return self.runs.setdefault(name, Run())

    def graphql(self, name: str, asked: dict[str, Any]) -> dict[str, Any]:
        """The answer; an error to what is no part of this server, as an older server would."""
        self.calls.append((name, asked))
        if name == "RunResumeStatus":
            bucket = self._resume(asked["name"])
            return {"data": {"model": {"id": "p", "name": "drift", "entity": ENTITY, "bucket": bucket}}}
        if name == "UpsertBucket":
            return {"data": {"upsertBucket": {"bucket": self._upsert(asked), "inserted": True}}}
        if name == "Viewer":
            viewer = {"id": "u", "username": "somebody", "entity": "somebody", "flags": "{}", "teams": {"edges": []}}
            return {"data": {"viewer": viewer}}
        if name == "UpsertView2":
            view = {"id": f"id-{asked['displayName']}", "name": asked["name"], "displayName": asked["displayName"]}
            is_new = view["id"] not in self.views
            self.views[view["id"]] = {**view, "spec": asked["spec"]}
            return {"data": {"upsertView": {"view": view, "inserted": is_new}}}
        if name == "View":
            found = [view for view in self.views.values() if view["name"] == asked["viewName"]]
            return {"data": {"project": {"allViews": {"edges": [{"node": view} for view in found]}}}}
        if name == "CreateRunFiles":
            self.run(asked["run"]).files += asked["files"]
            files = [{"name": each, "uploadUrl": f"{self.url}/put/{each}"} for each in asked["files"]]
            return {"data": {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}}
        return {"errors": [{"message": f"{name} is unknown here"}]}

    def _resume(self, name: str) -> dict[str, Any] | None:
        if name not in self.runs:
            return None
        run = self.runs[name]
        last = [json.dumps(run.history[max(run.history)])] if run.history else []
        return {
            "id": name, "name": name, "displayName": name, "notes": "", "tags": [], "wandbConfig": "{}",
            "summaryMetrics": json.dumps(run.summary), "config": json.dumps(run.config),
            "historyLineCount": len(run.history), "logLineCount": 0, "eventsLineCount": 0,
            "historyTail": json.dumps(last), "eventsTail": "[]",
        }  # fmt: skip

    def _upsert(self, asked: dict[str, Any]) -> dict[str, Any]:
        run = self.run(asked["name"])
        run.facts |= {key: value for key, value in asked.items() if value is not None and key != "config"}
        run.config |= json.loads(asked["config"] or "{}")
        project = {"id": "p", "name": "drift", "entity": ENTITY}
        return {
            "id": asked["name"], "name": asked["name"], "displayName": asked["name"], "description": "",
            "config": json.dumps(run.config), "sweepName": None, "project": project,
            "historyLineCount": len(run.history),
        }  # fmt: skip

    def stream(self, name: str, body: dict[str, Any]) -> None:
        """Lines of a run's files, at their offsets."""
        run = self.run(name)
        for file, part in body.get("files", {}).items():
            for place, line in enumerate(part["content"], part["offset"]):
                if file == "wandb-history.jsonl":
                    run.history[place] = json.loads(line)
                if file == "wandb-summary.json":
                    run.summary |= json.loads(line)
        run.uploads += bool(body.get("complete"))


ENTITY = {"id": "e", "name": "somebody"}


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = self._body()
        server = self.server
        with server.lock:
            if server.fails_after is not None and server.uploads() >= server.fails_after:
                self._say({"error": "told to"}, 400)
            elif self.path.endswith("/graphql"):
                asked = json.loads(body)
                (name,) = re.findall(r"^\s*(?:query|mutation)\s+(\w+)", asked["query"])
                self._say(server.graphql(name, asked.get("variables") or {}))
            elif self.path.endswith("/file_stream"):
                server.stream(self.path.split("/")[-2], json.loads(body))
                self._say({})
            else:
                self._say({"error": f"{self.path} is unknown here"}, 404)

    def do_PUT(self) -> None:
        self._body()
        self._say({})

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _say(self, answer: dict[str, Any], status: int = 200) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def standing_in(fails_after: int | None = None) -> Iterator[Server]:
    """The server while the block runs."""
    server = Server(fails_after)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
