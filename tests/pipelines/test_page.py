"""Every number on the page follows from verdicts; in a headless Chromium it opens, sorts, switches and drills down."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas
import pytest
from recount import check
from test_report_stage import house, made

from pipelines import compose
from pipelines.errors import StoreError
from pipelines.lab.language import apply_fold
from pipelines.layout import OUTLINE, VERDICTS
from pipelines.page.build import items_of, minus, render, to_html, write_page
from pipelines.page.key import key
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
    return at(browser, page.as_uri())


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the committed laboratory: long, with every kind of table and figure."""
    path = tmp_path_factory.mktemp("committed") / "index.html"
    path.write_text(render(compose.ROOT / "results" / "lab"), encoding="utf-8")
    return path


@contextmanager
def screen(driver: Any, width: int) -> Iterator[None]:
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        yield
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def at(driver: Any, address: str) -> Any:
    driver.get("about:blank")  # else an address that differs in its # alone would not load again
    driver.get(address)
    wait(driver, lambda driver: find(driver, "html").get_attribute("data-ready") == "yes")
    return driver


def wait(driver: Any, until: Callable[[Any], bool]) -> None:
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, 30, ignored_exceptions=[StaleElementReferenceException]).until(until)


def top(driver: Any, selector: str) -> float:
    """Where an element begins, below the upper edge of what is seen."""
    return driver.execute_script(f"return document.querySelector({selector!r}).getBoundingClientRect().top")


def bottom(driver: Any, selector: str) -> float:
    return driver.execute_script(f"return document.querySelector({selector!r}).getBoundingClientRect().bottom")


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
    at(opened, f"{page.as_uri()}#cell/toy/SFT/MathVista")
    assert find(opened, "#cell-title").text == "SFT: Mixed arithmetic"


@pytest.mark.browser
def test_a_finding_leads_to_its_two_rows_item_by_item(opened: Any, page: Path, made: Path) -> None:
    outline = json.loads((made / OUTLINE).read_text())
    found = Finding("DRIFT wins", "toy", "DRIFT", "SFT", "mean", 1.0, 0.0, 2.0, "unresolved", 2, 20)
    address = items_of(found, outline)
    assert address == "#cell/toy/DRIFT/Avg/SFT"
    assert items_of(replace(found, table="none"), outline) == ""
    at(opened, page.as_uri() + address)
    assert find(opened, "#other").get_property("value") == "SFT"
    assert texts(opened, "#cell .outcome")[1].endswith("DRIFT wrong, SFT right")
    assert all(0 < each.rect["y"] < 700 for each in opened.find_elements("css selector", "#cell .outcome"))


@pytest.mark.browser
def test_a_means_items_are_of_all_its_suites_or_of_the_one_that_is_chosen(browser: Any, committed: Path) -> None:
    at(browser, committed.as_uri() + "#cell/table2/DRIFT%2C%20alpha%20chosen/Avg/SFT")
    assert "6 columns" in texts(browser, "#table-table2 thead th")[-1]  # strict and loose are of the same items
    assert "The mean of 6 columns: Mixed arithmetic;" in find(browser, "#cell .sub").text
    suites = texts(browser, "#suite option")
    assert suites[0] == "all 5 suites"
    apart = []
    for place, suite in enumerate(suites):
        browser.execute_script(_CHOOSE, "suite", place)
        wait(browser, lambda driver, suite=suite: f"items of {suite}" in find(driver, "#cell .versus").text)
        apart.append([int(text.split()[0]) for text in texts(browser, "#cell .outcome")])
    assert [sum(each) for each in zip(*apart[1:], strict=True)] == apart[0]


_CHOOSE = """const [select, place] = [document.getElementById(arguments[0]), arguments[1]];
select.selectedIndex = place; select.dispatchEvent(new Event("change"));"""


@pytest.mark.browser
@pytest.mark.parametrize("width", [1300, 390])
def test_items_that_are_asked_for_come_into_view_with_the_focus(opened: Any, page: Path, width: int) -> None:
    with screen(opened, width):
        at(opened, page.as_uri() + "#cell/toy/SFT/MathVista")
        for press, said in ((".o00", "items 1 to 8"), (".turn:last-child button + button", "items 9 to 12")):
            pressed = find(opened, f"#cell {press}")
            opened.execute_script("arguments[0].click()", pressed)
            wait(opened, lambda driver, said=said: said in find(driver, "#cell .items h5:focus").text)
            assert bottom(opened, "#cell header") - 1 <= top(opened, "#cell .items h5") < 250


