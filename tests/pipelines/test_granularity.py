"""A published value is a share of so many items, or it is not."""

import pytest

from pipelines import tables
from pipelines.report.granularity import audit, fit, summary


@pytest.mark.parametrize(
    ("text", "items", "rounded", "cut"),
    [
        ("15.8", 304, 48, None),  # 15.789...
        ("13.8", 304, 42, 42),  # 13.815...
        ("15.8", 1000, 158, 158),
        ("14.0", 304, None, None),
        ("68.62", 765, None, 525),  # 68.627...
        ("12.5", 8, 1, 1),
        ("100.0", 447, 447, 447),
        ("0.0", 447, 0, 0),
        ("25.10", 1000, 251, 251),
    ],
)
def test_a_value_is_a_number_of_items_rounded_or_cut(
    text: str, items: int, rounded: int | None, cut: int | None
) -> None:
    found = fit(text, items)
    assert (found.rounded, found.cut) == (rounded, cut)


def test_table_1_s_mathvision_is_the_mini_and_logicvista_has_447_items() -> None:
    def of(name: str) -> dict[tuple[str, int], str]:
        table = tables.load(name)
        shown = summary([audit(table, (tables.PUBLISHED / table.published).read_text())])
        return {(line["column"], line["items"]): line["fit"] for line in shown.to_dict("records")}

    assert of("table1")["MathVision", 304] == "8 of 8"
    assert of("table2")["MathVision", 304] == "3 of 8"
    assert (of("table4")["LogicVista", 447], of("table4")["LogicVista", 448]) == ("11 of 12", "1 of 12")


def test_every_published_score_is_audited() -> None:
    table = tables.load("table3")
    found = audit(table, (tables.PUBLISHED / table.published).read_text())
    assert len(found[["row", "column"]].drop_duplicates()) == 16 + 16 + 15 + 13 + 14
    assert set(found["column"]) == {"MathVista", "MathVision", "MathVerse", "WeMath", "LogicVista"}
