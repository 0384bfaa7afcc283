#!/usr/bin/env python
"""Stands for vLLM's program: `vllm_standin.py serve FOLDER --port N ...` answers as its server does, and dies on cue.

An answer says the question, which GPUs the server has and which process it is. A question that says `refuse` gets 400.
One that says `die` ends the process once for each file in the folder $CUES, and none where it is empty.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._reply(200, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = body["messages"][-1]["content"][-1]["text"]
        cues = sorted(Path(os.environ["CUES"]).iterdir()) if "die" in asked and "CUES" in os.environ else []
        if cues:
            cues[0].unlink()
            print("dying on cue", flush=True)
            os._exit(9)
        if "refuse" in asked:
            return self._reply(400, {"error": "no"})
        text = f"{asked} on {os.environ['CUDA_VISIBLE_DEVICES']} by {os.getpid()} {json.dumps(sys.argv[1:])}"
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
        return self._reply(200, {"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage})

    def _reply(self, status: int, content: dict) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


if __name__ == "__main__":
    if "never" in os.environ.get("STARTS", ""):
        sys.exit("no GPU of compute capability 7.0")
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
