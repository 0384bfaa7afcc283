"""A shell completes keys, choices and tables, whether or not it parts words at `=`."""

import pytest
from typer.testing import CliRunner

from pipelines.cli import build
from pipelines.overrides import check_names


@pytest.mark.parametrize(
    ("words", "place", "expected"),
    [
        ("drift swe", 1, {"sweep"}),
        ("drift run inject", 2, {"injection=", "injection.alpha=", "injection.scale="}),
        ("drift run injection=grad", 2, {"injection=gradnorm"}),
        ("drift run injection =", 3, {"gradnorm", "adaptive"}),
        ("drift run method=drift injection = grad", 5, {"gradnorm"}),
        ("drift table method=sft injection.alpha_s", 3, {"injection.alpha_schedule="}),
        ("drift table tabl", 2, {"table1", "table10"}),
        ("drift ls for", 2, {"format="}),
        ("drift ls format=c", 2, {"format=csv"}),
    ],
)
def test_what_may_follow_is_completed(words: str, place: int, expected: set[str]) -> None:
    asked = {"_DRIFT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(place)}
    said = CliRunner().invoke(build(), [], prog_name="drift", env=asked).output.splitlines()
    assert expected <= set(said)
    start = words.split()[-1].rpartition("=")[2] if " = " in words or words.endswith("=") else words.split()[-1]
    assert all(word.startswith(start) for word in said)


def test_every_key_that_is_completed_is_known() -> None:
    from pipelines.completion import complete
    from pipelines.compose import CONF

    for word in complete("run", "", (), ""):
        if not (CONF / word.rstrip("=")).is_dir():
            check_names([f"{word}1"], CONF)
