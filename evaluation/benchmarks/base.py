"""The benchmarks as data: where each TSV lies, what it holds, how it is asked, read and scored.

Nothing here computes. A row names a prompt rule (evaluation.benchmarks.prompts), an extraction rule and a scorer
(evaluation.judging.scoring). TSV names, addresses and checksums are VLMEvalKit 0.2rc1's; the `Lab*` rows are the
small world's stand-ins. The module is light on purpose: a planner may import it without torch or pandas.
"""

from dataclasses import dataclass

from drift.errors import DataError, closest

_SITE = "https://opencompass.openxlab.space/utils/VLMEval"
_MATHVERSE_SITE = "https://opencompass.openxlab.space/utils/benchmarks/MathVerse"


@dataclass(frozen=True)
class Benchmark:
    """One benchmark as a row of data.

    Attributes:
        name: the registry key, as VLMEvalKit spells it.
        tsv: file name of the table inside a data folder.
        url: where the table is downloaded from; None for the lab's own tables.
        md5: checksum of the published table, None where none is published.
        rows: number of rows of the published table, None where it was not counted.
        columns: columns that scoring can't do without.
        prompt: key into evaluation.benchmarks.prompts.
        extraction: key of the rule that reads an answer out of a response.
        scorer: key into evaluation.judging.scoring.SCORERS.
        headline: the metric in the paper's tables.
        group_column: column whose equal values form one group, None without groups.
        version: raised when a rule of this row changes what a score means.
        stands_in_for: the real benchmark that a lab row mirrors.
    """

    name: str
    tsv: str
    url: str | None
    md5: str | None
    rows: int | None
    columns: tuple[str, ...]
    prompt: str
    extraction: str
    scorer: str
    headline: str = "accuracy"
    group_column: str | None = None
    version: str = "1"
    stands_in_for: str | None = None


_QA = ("index", "question", "answer")


def _mathverse(name: str, prompt: str) -> Benchmark:
    tsv = "MathVerse_MINIVOnly.tsv"
    return Benchmark(
        name,
        tsv,
        f"{_MATHVERSE_SITE}/{tsv}",
        "68a11d4680014ac881fa37adeadea3a4",
        788,
        _QA,
        prompt,
        "final",
        "mathverse",
    )


def _wemath(name: str, prompt: str) -> Benchmark:
    md5 = "b5e969a075f01290a542411fb7766388"
    columns = (*_QA, "ID", "key")
    return Benchmark(
        name, "WeMath.tsv", f"{_SITE}/WeMath.tsv", md5, 1740, columns, prompt, "letter", "wemath", "strict", "ID"
    )


def _lab(name: str, real: str | None) -> Benchmark:
    return Benchmark(name, f"{name}.tsv", None, None, None, _QA, "lab", "boxed", "free_form", stands_in_for=real)


def _choice(name: str, md5: str) -> Benchmark:
    columns = (*_QA, "A", "B")
    return Benchmark(name, f"{name}.tsv", f"{_SITE}/{name}.tsv", md5, None, columns, "options", "letter", "choice")


_ROWS = (
    Benchmark(
        "MathVista_MINI",
        "MathVista_MINI.tsv",
        f"{_SITE}/MathVista_MINI.tsv",
        "f199b98e178e5a2a20e7048f5dcb0464",
        1000,
        (*_QA, "question_type", "answer_type"),
        "question",
        "mathvista",
        "mathvista",
    ),
    Benchmark(
        "MathVision",
        "MathVision.tsv",
        f"{_SITE}/MathVision.tsv",
        "93f6de14f7916e598aa1b7165589831e",
        3040,
        _QA,
        "question",
        "mathvision",
        "mathvision",
    ),
    Benchmark(
        "MathVision_MINI",
        "MathVision_MINI.tsv",
        f"{_SITE}/MathVision_MINI.tsv",
        "060fe4fa5d868987ce179307bd5f8a33",
        304,
        _QA,
        "question",
        "mathvision",
        "mathvision",
    ),
    _mathverse("MathVerse_MINI_Vision_Only", "question"),
    _mathverse("MathVerse_MINI_Vision_Only_cot", "query_cot"),
    _wemath("WeMath", "hinted_options"),
    _wemath("WeMath_COT", "hinted_options_requirement"),
    Benchmark(
        "LogicVista",
        "LogicVista.tsv",
        f"{_SITE}/LogicVista.tsv",
        "41c5d33adf33765c399e0e6ae588c061",
        447,
        _QA,
        "question",
        "letter_set",
        "logicvista",
    ),
    Benchmark(
        "HallusionBench",
        "HallusionBench.tsv",
        f"{_SITE}/HallusionBench.tsv",
        "0c23ac0dc9ef46832d7a24504f2a0c7c",
        None,
        _QA,
        "question",
        "yes_no",
        "hallusion",
        "aAcc",
        group_column="figure",
    ),
    _choice("RealWorldQA", "4de008f55dc4fd008ca9e15321dc44b7"),
    _choice("MMStar", "e1ecd2140806c1b1bbf54b43372efb9e"),
    _lab("LabMathVista", "MathVista_MINI"),
    _lab("LabMathVision", "MathVision"),
    _lab("LabMathVerse", "MathVerse_MINI_Vision_Only"),
    Benchmark(
        "LabWeMath",
        "LabWeMath.tsv",
        None,
        None,
        None,
        (*_QA, "ID", "key"),
        "lab",
        "boxed",
        "free_form_groups",
        "strict",
        "ID",
        stands_in_for="WeMath",
    ),
    _lab("LabLogicVista", "LogicVista"),
    _lab("LabReading", None),
    _lab("LabPosition", None),
    _lab("LabIcon", None),
)

BENCHMARKS: dict[str, Benchmark] = {row.name: row for row in _ROWS}
ALIASES: dict[str, str] = {
    "MathVista": "MathVista_MINI",
    "MathVerse": "MathVerse_MINI_Vision_Only",
    "MathVerse_cot": "MathVerse_MINI_Vision_Only_cot",
}


def get_benchmark(name: str) -> Benchmark:
    """The row called `name`, aliases resolved.

    Raises:
        DataError: no such benchmark; the message names the closest one.
    """
    row = BENCHMARKS.get(ALIASES.get(name, name))
    if row is None:
        raise DataError(f"unknown benchmark {name!r}: {closest(name, [*BENCHMARKS, *ALIASES])}")
    return row
