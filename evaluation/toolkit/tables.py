"""The lab's tables in the columns that VLMEvalKit's own benchmark classes read, so that its code scores the lab.

Each lab suite goes to the class of the benchmark that it stands in for. Those of We-Math and LogicVista score option
letters only, so the digit d becomes the option `ABCDEFGHIJ`[d] there. The prompt of our own run is kept in a column and
is what the model sees, with every class. Published tables are passed on byte for byte.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drift.errors import DataError
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.prompts import build_prompt
from evaluation.data.tsv import Item, encode_image, load_items, write_rows

LETTERS = "ABCDEFGHIJ"
PROMPT_COLUMN = "drift_prompt"
Row = dict[str, str]


@dataclass(frozen=True)
class Adapter:
    """How one lab suite is shown to the toolkit: the class's data set name, and the columns that the class needs."""

    dataset: str
    columns: Callable[[Item], Row]


def toolkit_dataset(benchmark: Benchmark) -> str:
    """The toolkit's name for a benchmark: its own for a published one, the stood-in one for a lab suite.

    Raises:
        DataError: a lab suite that stands in for nothing; the toolkit has no class for it.
    """
    if benchmark.name in ADAPTERS:
        return ADAPTERS[benchmark.name].dataset
    if benchmark.url is None:
        raise DataError(f"{benchmark.name} stands in for no benchmark of VLMEvalKit; it has: {', '.join(ADAPTERS)}")
    return benchmark.name


def write_table(benchmark: Benchmark, tsv: Path, folder: Path, *, variant: str = "default", limit: int = 0) -> int:
    """Put the toolkit's `<dataset>.tsv` into `folder`; the number of items, 0 for a table passed on unread.

    Args:
        variant: the prompt variant of a lab suite.
        limit: the first so many items only; 0 keeps all. Published tables can't be cut.
    Raises:
        DataError: as load_items; or a lab answer that the class can't score.
    """
    target = folder / f"{toolkit_dataset(benchmark)}.tsv"
    folder.mkdir(parents=True, exist_ok=True)
    if benchmark.name not in ADAPTERS:
        if limit:
            raise DataError(f"limit={limit}: {benchmark.name} is a published table, which is passed on whole")
        shutil.copyfile(tsv, target)
        return 0
    items = load_items(tsv, benchmark)
    items = items[:limit] if limit else items
    write_rows(target, [_row(benchmark, item, variant) for item in items])
    return len(items)


def _row(benchmark: Benchmark, item: Item, variant: str) -> Row:
    if len(item.images) != 1:
        raise DataError(f"{benchmark.name} item {item.index!r} has {len(item.images)} images; the lab's have one")
    common = {
        "index": item.index,
        "image": encode_image(item.images[0]),
        "question": item.question,
        "answer": item.answer,
        PROMPT_COLUMN: build_prompt(benchmark, item, variant),
    }
    return common | ADAPTERS[benchmark.name].columns(item)


def _digit(item: Item) -> int:
    if len(item.answer) != 1 or item.answer not in "0123456789":
        raise DataError(
            f"item {item.index!r} has the answer {item.answer!r}; this class of the toolkit needs one digit"
        )
    return int(item.answer)


def _mathvista(item: Item) -> Row:
    kind = {"question_type": "free_form", "answer_type": "integer", "answer_option": "", "choices": "[]"}
    return {**kind, "answer": str(_digit(item)), "task": "lab", "skills": "['lab']"}


def _mathvision(item: Item) -> Row:
    return {"choices": "[]", "category": "lab"}


def _mathverse(item: Item) -> Row:
    metadata = '{"problem_version": "Vision Only", "subject": "lab", "subfield": "digits"}'
    return {"question_for_eval": item.question, "query_cot": item.question, "metadata": metadata}


def _wemath(item: Item) -> Row:
    options = {letter: str(value) for value, letter in enumerate(LETTERS)}
    key = {"ID": item.fields["ID"], "key": item.fields["key"], "knowledge concept": "lab"}
    return {**options, "answer": LETTERS[_digit(item)], **key}


def _logicvista(item: Item) -> Row:
    return {"answer": LETTERS[_digit(item)], "skill": "inductive"}


ADAPTERS: dict[str, Adapter] = {
    "LabMathVista": Adapter("MathVista_MINI", _mathvista),
    "LabMathVision": Adapter("MathVision", _mathvision),
    "LabMathVerse": Adapter("MathVerse_MINI_Vision_Only", _mathverse),
    "LabWeMath": Adapter("WeMath", _wemath),
    "LabLogicVista": Adapter("LogicVista", _logicvista),
}
