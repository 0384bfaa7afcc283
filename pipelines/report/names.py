"""What a column is, in words: a lab's own suite by what it asks, and the benchmark that it stands in for.

A stand-in is no benchmark: its number and the paper's share no scale, so nothing is concluded from the two together.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.report.numbers import Evidence
from pipelines.report.spec import AVERAGE

LAB_SUITES: Mapping[str, str] = {
    "LabMathVista": "Mixed arithmetic",
    "LabMathVision": "Long arithmetic",
    "LabMathVerse": "All in the picture",
    "LabWeMath": "Step by step",
    "LabLogicVista": "Progressions",
    "LabReading": "Reading digits",
    "LabPosition": "Finding a digit",
    "LabIcon": "Naming a sign",
}
ASKED: Mapping[str, str] = {
    "LabMathVista": "a sum, difference, minimum or maximum of 2 to 4 digits, or the next of a progression",
    "LabMathVision": "a sum, difference, minimum, maximum or calculation of 5 or 6 digits, more than most of training",
    "LabMathVerse": "the operation too is drawn, as a sign in the picture; the text says nothing",
    "LabWeMath": "a calculation of two or three steps, and each of its steps asked alone",
    "LabLogicVista": "the next digit of an arithmetic progression",
    "LabReading": "read all digits, without reasoning",
    "LabPosition": "read the digit at one place, without reasoning",
    "LabIcon": "name the sign that is drawn, without reasoning",
}


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: its name in the CSVs.
        shown: what a reader sees first.
        benchmark: the suite that it was measured on, empty for an average and for what is no score.
        stands_for: the paper's benchmark where the lab has a stand-in, empty elsewhere.
        asked: what the suite asks, in words; of the lab's alone.
    """

    key: str
    shown: str
    benchmark: str = ""
    stands_for: str = ""
    asked: str = ""

    @property
    def heading(self) -> str:
        """`Mixed arithmetic (stands for MathVista)`."""
        return f"{self.shown} (stands for {self.stands_for})" if self.stands_for else self.shown


def columns(evidence: Evidence) -> list[Column]:
    """The table's columns by what was measured in them."""
    suites: dict[str, str] = {}
    for cell in evidence.cells:
        if "score" in cell.artifacts:
            suites |= evidence.sources[cell.artifacts["score"]].manifest["params"].get("benchmarks", {})
    return [_column(key, suites) for key in evidence.table.columns]


def _column(key: str, suites: Mapping[str, str]) -> Column:
    place, _, metric = key.partition("_")
    if key == AVERAGE:
        is_ours = any(name in LAB_SUITES for name in suites.values())
        return Column(key, "Mean of these", stands_for="the paper's mean" if is_ours else "")
    name = suites.get(place, "")
    if name not in LAB_SUITES:
        return Column(key, key.replace("_", ", "), name)
    shown = LAB_SUITES[name] + (f", {metric}" if metric else "")
    return Column(key, shown, name, key.replace("_", ", "), ASKED[name])
