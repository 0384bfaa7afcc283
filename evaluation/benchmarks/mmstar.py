"""MMStar: a letter among options."""

from evaluation.benchmarks.base import SITE, Benchmark, ask_to_select
from evaluation.data.tsv import QA
from evaluation.judging.prompts import LETTER
from evaluation.judging.rules import score_choice

BENCHMARKS = (
    Benchmark(
        name="MMStar",
        tsv="MMStar.tsv",
        url=f"{SITE}/MMStar.tsv",
        md5="e1ecd2140806c1b1bbf54b43372efb9e",
        columns=(*QA, "A", "B"),
        prompt=ask_to_select,
        rule=score_choice,
        protocol=LETTER,
    ),
)
