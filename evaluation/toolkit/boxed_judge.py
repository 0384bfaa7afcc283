r"""A judge for the lab without a language model: an OpenAI-compatible server on 127.0.0.1 that reads `\boxed{}`.

VLMEvalKit scores four of the five suites' classes only with a judge model. This one understands what each of its
prompts asks for (a value, an option letter, or whether two values agree) from the prompt's last words, looks for the
last `\boxed{}` in the response that the prompt quotes, and answers by rule. It is a second opinion on the toolkit's
whole path (prompts, generation, files, formulas), not on language understanding.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from evaluation.answers.text import last_boxed
from evaluation.benchmarks.lab import LETTERS

MODEL = "boxed-rules"
# The toolkit's prompts quote the response last, after one of these (the first is spelt so there).
_RESPONSE_STARTS = ("Model respone:", "Model response:", "Answer: <start>")
_PAIR = re.compile(r"\[Standard Answer\]: *(.*)\n\s*\[Model_answer\] *: *(.*)\n")


@contextmanager
def serve_boxed_judge() -> Iterator[str]:
    """The judge's base URL (`.../v1`) while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()


def answer(prompt: str) -> str:
    """What the judge says: a value or `none`, a letter or `Z`, 1 or 0, by what the prompt's end asks for."""
    end = prompt.rstrip()
    if end.endswith("Judgement:"):
        pairs = _PAIR.findall(prompt)
        return str(int(bool(pairs) and _same(*pairs[-1])))
    start = max(prompt.rfind(marker) for marker in _RESPONSE_STARTS)
    boxed = last_boxed(prompt[start:]) if start >= 0 else None
    if end.endswith("Your output:"):
        return LETTERS[int(boxed)] if boxed is not None and re.fullmatch(r"[0-9]", boxed.strip()) else "Z"
    return boxed.strip() if boxed is not None else "none"


def _same(gold: str, extracted: str) -> bool:
    try:
        return float(gold) == float(extracted)
    except ValueError:
        return gold.strip() == extracted.strip()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content = body["messages"][-1]["content"]
        text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
        choice = {"index": 0, "message": {"role": "assistant", "content": answer(text)}, "finish_reason": "stop"}
        reply = json.dumps({"object": "chat.completion", "model": MODEL, "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: object) -> None:
        """A line for each call would drown the toolkit's own log."""
