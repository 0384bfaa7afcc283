"""Every number on the page follows from verdicts; in a headless Chromium it opens, sorts, switches and drills down."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pandas
import pytest
from recount import check
from test_report_stage import house, made

from pipelines import compose
from pipelines.errors import StoreError
from pipelines.layout import OUTLINE, VERDICTS
from pipelines.page.build import items_of, render, write_page
from pipelines.page.numbers import numbers
from pipelines.report.findings import Finding

__all__ = ["house", "made"]
COMMITTED = [path.parent for path in sorted((compose.ROOT / "results").glob(f"*/{VERDICTS}"))]
LIMIT = 15_000_000
_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_DRIVER = shutil.which("chromedriver")


@pytest.fixture(scope="module")
def page(made: Path) -> Path:
    return write_page(made)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not (_CHROMIUM and _DRIVER):
        pytest.skip("no chromium with its chromedriver (Debian: chromium, chromium-driver)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = _CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1300,900"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(_DRIVER))
    driver.implicitly_wait(5)
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get("about:blank")  # else an address that differs in its # alone would not load again
    browser.get(page.as_uri())
    WebDriverWait(browser, 30).until(lambda driver: find(driver, "html").get_attribute("data-ready") == "yes")
    return browser


def find(driver: Any, selector: str) -> Any:
    return driver.find_element("css selector", selector)


def texts(driver: Any, selector: str) -> list[str]:
    return [each.text for each in driver.find_elements("css selector", selector)]


def test_every_score_and_difference_of_a_report_is_counted_again_from_its_verdicts(made: Path) -> None:
    assert check(made) > 40


def test_another_protocol_has_numbers_of_its_own(made: Path) -> None:
    """One answer in ten is right by the official rule alone, which reads what stands in the chain of thought."""
    outline = json.loads((made / OUTLINE).read_text())
    assert [each["name"] for each in outline["protocols"]] == ["official", "semantic"]
    toy = next(table for table in outline["tables"] if table["name"] == "toy")
    assert toy["protocols"] == ["semantic"]
    cell = numbers(made, toy, "official")["SFT"]["MathVista"]
    assert (cell["official"]["value"], cell["semantic"]["value"]) == (40.0, 30.0)
    assert (cell["official"]["unread"], cell["semantic"]["unread"]) == (0, 2)


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda folder: folder.name)
def test_committed_results_follow_from_their_committed_verdicts(folder: Path) -> None:
    assert not (folder / OUTLINE).exists() or check(folder) > 100


def test_items_are_a_labs_alone_with_each_picture_once(made: Path) -> None:
    answers, questions, images = (
        pandas.read_parquet(made / "items" / f"{name}.parquet") for name in ("answers", "questions", "images")
    )
    assert len(images) == 1  # the toy's items share one
    assert set(questions["items"]) == set(answers["items"])
    assert answers.groupby(["score", "benchmark"]).size().eq(10).all()
    assert set(answers["official_rule"]) == {"boxed"}
    assert set(answers["semantic_rule"]) == {"boxed", "unmatched"}


def test_a_page_is_the_same_for_the_same_results_and_needs_nothing_else(page: Path, made: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == render(made)
    assert len(text) < LIMIT
    for foreign in ('src="http', "src='http", "@import", "url(http", '<link rel="stylesheet"'):
        assert foreign not in text


def test_a_page_is_made_from_its_folder_and_its_own_files_alone(made: Path) -> None:
    """What `pipelines.page.kept` looks at is all that there is to look at, beside code and installed packages."""
    opened: list[Path] = []

    def hear(event: str, about: tuple) -> None:
        if event == "open" and isinstance(about[0], str | Path) and listening:
            opened.append(Path(about[0]).resolve())

    listening = True
    sys.addaudithook(hear)
    render(made)
    listening = False
    own = Path(str(resources.files("pipelines.page")))
    ours = [path for path in opened if path.suffix not in (".py", ".pyc")]
    assert any(path.parent == own for path in ours)
    assert any(path.is_relative_to(made) for path in ours)
    others = [path for path in ours if not path.is_relative_to(made) and path.parent != own]
    assert [path for path in others if path.is_relative_to(compose.ROOT) and ".venv" not in path.parts] == []
    assert [path for path in others if path.is_relative_to(made.parent)] == []


def test_a_folder_without_an_outline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"holds no outline\.json"):
        write_page(tmp_path)


@pytest.mark.browser
def test_it_opens_from_disk_without_an_error_and_sorts_by_a_heading(opened: Any) -> None:
    rows = "#table-toy tbody th"
    assert texts(opened, rows)[0] == "SFT"
    find(opened, "#table-toy thead button").click()
    assert [text.split()[0] for text in texts(opened, rows)] == ["DRIFT", "SFT", "Theirs"]
    find(opened, "#table-toy thead button").click()
    assert [text.split()[0] for text in texts(opened, rows)] == ["Theirs", "SFT", "DRIFT"]
    assert not [entry for entry in opened.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.mark.browser
def test_another_protocol_changes_the_numbers_in_place_and_says_of_how_many_verdicts(opened: Any) -> None:
    cell = "#table-toy tbody tr .number b"
    assert find(opened, cell).text == "40.0"
    find(opened, "[name=protocol][value=semantic]").click()
    assert find(opened, cell).text == "30.0"
    assert "semantic decides" in find(opened, "#protocol-said").text
    find(opened, "[name=view][value=gains]").click()
    assert "+" in "".join(texts(opened, "#table-toy .number")) or "0.0" in "".join(texts(opened, "#table-toy .number"))


@pytest.mark.browser
def test_a_stand_in_says_so_wherever_the_papers_number_stands(opened: Any) -> None:
    assert "stand-in for MathVista" in texts(opened, "#table-toy thead th")[1]
    find(opened, "#table-toy .number").click()
    assert "this column is a stand-in" in find(opened, "#cell .facts").text


@pytest.mark.browser
def test_from_a_cell_to_its_runs_its_command_and_an_item_with_its_picture(opened: Any) -> None:
    find(opened, "#table-toy .number").click()
    assert find(opened, "#cell-title").text == "SFT: Mixed arithmetic"
    assert texts(opened, "#cell tbody th")[:2] == ["0", "1"]
    assert "drift run method=sft seed=0 profile=smoke" in find(opened, "#cell .command").text
    assert [text.split()[0] for text in texts(opened, "#cell .outcome")] == ["0", "0", "8", "12"]
    find(opened, "#cell .o00").click()
    assert find(opened, "#cell .item .picture").get_property("naturalWidth") > 0
    said = find(opened, "#cell .item").text
    assert "Right answer: 1" in said
    assert "read 1 by the rule" in said
    find(opened, "#cell .close").click()
    assert opened.switch_to.active_element.get_attribute("class") == "number"  # where the reader was


@pytest.mark.browser
def test_a_cell_has_an_address(opened: Any, page: Path) -> None:
    opened.get("about:blank")
    opened.get(f"{page.as_uri()}#cell/toy/SFT/MathVista")
    assert find(opened, "#cell-title").text == "SFT: Mixed arithmetic"


@pytest.mark.browser
def test_a_finding_leads_to_its_two_rows_item_by_item(opened: Any, page: Path, made: Path) -> None:
    outline = json.loads((made / OUTLINE).read_text())
    found = Finding("DRIFT wins", "toy", "DRIFT", "SFT", "mean", 1.0, 0.0, 2.0, "unresolved", 2, 20)
    address = items_of(found, outline)
    assert address == "#cell/toy/DRIFT/Avg/SFT"
    assert items_of(replace(found, table="none"), outline) == ""
    opened.get("about:blank")
    opened.get(page.as_uri() + address)
    assert find(opened, "#other").get_property("value") == "SFT"
    assert texts(opened, "#cell .outcome")[1].endswith("DRIFT wrong, SFT right")


@pytest.mark.browser
@pytest.mark.parametrize("width", [1300, 390])
def test_axe_finds_nothing_and_no_width_needs_scrolling_sideways(opened: Any, axe: str, width: int) -> None:
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        for dark in (False, True):
            opened.execute_script(axe)
            assert violations(opened) == []
            opened.execute_script("document.querySelector('#table-toy .number').click()")
            assert find(opened, "#cell-title").is_displayed()
            assert violations(opened) == []
            find(opened, "#cell .close").click()
            assert opened.execute_script("return document.documentElement.scrollWidth") <= width
            if not dark:
                find(opened, "#theme").click()
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def violations(driver: Any) -> list[str]:
    found = driver.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found["violations"]]


@pytest.fixture(scope="module")
def axe(request: pytest.FixtureRequest) -> str:
    """axe-core's code, fetched once into pytest's cache."""
    folder = Path(str(request.config.cache.mkdir("axe-core")))
    script = folder / "package" / "axe.min.js"
    if not script.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("axe-core is fetched by npm, which is not installed")
        quick = {"npm_config_fetch_retries": "0", "npm_config_fetch_timeout": "10000"}
        done = subprocess.run(
            [npm, "pack", "axe-core@4"], cwd=folder, capture_output=True, text=True, env={**os.environ, **quick},
            timeout=60, check=False,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"npm could not fetch axe-core: {done.stderr.strip()[-200:]}")
        shutil.unpack_archive(folder / done.stdout.split()[-1], folder, "gztar")
    return script.read_text(encoding="utf-8")
