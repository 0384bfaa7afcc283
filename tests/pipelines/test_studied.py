"""A study opens the lab's page, report and README with its verdicts, and says how many worlds are still out."""

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from study_worlds import PAIR, tuned_to, verdicts
from test_page import axe, browser, find, texts, violations
from test_report_stage import house, made

from pipelines.page import readme
from pipelines.page.build import render, write_page
from pipelines.page.paper import claim_by_claim
from pipelines.page.studied import Studied, studied
from pipelines.report.findings import findings
from pipelines.report.marked import STUDY
from pipelines.study import tuning, worlds
from pipelines.study.command import open_evidence
from pipelines.study.report import write
from pipelines.study.spec import Study

__all__ = ["axe", "browser", "house", "made"]
RIGHT = {"mllm": 10, "sft": 20, "drift": 24, "task_arithmetic": 9}


@pytest.fixture(scope="module")
def lab(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report where the lab's would lie, beside a study of which one world of two has ended."""
    root = tmp_path_factory.mktemp("results")
    shutil.copytree(made, root / "lab")
    study, folder = Study.load("smoke"), root / "study"
    tuned = {"drift": tuned_to(0.3, "injection.alpha=-0.3", none=51.0), "sft": tuned_to(1e-3, "train.learning_rate=1")}
    tuning.save(tuned, folder)
    end(folder, 0, RIGHT)
    write(open_evidence(study, folder), folder)
    return root / "lab"


def end(folder: Path, seed: int, right: dict[str, int], excluded: str = "") -> None:
    digest = Study.load("smoke").digest(tuning.load(folder))
    arms: dict[str, Any] = {"drift": {"w_eff": 0.5, "steps": 12}}
    world = worlds.World(PAIR, seed, digest, "recipe", arms, {"commit": "x"}, excluded)
    worlds.write(world, {} if excluded else verdicts(right), folder)


@pytest.fixture(scope="module")
def two(lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with both worlds ended."""
    root = tmp_path_factory.mktemp("two") / "results"
    shutil.copytree(lab.parent, root)
    end(root / "study", 1, RIGHT | {"drift": 26})
    write(open_evidence(Study.load("smoke"), root / "study"), root / "study")
    return root / "lab"


@pytest.fixture
def own(two: Path, tmp_path: Path) -> Path:
    """A copy of `two` to change."""
    shutil.copytree(two.parent, tmp_path / "results")
    return tmp_path / "results" / "lab"


def known(folder: Path) -> Studied:
    found = studied(folder)
    assert found is not None
    return found


def claims(folder: Path) -> dict[str, dict[str, Any]]:
    record = json.loads((folder.with_name("study") / "claims.json").read_text())
    return {claim["sentence"].removesuffix("."): claim for claim in record["claims"]}


def test_every_number_said_of_a_study_is_that_of_its_claims(two: Path) -> None:
    recorded = claims(two)
    found = known(two).findings
    assert {each.claim for each in found} == set(recorded)
    for each in found:
        said = recorded[each.claim]
        assert (each.effect, each.low, each.high) == (said["effect"], said["low"], said["high"])
        assert (each.verdict, each.worlds, each.items) == (said["verdict"], said["worlds"], said["items"])
        assert (each.p_holm, each.worlds_needed) == (said["p_holm"], said["worlds_needed"])
        assert list(each.by_world) == said["effects"]


def test_worlds_that_are_out_and_worlds_that_missed_a_gate_are_named_before_the_verdicts(lab: Path, own: Path) -> None:
    assert known(lab).progress == f"1 of 2 worlds of {PAIR} have been run; 1 world is still out."
    assert "1 world is still out: the verdicts were looked at before the end" in known(lab).warnings[0]
    assert known(own).progress == f"2 of 2 worlds of {PAIR} have been run."
    assert "none of it did as well or better: DRIFT, adaptive" in " ".join(known(own).warnings)
    end(own.with_name("study"), 1, RIGHT, excluded="expert text is 0.4; the gate is 0.95 to 1.00")
    assert f"{PAIR}: world 1 missed a gate; others take their place." in known(own).warnings
    assert known(own).progress == f"1 of 2 worlds of {PAIR} have been run; 1 world is still out."


def test_one_world_has_no_interval_and_no_place_in_the_picture(lab: Path, two: Path) -> None:
    assert math.isinf(known(lab).findings[0].low)
    assert known(lab).forest is None
    lines = known(two).forest
    assert lines is not None
    assert [(line.label, line.effect, line.worlds) for line in lines.lines] == [("SFT", 12.5, (10.0, 15.0))]


def test_the_page_opens_with_the_study_and_the_worlds_of_the_tables_follow(two: Path) -> None:
    text = render(two)
    study, below = text.index("<b>The study</b>"), text.index('id="worlds"')
    assert study < text.index("DRIFT scores above SFT after as many steps") < below
    assert known(two).registration in text
    assert f"All {len(claims(two))} claims" in text


def test_a_report_opens_with_the_study_in_short_and_is_the_artifacts_without_it(own: Path, made: Path) -> None:
    before = (made / "report.md").read_text() + "\n## Findings\n\n- One.\n"
    (own / "report.md").write_text(before)
    for _ in range(2):  # a page that is built again says it once
        write_page(own)
        text = (own / "report.md").read_text()
        assert text.count("## The study") == 1
        assert text.index("## The study") < text.index("## Findings")
        assert STUDY.without(text) == before
    assert "[each with its verdict](../study/report.md)" in text
    shutil.rmtree(own.with_name("study"))
    write_page(own)
    assert (own / "report.md").read_text() == before


def test_the_paper_has_a_line_for_every_table_and_figure(two: Path) -> None:
    studied, lab = known(two).findings, [replace(known(two).findings[0], claim="A loss.", answers="Figures 5 to 6")]
    rows = claim_by_claim(studied, lab)
    places = list(dict.fromkeys(row["paper"] for row in rows))
    assert places == [f"Table {n}" for n in range(1, 11)] + [f"Figure {n}" for n in (1, 2, 5, 6)]
    said = [row for row in rows if row["paper"] == "Table 3"]
    claim = next(each for each in studied if "Table 3" in each.answers)
    assert [(row["claim"], row["here"], row["effect"]) for row in said] == [(claim.claim, claim.verdict, claim.size)]
    assert [row["claim"] for row in rows if row["paper"] in ("Figure 5", "Figure 6")] == ["A loss."] * 2
    (merges,) = (row for row in rows if row["paper"] == "Table 9")
    assert merges["claim"] == "none: what the merges were run with"
    (cost,) = (row for row in rows if row["paper"] == "Table 8")
    assert cost["claim"] == "nothing here speaks of it"


def test_readme_states_the_study_where_there_is_one(two: Path) -> None:
    said = readme.block(two)
    assert "DRIFT scores above SFT after as many steps: **" in said
    assert "| DRIFT, adaptive " in said
    assert "118 thousand parameters" in said
    assert (
        "DRIFT, adaptive minus SFT, equal steps, equal trials: mean of the reasoning suites, 2 worlds, 400 items"
        in said
    )


def test_results_of_another_profile_and_a_lab_without_a_study_say_nothing_of_one(lab: Path, tmp_path: Path) -> None:
    shutil.copytree(lab.with_name("study"), tmp_path / "study")
    for name in ("smoke", "lab+seeds=[0]"):
        assert studied(tmp_path / name) is None
    assert studied(tmp_path / "alone" / "lab") is None
    assert findings(lab) == []


def test_an_interval_that_the_family_of_tests_does_not_allow_says_so(two: Path) -> None:
    one = known(two).findings[0]
    alone = type(one)(**{**vars(one), "low": 1.0, "high": 9.0, "verdict": "unresolved", "p_holm": 0.2})
    assert "its own interval leaves zero out, which among all that is tested is not enough (Holm)" in alone.said
    assert "leaves zero out" not in type(one)(**{**vars(alone), "low": -1.0}).said


@pytest.fixture
def opened(browser: Any, two: Path) -> Iterator[Any]:
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(write_page(two).as_uri())
    WebDriverWait(browser, 30).until(lambda driver: find(driver, "html").get_attribute("data-ready") == "yes")
    yield browser
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.browser
def test_axe_finds_nothing_on_a_page_with_a_study_whose_claims_all_open(opened: Any, two: Path, axe: str) -> None:
    for each in opened.find_elements("css selector", ".claims summary"):
        each.click()
    told = known(two)
    rows = 3 + len(told.every_way()) + len(claim_by_claim(told.findings, []))
    assert len(texts(opened, ".claims tbody tr")) == rows
    for width in (1300, 390):
        size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
        opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        opened.execute_script(axe)
        assert violations(opened) == []
        assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    assert not [entry for entry in opened.get_log("browser") if entry["level"] == "SEVERE"]
