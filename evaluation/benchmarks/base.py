"""What a benchmark is: a table, and the members that ask for an answer, read it, judge it and sum up.

TSV names, addresses and checksums are VLMEvalKit 0.2rc1's, and so are the prompts, with `use_custom_prompt=False`: the
images come first, then the text. A prompt variant departs from a benchmark's own prompt on purpose, to say how much of
a score is the prompt; its name is part of the score.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drift.errors import DataError, closest
from evaluation.data.converters import Conversion
from evaluation.data.tsv import QA, Item, Table
from evaluation.judging.prompts import LETTER, Protocol
from evaluation.judging.protocols import SEMANTIC, VLMEVALKIT, ScoringProtocol
from evaluation.judging.rules import score_choice
from evaluation.judging.verdicts import Grouped, Rule, Verdict

_SITE = "https://opencompass.openxlab.space/utils/VLMEval"
Prompt = Callable[[Item], str]
VARIANTS = ("default", "direct", "boxed")
_BOXED_REQUEST = "Think step by step, then put the final answer in \\boxed{}."


@dataclass(frozen=True, kw_only=True)
class Benchmark(Table):
    """One benchmark, whole: the table that it is (evaluation.data.tsv.Table), and all that is done with it.

    Attributes:
        prompt: the text that a model is asked for an item.
        rule: the verdict on a response in a mode, `official` or `semantic`.
        protocol: what a judge is asked, and how the answer that it reads is compared with the gold one.
        protocols: mode -> the pinned protocol that it stands for; none given are the benchmark's own rules throughout.
        headline: the metric in the paper's tables.
        version: raised when a member changes what a score means.
        aliases: other names for it.
        options: letter -> text of an item, where the question spells out what the columns lack.
        unclipped: modes whose rule reads responses of any length, as text alone: no formula is compared.
        metrics: what is summed up beside the accuracy, from items and their verdicts by index.
        converter: (folder, tsv) -> the table made from the benchmark's own repository; None where there is none.
        stands_in_for: the real benchmark that a suite of the lab mirrors.
        facets: columns that scores are broken down by (evaluation.judging.breakdown); no other table has all of them.
        toolkit: the columns that VLMEvalKit's class of that real benchmark needs to score an item of the lab.
    """

    prompt: Prompt
    rule: Rule
    protocol: Protocol
    protocols: Mapping[str, ScoringProtocol] = field(default_factory=dict)
    headline: str = "accuracy"
    version: str = "2"
    aliases: tuple[str, ...] = ()
    options: Callable[[Item], Mapping[str, str]] = lambda item: item.options
    unclipped: tuple[str, ...] = ()
    metrics: Callable[[Sequence[Item], Mapping[str, Verdict]], Grouped] | None = None
    converter: Callable[[Path, Path], Conversion] | None = None
    stands_in_for: str | None = None
    facets: tuple[str, ...] = ()
    toolkit: Callable[[Item], dict[str, str]] | None = None

    def pinned(self, mode: str) -> ScoringProtocol:
        """The protocol that `mode` stands for; `today` is the published rule where that has not changed.

        Raises:
            DataError: the benchmark names its protocols, and has none for this mode.
        """
        if not self.protocols:
            return ScoringProtocol(f"{self.name}@{self.version}", "undecided")
        found = self.protocols.get(mode) or (self.protocols.get("official") if mode == "today" else None)
        if found is None:
            raise DataError(f"{self.name} has no protocol for mode {mode!r}; it has {sorted(self.protocols)}")
        return found

    def convert(self, source: Path, out: Path) -> Conversion:
        """Converts the folder `source`, as the benchmark's repository ships it, to the TSV `out`.

        Raises:
            DataError: there is no converter, files are absent, or not one item has an image.
        """
        if self.converter is None:
            raise DataError(f"{self.name} has no converter from its repository's files; put {self.tsv} in the folder")
        return self.converter(source, out)


def ask_question(item: Item) -> str:
    """The question as the table has it."""
    return item.question


def published(table: str, md5: str, *, name: str = "", prompt: Prompt = ask_question, **members: Any) -> Benchmark:
    """A benchmark whose table lies on VLMEvalKit's site; it is called like the table unless `name` says otherwise."""
    own: dict[str, Any] = {"tsv": f"{table}.tsv", "url": f"{_SITE}/{table}.tsv", "md5": md5}
    return Benchmark(name=name or table, prompt=prompt, **own, **members)


def lettered(table: str, md5: str, facets: tuple[str, ...] = ()) -> Benchmark:
    """A published benchmark whose answer is a letter among options."""

    def ask_to_select(item: Item) -> str:
        return ask_options(item) + "Please select the correct answer from the options above. \n"

    columns = (*QA, "A", "B")
    own = {"official": VLMEVALKIT, "vlmevalkit": VLMEVALKIT, "semantic": SEMANTIC}
    return published(
        table,
        md5,
        columns=columns,
        prompt=ask_to_select,
        rule=score_choice,
        protocol=LETTER,
        protocols=own,
        facets=facets,
    )


def build_prompt(benchmark: Benchmark, item: Item, variant: str = "default") -> str:
    """The prompt of `item`: the benchmark's own for "default", a named departure otherwise.

    Args:
        benchmark: gives the prompt.
        item: the question.
        variant: "default"; "direct" (the lab's question without the word `think`, elsewhere the bare question);
            "boxed" (the benchmark's own, and a request for a boxed answer).
    Raises:
        DataError: unknown variant, or the item lacks the column that the prompt needs.
    """
    if variant not in VARIANTS:
        raise DataError(f"unknown prompt variant {variant!r}: {closest(variant, VARIANTS)}")
    if variant == "direct":
        return item.question
    prompt = benchmark.prompt(item)
    return f"{prompt.rstrip()}\n{_BOXED_REQUEST}" if variant == "boxed" else prompt


def ask_options(item: Item) -> str:
    """Hint, question and options, a line each."""
    hint = item.fields.get("hint", "").strip()
    lines = [f"Hint: {hint}"] if hint else []
    lines.append(f"Question: {item.question}")
    if item.options:
        lines.append("Options:")
        lines.extend(f"{letter}. {text}" for letter, text in item.options.items())
    return "\n".join(lines) + "\n"


def column(item: Item, name: str) -> str:
    """The item's text in a column that a prompt can't do without.

    Raises:
        DataError: the column is absent or empty.
    """
    if not item.fields.get(name, "").strip():
        raise DataError(f"item {item.index!r} has no {name!r}; this prompt rule needs that column filled")
    return item.fields[name]


def grouped_by(name: str) -> Callable[[Mapping[str, str]], str]:
    """Rows with equal texts in the column `name` form one group (`Table.group`)."""

    def group(row: Mapping[str, str]) -> str:
        if not row[name].strip():
            raise DataError(f"item {row['index']!r} has an empty {name}; its group is unknown")
        return row[name]

    return group
