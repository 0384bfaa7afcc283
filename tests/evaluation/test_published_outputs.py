"""Agreement with the verdicts that the benchmarks' authors published beside their models' outputs.

The data belongs to the benchmarks and is read from a folder named by DRIFT_BENCHMARKS; without it the tests skip.
"""

import ast
import csv
import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from evaluation.benchmarks import get_benchmark
from evaluation.benchmarks.logicvista import is_match
from evaluation.benchmarks.mathvista import official_verdict
from evaluation.data.tsv import Item
from evaluation.judging.scoring import score

ROOT = Path(os.environ.get("DRIFT_BENCHMARKS", Path(__file__).parents[2] / ".." / "shared" / "benchmarks"))
pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason=f"no benchmark data at {ROOT}; set DRIFT_BENCHMARKS")

# Answers of these three don't stand in the text: code that must be run, cut responses, no response at all.
NOT_IN_TEXT = {"gpt4_2shot_code", "instruct_blip2_vicuna_13b", "random_guess"}


def mathvista_files() -> Iterator[tuple[str, dict[str, dict]]]:
    for path in sorted((ROOT / "mathvista" / "outputs").glob("*.json")):
        yield path.stem.removeprefix("output_"), json.loads(path.read_text(encoding="utf-8"))


def mathvista_item(key: str, record: dict) -> Item:
    options = dict(zip("ABCDEFGH", record["choices"] or [], strict=False))
    fields = {name: str(record[name]) for name in ("question_type", "answer_type", "precision")}
    return Item(key, record["question"], record["answer"], options, fields=fields)


def commits(record: dict) -> bool:
    """Whether the official extraction names an option or a number, rather than being mapped by edit distance."""
    extraction = str(record.get("extraction") or "").strip()
    if record["question_type"] != "multi_choice":
        return record.get("prediction") is not None
    letters = "ABCDEFGH"[: len(record["choices"])]
    marked = any(f"({letter})" in extraction.upper() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    return marked or extraction in record["choices"] or (len(extraction) == 1 and extraction in letters)


def test_mathvista_verdicts_from_stored_extractions_are_the_official_ones_on_every_item():
    files = 0
    for name, records in mathvista_files():
        files += 1
        different = [
            key
            for key, record in records.items()
            if official_verdict(mathvista_item(key, record), str(record.get("extraction") or ""))
            != bool(record.get("true_false"))
        ]
        assert different == [], f"{name}: {different[:5]}"
    assert files == 11


def test_mathvista_verdicts_from_raw_text_agree_on_98_5_percent_and_on_96_in_every_file():
    benchmark = get_benchmark("MathVista")
    agreements: dict[str, tuple[int, int]] = {}
    for name, records in mathvista_files():
        kept = {key: record for key, record in records.items() if commits(record) and record["response"]}
        items = [mathvista_item(key, record) for key, record in kept.items()]
        verdicts = score(benchmark, items, {key: record["response"] for key, record in kept.items()}, "official")
        same = sum(v.correct == bool(kept[v.index].get("true_false")) for v in verdicts)
        agreements[name] = (same, len(kept))
    in_text = {name: counts for name, counts in agreements.items() if name not in NOT_IN_TEXT}
    shares = {name: same / total for name, (same, total) in in_text.items()}
    assert min(shares.values()) >= 0.96, shares
    assert sum(shares.values()) / len(shares) >= 0.985, shares


def mathvision_items() -> dict[str, Item]:
    lines = (ROOT / "mathvision" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return {
        r["id"]: Item(r["id"], r["question"], r["answer"], dict(zip("ABCDE", r["options"], strict=False)))
        for r in records
    }


def test_math_v_official_verdicts_agree_on_99_5_percent_overall_and_98_5_in_every_file():
    items = mathvision_items()
    shares = {}
    for path in sorted((ROOT / "mathvision" / "outputs").glob("*.jsonl")):
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        responses = {record["id"]: record["response"] for record in records}
        verdicts = score(get_benchmark("MathVision"), [items[key] for key in responses], responses, "official")
        gold = {record["id"]: record["correct"] for record in records}
        shares[path.stem] = sum(v.correct == gold[v.index] for v in verdicts) / len(verdicts)
    assert len(shares) == 8
    assert min(shares.values()) >= 0.985, shares
    assert sum(shares.values()) / len(shares) >= 0.999, shares


def logicvista_files() -> Iterator[tuple[str, list[dict[str, str]]]]:
    for path in sorted((ROOT / "logicvista" / "verdicts").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as stream:
            yield path.name.removesuffix("-accuracy-results.csv"), list(csv.DictReader(stream))


def test_logicvista_verdicts_from_stored_extractions_are_the_published_ones_448_of_448():
    data = json.loads((ROOT / "logicvista" / "dataset.json").read_text(encoding="utf-8"))
    counts = {}
    for name, rows in logicvista_files():
        counts[name] = sum(
            is_match(", ".join(ast.literal_eval(row[f"{name} answer extracted"])), data[row["id"]]["answer"])
            == (row["match?"] == "1")
            for row in rows
        )
    assert counts == dict.fromkeys(counts, 448)
    assert len(counts) == 7


def test_logicvista_verdicts_from_raw_text_agree_on_98_5_percent_and_on_96_in_every_file():
    data = json.loads((ROOT / "logicvista" / "dataset.json").read_text(encoding="utf-8"))
    items = [Item(key, record["question"], record["answer"]) for key, record in data.items()]
    shares = {}
    for name, rows in logicvista_files():
        responses = {row["id"]: row[f"{name} answer raw"] for row in rows}
        verdicts = {v.index: v.correct for v in score(get_benchmark("LogicVista"), items, responses, "official")}
        shares[name] = sum(verdicts[row["id"]] == (row["match?"] == "1") for row in rows) / len(rows)
    assert min(shares.values()) >= 0.96, shares
    assert sum(shares.values()) / len(shares) >= 0.985, shares


def test_wemath_questions_form_525_groups_and_a_perfect_sheet_scores_100():
    from evaluation.benchmarks.wemath import groups_of, strict_and_loose

    records = json.loads((ROOT / "wemath" / "testmini.json").read_text(encoding="utf-8"))
    items = [
        Item(str(k), r["question"], r["answer"], group=r["ID"], fields={"ID": r["ID"], "key": r["key"]})
        for k, r in enumerate(records)
    ]
    sheet = {item.index: f"Answer: {item.answer}" for item in items}
    verdicts = score(get_benchmark("WeMath"), items, sheet, "official")
    groups, incomplete = groups_of(items, {verdict.index: verdict for verdict in verdicts})
    assert (len(groups), incomplete) == (525, 0)
    assert Counter(len(group.steps) for group in groups) == {2: 360, 3: 165}
    assert strict_and_loose(groups) == (100.0, 100.0)
    random.Random(0).shuffle(items)
