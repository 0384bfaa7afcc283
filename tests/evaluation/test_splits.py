"""A published table is parted by question, the same way each time, and a split that is none is refused by name."""

import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.benchmarks import get_benchmark
from evaluation.data.splits import (
    SIDES,
    Lock,
    Split,
    SplitError,
    contents,
    questions_of,
    refuse_seen,
    split_of,
)
from evaluation.data.tsv import Item, Table, load_items
from pipelines import compose

TABLE = Table(name="T", tsv="T.tsv")
REAL = Path(os.environ.get("DRIFT_BENCHMARKS", Path(__file__).parents[2] / ".." / "shared" / "benchmarks"))


def drawing(seed: int, form: str = "PNG", side: int = 96) -> bytes:
    """A coarse random pattern, drawn at a size and encoded in a form."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 6), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(stream, form)
    return stream.getvalue()


def item(index: str, picture: bytes | None = None, group: str | None = None, **fields: str) -> Item:
    return Item(index, "?", "1", images=(picture,) if picture else (), group=group, fields=fields)


def test_one_picture_in_other_sizes_and_encodings_is_one_question_and_other_pictures_are_not() -> None:
    copies = [drawing(0), drawing(0, "JPEG"), drawing(0, side=128)]
    items = [item(str(k), each) for k, each in enumerate([*copies, drawing(1), drawing(2)])]
    assert questions_of(items) == [("0", "1", "2"), ("3",), ("4",)]


def test_versions_of_a_problem_and_items_of_a_group_stay_together_and_so_does_whoever_shares_with_either() -> None:
    items = [
        item("0", problem_index="7"),
        item("1", drawing(3), problem_index="7"),
        item("2", drawing(3), group="steps"),
        item("3", group="steps"),
        item("4", group="other"),
    ]
    assert questions_of(items) == [("0", "1", "2", "3"), ("4",)]


def test_a_fifth_of_the_questions_is_for_choosing_and_no_item_is_on_both_sides() -> None:
    split = split_of([item(str(k), group=str(k // 3)) for k in range(3000)], TABLE)
    split.check("T")
    assert len(split.items("validation") | split.items("test")) == 3000
    assert len(split.validation) / 1000 == pytest.approx(0.2, abs=0.03)
    assert split_of([item(str(k), group=str(k // 3)) for k in range(30)], TABLE).items("test") <= split.items("test")


def test_a_table_of_two_questions_has_two_sides_and_one_of_one_has_none() -> None:
    for k in range(20):
        split_of([item("0", group=f"a{k}"), item("1", group=f"b{k}")], TABLE).check("T")
    with pytest.raises(SplitError, match=r"say suite\.split=all"):
        split_of([item("0"), item("1", drawing(0), problem_index="0")][:1], TABLE).check("T")


def test_a_kept_split_is_the_split_of_its_table_and_of_parts_of_it(tmp_path: Path) -> None:
    split, lock = split_of([item(str(k)) for k in range(100)], TABLE), Lock(tmp_path / "T.json")
    assert lock.read(["1"], must_fit=True) is None
    lock.write(split)
    assert lock.read([str(k) for k in range(100)], must_fit=True) == split
    part = lock.read([str(k) for k in range(50)], must_fit=True)
    assert part is not None
    assert part.items("test") == {i for i in split.items("test") if int(i) < 50}


def test_a_split_that_was_changed_or_is_another_table_s_is_refused(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "T.json")
    lock.write(split_of([item(str(k)) for k in range(100)], TABLE))
    with pytest.raises(SplitError, match=r"1 items are on neither side, first .'x'"):
        lock.read(["1", "x"], must_fit=True)
    assert lock.read(["1", "x"], must_fit=False) is None
    record = json.loads(lock.path.read_text())
    record["test"] = record["validation"]
    lock.path.write_text(json.dumps(record))
    with pytest.raises(SplitError, match=r"are not 'questions-1' and .*restore the file"):
        lock.read(["1"], must_fit=True)


def test_a_test_split_that_repeats_the_validation_split_is_refused_and_so_is_one_without_a_side() -> None:
    with pytest.raises(SplitError, match=r"T: test repeats 1 items of validation, first .'1'"):
        Split((("1",),), (("1",), ("2",))).check("T")
    with pytest.raises(SplitError, match=r"T: 0 items to choose on and 1 to report on.*say suite\.split=all"):
        Split((), (("1",),)).check("T")


def test_what_was_seen_is_known_by_its_content_whatever_its_index() -> None:
    seen = contents([item("0", drawing(4)), item("1", drawing(5))])
    refuse_seen(seen, contents([item("0", drawing(6))]), "alpha", "table2")
    with pytest.raises(SplitError, match="1 of 1 items that table2 reports on were seen by the choice of alpha"):
        refuse_seen(seen, contents([item("9", drawing(5))]), "alpha", "table2")


@pytest.mark.parametrize("path", sorted((compose.CONF / "splits").glob("*.json")), ids=lambda path: path.stem)
def test_the_committed_splits_hold_ids_alone_and_have_two_sides(path: Path) -> None:
    record = json.loads(path.read_text())
    split = Lock(path).read(ids := re.findall(r"[^\s,]+", record["validation"] + ", " + record["test"]), must_fit=True)
    assert split is not None
    split.check(path.stem)
    assert len(ids) == len(set(ids)) == {"LogicVista.repository": 447, "MathVision_MINI": 304}.get(path.stem, len(ids))
    assert set(record) == {"rule", "sha256", *SIDES}
    assert all(re.fullmatch(r"[\w.-]{1,40}", each) for each in ids)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no benchmark data at {REAL}; set DRIFT_BENCHMARKS")
@pytest.mark.parametrize(("name", "kept"), [("LogicVista", "LogicVista.repository"), ("MathVision_MINI",) * 2])
def test_the_committed_splits_are_what_the_rule_makes_of_the_pictures(tmp_path: Path, name: str, kept: str) -> None:
    benchmark = get_benchmark(name)
    benchmark.convert(REAL / name.removesuffix("_MINI").lower(), tmp_path / benchmark.tsv)
    items = load_items(tmp_path / benchmark.tsv, benchmark)
    assert split_of(items, benchmark) == Lock(compose.CONF / "splits" / f"{kept}.json").read(
        [each.index for each in items], must_fit=True
    )
