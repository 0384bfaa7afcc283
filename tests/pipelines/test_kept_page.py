"""A page is kept where it would come out the same: whatever it is made from has changed, it is built again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.layout import OUTLINE, PAGE, REPORT
from pipelines.page import build, kept
from pipelines.page.kept import keep_page
from pipelines.report.marked import STUDY


class Writer:
    """Counts the pages that are written; each says which one it is."""

    def __init__(self) -> None:
        self.written = 0

    def __call__(self, folder: Path) -> Path:
        self.written += 1
        (folder / PAGE).write_text(f"page {self.written}")
        (folder / REPORT).write_text(
            STUDY.insert((folder / REPORT).read_text(), f"study {self.written}", "## Findings")
        )
        return folder / PAGE


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> Writer:
    writer = Writer()
    monkeypatch.setattr(build, "write_page", writer)
    return writer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "results" / "tables").mkdir(parents=True)
    (tmp_path / "results" / OUTLINE).write_text("{}")
    (tmp_path / "results" / REPORT).write_text("# Report\n\n## Findings\n")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "claims.json").write_text("{}")
    (tmp_path / "results" / "tables" / "table2_long.csv").write_text("row,value\nSFT,1.0\n")
    return tmp_path / "results"


def test_what_nothing_has_changed_of_is_kept(folder: Path, tmp_path: Path, writer: Writer) -> None:
    for _ in range(3):
        assert keep_page(folder, tmp_path / "store", "source").read_text() == "page 1"


def test_the_opening_of_a_report_that_was_published_anew_is_put_back(
    folder: Path, tmp_path: Path, writer: Writer
) -> None:
    keep_page(folder, tmp_path / "store", "source")
    opened = (folder / REPORT).read_text()
    (folder / REPORT).write_text("# Report\n\n## Findings\n")
    assert keep_page(folder, tmp_path / "store", "source").read_text() == "page 1"
    assert (folder / REPORT).read_text() == opened != "# Report\n\n## Findings\n"


CHANGES: dict[str, Callable[[Path, pytest.MonkeyPatch], object]] = {
    "a number": lambda folder, _: (folder / "tables" / "table2_long.csv").write_text("row,value\nSFT,1.1\n"),
    "the report": lambda folder, _: (folder / REPORT).write_text("# Report\n\n## Findings\n\nAnother one.\n"),
    "a claim of the study": lambda folder, _: (folder.parent / "study" / "claims.json").write_text("[]"),
    "a new file": lambda folder, _: (folder / "timeline.svg").write_text("<svg/>"),
    "a file that is gone": lambda folder, _: (folder / "tables" / "table2_long.csv").unlink(),
    "a file's name": lambda folder, _: (folder / OUTLINE).rename(folder / "other.json"),
    "the page, edited": lambda folder, _: (folder / PAGE).write_text("page 1, and a word of mine"),
    "the page, gone": lambda folder, _: (folder / PAGE).unlink(),
    "a template": lambda folder, patch: patch.setattr(kept, "_own", lambda: [("style.css", "0" * 64)]),
    "a package": lambda folder, patch: patch.setattr(kept, "_installed", lambda: ["jinja2-99.dist-info"]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_has_changed_is_built_again(
    change: Callable[[Path, pytest.MonkeyPatch], object],
    folder: Path, tmp_path: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    keep_page(folder, tmp_path / "store", "source")
    change(folder, monkeypatch)
    assert keep_page(folder, tmp_path / "store", "source").read_text() == "page 2"


def test_other_source_and_another_folder_or_store_know_nothing_of_it(
    folder: Path, tmp_path: Path, writer: Writer
) -> None:
    keep_page(folder, tmp_path / "store", "source")
    assert keep_page(folder, tmp_path / "store", "changed").read_text() == "page 2"
    assert keep_page(folder, tmp_path / "other", "changed").read_text() == "page 3"
    moved = folder.rename(tmp_path / "moved")
    assert keep_page(moved, tmp_path / "other", "changed").read_text() == "page 4"


def test_a_record_that_was_cut_is_none(folder: Path, tmp_path: Path, writer: Writer) -> None:
    keep_page(folder, tmp_path / "store", "source")
    (record,) = (tmp_path / "store" / ".pages").iterdir()
    record.write_text(record.read_text()[:20])
    assert keep_page(folder, tmp_path / "store", "source").read_text() == "page 2"
