"""The kinds of table, a class each: what a cell is read from, its numbers, how they are printed, drawn and summed up.

Planning reads `roles` alone, so pandas and matplotlib are imported where a table is filled.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pipelines.report.spec import COSTS

if TYPE_CHECKING:
    from pandas import DataFrame

    from pipelines.report.numbers import Evidence, Numbers
    from pipelines.report.style import Figure


class Kind:
    """Benchmark scores beside the paper's; what another kind does too, unless it says otherwise.

    Attributes:
        roles: the artifacts that a cell is read from, each the name of what pipelines.tables plans for it: a score and
            the `items` that it is of, its `responses`, these on `all` and `all_items` and by the `rules` alone, and so
            on.
        digits: of the printed numbers, behind the point.
        has_scores: its columns are the suite's, and their average.
    """

    roles: ClassVar[tuple[str, ...]] = (
        "score", "items", "responses", "all", "all_items", "rules", "checkpoint", "start", "choice",
    )  # fmt: skip
    digits: ClassVar[int] = 1
    has_scores: ClassVar[bool] = True

    def numbers(self, evidence: "Evidence") -> "Numbers":
        """Row label -> its numbers, for the rows that were run."""
        return evidence.scores()

    def wide(self, evidence: "Evidence", numbers: "Numbers") -> "DataFrame":
        """The table as printed."""
        from pipelines.report.render import wide_frame

        return wide_frame(evidence, numbers, self.digits)

    def draw(self, evidence: "Evidence", numbers: "Numbers", folder: Path) -> "list[Figure]":
        """Draws the kind's figures into `folder`."""
        from pipelines.report.trained_figures import trained

        return trained(evidence, numbers, folder) if self.has_scores else []

    def findings(self, evidence: "Evidence", numbers: "Numbers") -> list[str]:
        """What the table says as a whole, in paragraphs of Markdown."""
        return []


class Hyperparameters(Kind):
    """Table 9: what each merge ran with, beside the paper's entry."""

    has_scores = False

    def numbers(self, evidence: "Evidence") -> "Numbers":
        return {}

    def wide(self, evidence: "Evidence", numbers: "Numbers") -> "DataFrame":
        from pipelines.report.render import settings_frame

        return settings_frame(evidence)


class Geometry(Kind):
    """Figure 2: how far each row's expert lies from its MLLM (drift.geometry); no percent."""

    roles = ("geometry",)
    digits = 3
    has_scores = False

    def numbers(self, evidence: "Evidence") -> "Numbers":
        return evidence.recorded("geometry", evidence.table.columns, counted="n")

    def draw(self, evidence: "Evidence", numbers: "Numbers", folder: Path) -> "list[Figure]":
        from pipelines.report.geometry_figures import figure2

        return [figure2(evidence.by_row("geometry"), folder / evidence.table.name)]


class Distance(Kind):
    """Scores, and the rows' gains against how far each row's expert lies from its MLLM."""

    roles = ("geometry", *Kind.roles)

    def draw(self, evidence: "Evidence", numbers: "Numbers", folder: Path) -> "list[Figure]":
        from pipelines.report.geometry_figures import gain_against_distance

        stem = folder / evidence.table.name
        return [gain_against_distance(evidence.table, evidence.by_row("geometry"), numbers, stem)]

    def findings(self, evidence: "Evidence", numbers: "Numbers") -> list[str]:
        from pipelines.report.summaries import price_of_distance

        return price_of_distance(evidence, numbers)


class Cost(Kind):
    """Table 8: what each training took (`COSTS`; n counts its examples), beside the paper's estimates."""

    roles = ("score", "items", "checkpoint", "start", "choice")
    has_scores = False

    def draw(self, evidence: "Evidence", numbers: "Numbers", folder: Path) -> "list[Figure]":
        from pipelines.report.trained_figures import accuracy_for, spent

        return accuracy_for(spent(evidence), folder / f"{evidence.table.name}_accuracy")

    def numbers(self, evidence: "Evidence") -> "Numbers":
        columns = [column for column in evidence.table.columns if column in COSTS]
        return evidence.recorded("checkpoint", columns, counted="examples")


class Spending(Kind):
    """Figure 1: scores, drawn against the training set's size and the training's cost."""

    def draw(self, evidence: "Evidence", numbers: "Numbers", folder: Path) -> "list[Figure]":
        from pipelines.report.trained_figures import accuracy_for, spent

        return accuracy_for(spent(evidence), folder / evidence.table.name)


class Rescored(Kind):
    """Published answers: the publisher's verdicts, ours by rules and a judge's, side by side."""

    roles = ("published", "official", "semantic", "judged", "judge")
    has_scores = False

    def numbers(self, evidence: "Evidence") -> "Numbers":
        from pipelines.report.rescored import numbers

        return numbers(evidence)

    def wide(self, evidence: "Evidence", numbers: "Numbers") -> "DataFrame":
        from pipelines.report.rescored import wide

        return wide(evidence)

    def findings(self, evidence: "Evidence", numbers: "Numbers") -> list[str]:
        from pipelines.report.rescored import findings

        return findings(evidence)


KINDS: Mapping[str, Kind] = {
    "scores": Kind(),
    "hyperparameters": Hyperparameters(),
    "geometry": Geometry(),
    "distance": Distance(),
    "cost": Cost(),
    "spending": Spending(),
    "rescored": Rescored(),
}
