"""The text that a model is asked for an item: the image or images come first, then this.

The rules follow VLMEvalKit 0.2rc1 with `use_custom_prompt=False`. A variant departs from the rule on purpose, so that a
sensitivity table can say how much of a score is the prompt; its name is part of the score.
"""

from collections.abc import Callable

from drift.errors import DataError, closest
from evaluation.benchmarks.base import Benchmark
from evaluation.data.tsv import Item

_BOXED_REQUEST = "Think step by step, then put the final answer in \\boxed{}."


def build_prompt(benchmark: Benchmark, item: Item, variant: str = "default") -> str:
    """The prompt of `item`: the benchmark's rule for "default", a named departure otherwise.

    Args:
        benchmark: gives the rule.
        item: the question.
        variant: "default"; "direct" (the lab's question without the word `think`, elsewhere the bare question);
            "boxed" (the rule, and a request for a boxed answer).
    Raises:
        DataError: unknown variant or rule, or the item lacks the column that the rule reads.
    """
    if variant not in VARIANTS:
        raise DataError(f"unknown prompt variant {variant!r}: {closest(variant, VARIANTS)}")
    if benchmark.prompt not in RULES:
        raise DataError(f"unknown prompt rule {benchmark.prompt!r}: {closest(benchmark.prompt, RULES)}")
    if variant == "direct":
        return item.question
    prompt = RULES[benchmark.prompt](item)
    return f"{prompt.rstrip()}\n{_BOXED_REQUEST}" if variant == "boxed" else prompt


def _question(item: Item) -> str:
    return item.question


def _query_cot(item: Item) -> str:
    return _field(item, "query_cot")


def _lab(item: Item) -> str:
    return f"{item.question} think"


def _hinted_options(item: Item) -> str:
    hint = item.fields.get("hint", "").strip()
    lines = [f"Hint: {hint}"] if hint else []
    lines.append(f"Question: {item.question}")
    if item.options:
        lines.append("Options:")
        lines.extend(f"{letter}. {text}" for letter, text in item.options.items())
    return "\n".join(lines) + "\n"


def _hinted_options_requirement(item: Item) -> str:
    return _hinted_options(item) + _field(item, "requirement")


def _options(item: Item) -> str:
    return _hinted_options(item) + "Please select the correct answer from the options above. \n"


def _field(item: Item, name: str) -> str:
    if not item.fields.get(name, "").strip():
        raise DataError(f"item {item.index!r} has no {name!r}; this prompt rule needs that column filled")
    return item.fields[name]


RULES: dict[str, Callable[[Item], str]] = {
    "question": _question,
    "query_cot": _query_cot,
    "lab": _lab,
    "hinted_options": _hinted_options,
    "hinted_options_requirement": _hinted_options_requirement,
    "options": _options,
}
VARIANTS = ("default", "direct", "boxed")
