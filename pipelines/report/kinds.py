"""The kinds of table, a class each: what a cell is read from, its numbers, how they are printed, drawn and summed up.

Planning reads `roles` alone, so pandas and matplotlib are imported where a table is filled.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from drift.errors import closest
from pipelines.errors import ConfigError
from pipelines.report.spec import COSTS

if TYPE_CHECKING:
    import pandas

    from pipelines.report.numbers import Evidence, Number

    Numbers = Mapping[str, Sequence[Number]]

SLOPES = (
    "What distance costs: the slope of a line through the rows of a series, fitted in each world, as its mean over "
    "worlds with the interval over worlds (in points of the last column)."
)


class Kind:
    """What a kind of table does unless it says otherwise.

    Attributes:
        roles: the artifacts that a cell is read from, each the name of what pipelines.tables plans for it.
        digits: of the printed numbers, behind the point.
    """

    roles: ClassVar[tuple[str, ...]]
    digits: ClassVar[int] = 1

    def numbers(self, evidence: "Evidence") -> "Numbers":
        """Row label -> its numbers, for the rows that were run."""
        return {}

    def wide(self, evidence: "Evidence", numbers: "Numbers") -> "pandas.DataFrame":
        """The table as printed."""
        from pipelines.report.render import wide_frame

        return wide_frame(evidence, numbers, self.digits)

    def draw(self, evidence: "Evidence", numbers: "Numbers", folder: Path) -> list[str]:
        """Draws the kind's figures into `folder`; their names."""
        return []

    def findings(self, evidence: "Evidence", numbers: "Numbers") -> list[str]:
        """What the table says as a whole, in paragraphs of Markdown."""
        return []


class Scores(Kind):
    """Benchmark scores beside the paper's."""

    roles: ClassVar[tuple[str, ...]] = ("score", "checkpoint", "choice")

    def numbers(self, evidence: "Evidence") -> "Numbers":
        return evidence.scores()


class Hyperparameters(Kind):
    """Table 9: what each merge ran with, beside the paper's entry."""

    roles = ("score", "checkpoint", "choice")

    def wide(self, evidence: "Evidence", numbers: "Numbers") -> "pandas.DataFrame":
        from pipelines.report.render import settings_frame

        return settings_frame(evidence)


class Geometry(Kind):
    """Figure 2: how far each row's expert lies from its MLLM (drift.geometry); no percent."""

    roles = ("geometry",)
    digits = 3

    def numbers(self, evidence: "Evidence") -> "Numbers":
        return evidence.recorded("geometry", evidence.table.columns, counted="n")

    def draw(self, evidence: "Evidence", numbers: "Numbers", folder: Path) -> list[str]:
        from pipelines.report.geometry_figures import figure2

        figure2(evidence.by_row("geometry"), folder / evidence.table.name)
        return [evidence.table.name]


class Distance(Scores):
    """Scores, and the rows' gains against how far each row's expert lies from its MLLM."""

    roles = ("geometry", *Scores.roles)

    def draw(self, evidence: "Evidence", numbers: "Numbers", folder: Path) -> list[str]:
        from pipelines.report.geometry_figures import gain_against_distance

        table = evidence.table
        gain_against_distance(table, evidence.by_row("geometry"), numbers, folder / table.name)
        return [table.name]

    def findings(self, evidence: "Evidence", numbers: "Numbers") -> list[str]:
        from evaluation.data.markdown import markdown
        from pipelines.report.geometry_figures import slopes

        return [SLOPES, markdown(slopes(evidence.table, evidence.by_row("geometry"), numbers))]


class Cost(Kind):
    """Table 8: what each training took (`COSTS`; n counts its examples), beside the paper's estimates."""

    roles = ("checkpoint", "choice")

    def numbers(self, evidence: "Evidence") -> "Numbers":
        columns = [column for column in evidence.table.columns if column in COSTS]
        return evidence.recorded("checkpoint", columns, counted="examples")


KINDS: Mapping[str, Kind] = {
    "scores": Scores(),
    "hyperparameters": Hyperparameters(),
    "geometry": Geometry(),
    "distance": Distance(),
    "cost": Cost(),
}


def get_kind(name: str) -> Kind:
    """The kind of that name.

    Raises:
        ConfigError: unknown; names the closest.
    """
    if name not in KINDS:
        raise ConfigError(f"unknown kind of table {name!r}: {closest(name, KINDS)}")
    return KINDS[name]