@pytest.mark.browser
def test_a_labs_items_come_with_a_key(opened: Any, page: Path) -> None:
    at(opened, page.as_uri() + "#cell/toy/SFT/MathVista/DRIFT")
    find(opened, "#cell .key-to-items summary").click()
    assert [text.split()[0] for text in texts(opened, "#cell .key-to-items tbody th")][:4] == [
        "sum",
        "?",
        "calc",
        "cnt",
    ]
    assert "modulo 10" in find(opened, "#cell .key-to-items").text
    assert len(opened.find_elements("css selector", "#cell .key-to-items .sign img")) == 4


@pytest.mark.browser
def test_the_buttons_say_what_they_do(opened: Any) -> None:
    first = find(opened, "#theme").text
    find(opened, "#theme").click()
    assert {first, find(opened, "#theme").text} == {"Dark theme", "Light theme"}
    find(opened, "#theme").click()
    assert "The findings above" in texts(opened, ".protocol")[0]


@pytest.mark.browser
@pytest.mark.parametrize("width", [1300, 390])
def test_a_section_is_where_its_link_lands(browser: Any, committed: Path, width: int) -> None:
    with screen(browser, width):
        at(browser, committed.as_uri())
        for link in browser.find_elements("css selector", "nav a"):
            place = link.get_attribute("hash")
            browser.execute_script("arguments[0].click()", link)
            browser.execute_script("document.querySelectorAll('img').forEach((each) => { each.loading = 'eager'; })")
            ends = browser.execute_script("return innerHeight + scrollY >= document.documentElement.scrollHeight - 2")
            assert 0 <= top(browser, place) < (844 if ends else 80), place
        at(browser, committed.as_uri() + "#table-table12")
        assert find(browser, "#table-table12 tbody").is_displayed()
        assert 40 <= top(browser, "#table-table12") < 80


@pytest.mark.browser
def test_a_phone_shows_all_of_it_within_its_width_and_folded(browser: Any, committed: Path) -> None:
    with screen(browser, 390):
        at(browser, committed.as_uri())
        assert browser.execute_script("return document.documentElement.scrollHeight") < 12_000
        browser.execute_script("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
        assert find(browser, ".forest .number .interval").is_displayed()
        ticks = [each.rect for each in browser.find_elements("css selector", "#study-forest ~ .axis .ticks span")]
        assert all(a["x"] + a["width"] < b["x"] for a, b in pairwise(ticks))
        browser.execute_script("document.querySelector('#figure-figure2 .enlarge').click()")
        assert find(browser, "#large img").rect["width"] > 1000
        find(browser, "#large .close").click()


@pytest.mark.browser
def test_figures_are_told_apart_and_a_minus_is_one_sign(browser: Any, committed: Path) -> None:
    at(browser, committed.as_uri())
    browser.execute_script("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    said = texts(browser, ".gallery figcaption")
    assert len(said) == len(set(said)) > 10
    for view in ("scores", "gains"):
        find(browser, f"[name=view][value={view}]").click()
        assert browser.execute_script(_HYPHENS) == []


_HYPHENS = """const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const node = walk.currentNode;
  if (!node.parentElement.closest("script, code, template")) {
    found.push(...node.textContent.match(/(?<![\w.])-\.?\d.{0,20}/g) ?? []);
  }
}
return found;"""


def test_a_minus_stands_for_a_sign_and_for_nothing_else() -> None:
    assert minus("-3.0 to -.5 (-1), alpha=-1") == "−3.0 to −.5 (−1), alpha=−1"
    assert minus("2026-11-26, 1e-3, 4-8, --seed, a-1") == "2026-11-26, 1e-3, 4-8, --seed, a-1"
    assert to_html("-1 of `-1`") == "<p>−1 of <code>-1</code></p>\n"


def test_the_keys_chain_leaves_the_digits_at_both_ends() -> None:
    """What the key says of arithmetic modulo 10 is seen in its example."""
    assert "3 + 8 = 1 - 5 = 6" in key().example
    assert (apply_fold("sum", 3, 8), apply_fold("sub", 1, 5)) == (1, 6)
    assert [name for name, _, _ in key().signs] == ["sum", "sub", "max", "min"]


@pytest.mark.browser
@pytest.mark.parametrize("width", [1300, 390])
def test_axe_finds_nothing_and_no_width_needs_scrolling_sideways(opened: Any, axe: str, width: int) -> None:
    with screen(opened, width):
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
