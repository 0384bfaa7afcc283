"""What asking a judge will take, before it is asked: calls, tokens, and money where the judge has a price.

Tokens are counted by fours of characters, which is near enough for a price and needs no tokenizer. How many items the
rules leave open is known only behind the responses; before them it is the share that published answers left open.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation.data.tsv import Item
from evaluation.judging.judge import JudgeRequest

if TYPE_CHECKING:
    from evaluation.benchmarks import Benchmark
    from evaluation.judging.config import AskedJudge

# Of items, by what the protocol asks. Measured on results/published_answers: `semantic` leaves 7% unmatched over all
# files, up to 30% in one.
_ASKED = {"never": 0.0, "undecided": 0.1, "always": 1.0}
_CHARACTERS = 4
_REPLY_TOKENS = 20


@dataclass(frozen=True)
class Estimate:
    """What a judge is asked: `cost` is in the currency of its prices, 0 where it has none."""

    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float


def estimate(
    benchmark: "Benchmark", judge: "AskedJudge", items: int, response_tokens: int, question_tokens: int = 120
) -> Estimate:
    """The judging of so many items of a benchmark.

    Args:
        response_tokens: of a response, on average.
        question_tokens: of a question with its options.
    """
    protocol = benchmark.pinned(judge.mode)
    calls = round(items * _ASKED[protocol.asks])
    calls = min(items, calls + judge.audit) if protocol.asks != "never" else 0
    prompt = _frame(benchmark) + question_tokens + response_tokens
    replies = calls * (2 if benchmark.protocol.compare is not None else 1)  # MathVerse asks about equality too
    asked, said = (0.0, 0.0) if judge.name == "local" else (judge.prompt_price, judge.completion_price)
    cost = replies * (prompt * asked + _REPLY_TOKENS * said) / 1e6
    return Estimate(replies, replies * prompt, replies * _REPLY_TOKENS, cost)


def _frame(benchmark: "Benchmark") -> int:
    """Tokens of a prompt without question and response: the task and its examples."""
    empty = JudgeRequest(**vars(Item("", "", "")), benchmark=benchmark.name, response="")
    return len(benchmark.protocol.ask(empty)) // _CHARACTERS
