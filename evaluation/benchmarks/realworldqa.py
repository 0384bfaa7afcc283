"""RealWorldQA: a letter among options."""

from evaluation.benchmarks.base import SITE, Benchmark, ask_to_select
from evaluation.data.tsv import QA
from evaluation.judging.prompts import LETTER
from evaluation.judging.rules import score_choice

BENCHMARKS = (
    Benchmark(
        name="RealWorldQA",
        tsv="RealWorldQA.tsv",
        url=f"{SITE}/RealWorldQA.tsv",
        md5="4de008f55dc4fd008ca9e15321dc44b7",
        columns=(*QA, "A", "B"),
        prompt=ask_to_select,
        rule=score_choice,
        protocol=LETTER,
    ),
)
