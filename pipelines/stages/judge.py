"""The judge as a stage of its own: what the rules leave open is asked once, and scored as often as one likes.

Beside the open items a seeded sample of decided ones is asked too: what the judge says of those changes no verdict, and
its agreement with the rules is what its other verdicts are worth.
"""

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from drift.files import read_jsonl, write_jsonl, write_whole
from evaluation.benchmarks import Benchmark, get_benchmark, protocol_of
from evaluation.data.tsv import Item, load_items
from evaluation.judging.config import LocalJudge
from evaluation.judging.http import HttpJudge
from evaluation.judging.judge import JudgeReply
from evaluation.judging.prompts import templates
from evaluation.judging.scoring import open_to_judge, request_of, score_by_rules
from evaluation.judging.verdicts import Verdict
from pipelines.errors import StageError
from pipelines.layout import AUDITED, PROMPTS, PUBLISHED, REPLIES
from pipelines.stage import Runtime
from pipelines.stages import JudgeParams
from pipelines.stages.outside import snapshot

_FILES = ("*.json", "*.safetensors", "*.txt")


def judge_responses(params: JudgeParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """A JSONL of replies per benchmark, and what was asked; values: usage, agreement with rules and publisher.

    Raises:
        StageError: the judge stopped answering; its replies so far are kept, and the next run asks for the rest. A
            single call that failed, or a reply without sense, is an unjudged item and no error.
        EngineError: a judge of one's own does not start.
    """
    found: dict[str, Any] = {}
    with _asked(params, runtime, out) as judge:
        for name in params.benchmarks:
            benchmark = get_benchmark(name)
            items = load_items(inputs["benchmarks"] / benchmark.tsv, benchmark, with_images=False)
            lines = read_jsonl(inputs["responses"] / f"{name}.jsonl", "responses")
            responses = {line["index"]: line["response"] for line in lines}
            verdicts = score_by_rules(benchmark, items, responses, params.judge.mode)
            replies, audited, found[name] = _judged(benchmark, items, responses, verdicts, judge, params.judge.audit)
            if judge.is_lost:
                last = next(reply.raw for reply in replies.values() if reply.verdict is None)
                raise StageError(
                    f"judge {judge.model} at {judge.url} stopped answering on {name}; last: {last}. Run again to ask "
                    "only for the rest"
                )
            found[name] |= _with_publisher(replies, inputs["responses"] / f"{name}{PUBLISHED}")
            for file, said in ((REPLIES, replies), (AUDITED, audited)):
                write_jsonl(out / f"{name}{file}", ({"index": k, **asdict(reply)} for k, reply in said.items()))
            asked = {
                "protocol": benchmark.pinned(params.judge.mode).name,
                "prompts": templates(benchmark.protocol, name),
            }
            write_whole(out / f"{name}{PROMPTS}", json.dumps(asked, indent=1, ensure_ascii=False) + "\n")
        return {"judge": judge.model, "judge_usage": asdict(judge.usage()), "agreement": found}


def _judged(
    benchmark: Benchmark,
    items: Sequence[Item],
    responses: Mapping[str, str],
    verdicts: Sequence[Verdict],
    judge: HttpJudge,
    audit: int,
) -> tuple[dict[str, JudgeReply], dict[str, JudgeReply], dict[str, Any]]:
    """The replies by index on what is open and on a sample of the rest, and what this sample says of the judge."""
    places = open_to_judge(benchmark, verdicts)
    if not places:
        return {}, {}, {"asked": 0, "audited": 0}
    decided = sorted({*range(len(items))} - {*places} - {k for k, verdict in enumerate(verdicts) if verdict.is_missing})
    sample = random.Random(benchmark.name).sample(decided, min(audit, len(decided)))
    requests = [request_of(benchmark, items[k], responses, verdicts[k]) for k in [*places, *sample]]
    said = judge.judge_all(requests)
    audited = [(verdicts[k].correct, reply.verdict) for k, reply in zip(sample, said[len(places) :], strict=True)]
    answered = [(rule, verdict) for rule, verdict in audited if verdict is not None]
    agreed = sum(rule == verdict for rule, verdict in answered)
    record = {"asked": len(places), "audited": len(answered), "agrees_with_rules": _percent(agreed, len(answered))}
    replies = {request.index: reply for request, reply in zip(requests, said, strict=True)}
    return dict(list(replies.items())[: len(places)]), dict(list(replies.items())[len(places) :]), record


def _with_publisher(replies: Mapping[str, JudgeReply], path: Path) -> dict[str, Any]:
    """How often the judge says what the publisher of the answers said; nothing where nobody published any."""
    if not path.exists():
        return {}
    theirs = {line["index"]: line["correct"] for line in read_jsonl(path, "verdicts")}
    pairs = [(reply.verdict, theirs[index]) for index, reply in replies.items() if reply.verdict is not None]
    return {"agrees_with_publisher": _percent(sum(a == b for a, b in pairs), len(pairs))}


def _percent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None


@contextmanager
def _asked(params: JudgeParams, runtime: Runtime, out: Path) -> Iterator[HttpJudge]:
    """The judge; one cache of replies serves all runs, so that what was paid for once is not asked again."""
    config = params.judge
    if not isinstance(config, LocalJudge):
        place = hashlib.sha256(f"{config.url}\0{config.model}".encode()).hexdigest()[:20]
        yield HttpJudge(config, protocol_of, cache=runtime.cache / "judge" / place)
        return
    from evaluation.judging.local import served

    model = f"{config.repo}@{config.revision}"
    folder = Path(config.repo) if Path(config.repo).is_dir() else None
    folder = folder or snapshot(config.repo, config.revision, runtime, "model", _FILES)
    place = hashlib.sha256(model.encode()).hexdigest()[:20]
    with served(config, folder, out) as endpoint:
        yield HttpJudge(endpoint, protocol_of, cache=runtime.cache / "judge" / place, known_as=model)
