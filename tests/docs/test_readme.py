"""README's results are those of results/study and results/lab, as `drift readme` writes them."""

import pytest

from pipelines import compose
from pipelines.errors import ConfigError
from pipelines.page import readme
from pipelines.report.marked import README

TEXT = (compose.ROOT / "README.md").read_text(encoding="utf-8")
LAB = compose.ROOT / "results" / "lab"


def test_readme_says_what_the_committed_results_say() -> None:
    assert README.put(TEXT, readme.block(LAB), "README.md") == TEXT, "results have changed: drift readme"


def test_every_effect_stands_with_its_interval_and_its_verdict() -> None:
    lines = [line for line in readme.block(LAB).splitlines() if line.startswith(("- ", "**"))]
    assert len(lines) >= 4
    for line in lines:
        assert "95% interval" in line
        assert "esolved among all claims" in line or "not told apart" in line


def test_a_readme_without_its_markers_is_left_as_it_is() -> None:
    with pytest.raises(ConfigError, match=r"README\.md lacks <!-- results"):
        README.put("no markers", "results", "README.md")


def test_readme_takes_no_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert readme.main(["profile=lab"]) == 2
    assert "takes no words" in capsys.readouterr().err
