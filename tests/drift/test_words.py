"""`key=value` words become a frozen dataclass, or one message with every fault."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from drift import words
from drift.errors import DataError
from drift.words import POSITIONAL, ArgumentError, help_text, keys, keys_of, parse, run


@dataclass(frozen=True)
class Knobs:
    """Knobs of a method.

    Attributes:
        density: the share
            that is kept.
    """

    density: float = 1.0
    keep: int = -1


@dataclass(frozen=True)
class Command:
    """Does it.

    Example:
        drift do data=d.tsv out=o

    Attributes:
        data: the table.
        low, high: an end of the range.
        mode: how.
    """

    data: Path
    out: Path
    low: int = 1
    high: int | None = None
    sizes: tuple[int | None, ...] = (1,)
    layers: tuple[int, ...] | None = None
    mode: Literal["official", "semantic"] = "official"
    is_dry: bool = False
    price: float | None = None
    knobs: Mapping[str, object] = field(default_factory=dict, metadata=keys_of(Knobs))


@dataclass(frozen=True)
class Files:
    """Takes files."""

    files: tuple[Path, ...] = field(metadata=POSITIONAL)
    seed: int = 0


NEEDED = ["data=d.tsv", "out=o"]


def test_values_are_typed_commas_make_tuples_and_none_is_none() -> None:
    found = parse([*NEEDED, "sizes=none,64", "layers=0,1", "mode=semantic", "is_dry=true", "price=1.5"], Command)
    assert found == Command(
        Path("d.tsv"), Path("o"), sizes=(None, 64), layers=(0, 1), mode="semantic", is_dry=True, price=1.5
    )
    assert parse([*NEEDED, "layers=none", "high=none"], Command) == parse(NEEDED, Command)


def test_an_empty_value_is_a_key_that_was_not_given() -> None:
    assert parse([*NEEDED, "price=", "mode="], Command) == parse(NEEDED, Command)
    with pytest.raises(ArgumentError, match=r"^missing data=\.\.\.; known: data, out"):
        parse(["data=", "out=o"], Command)


def test_a_value_may_hold_an_equals_sign() -> None:
    assert parse(["data=a=b.tsv", "out=o"], Command).data == Path("a=b.tsv")


def test_every_fault_stands_in_one_message() -> None:
    faulty = ["data=d", "low=y", "high=2.5", "price=x", "is_dry=maybe", "mode=oficial", "mod=1", "loose", "data=e"]
    with pytest.raises(ArgumentError) as error:
        parse(faulty, Command)
    assert sorted(str(error.value).split("; ")) == sorted(
        [
            "argument 'loose' is not key=value",
            "known: data, density, high, is_dry, keep, layers, low, mode, out, price, sizes",
            "low='y'",
            "expected a whole number",
            "high='2.5'",
            "expected a whole number",
            "price='x'",
            "expected a number",
            "is_dry='maybe'",
            "expected true or false",
            "mode='oficial'",
            "did you mean 'official'? known: official, semantic",
            "unknown argument 'mod': did you mean 'mode'? known: data, density, high, is_dry, keep, layers, low, mode, "
            "out, price, sizes",
            "argument 'data' is given twice ('d', 'e')",
            "give it once",
            "missing out=...",
            "known: data, out, low, high, sizes, layers, mode, is_dry, price, density, keep",
        ]
    )


def test_the_keys_of_another_class_are_typed_by_it_and_only_those_given_are_there() -> None:
    assert parse([*NEEDED, "density=0.5"], Command).knobs == {"density": 0.5}
    assert parse(NEEDED, Command).knobs == {}
    with pytest.raises(ArgumentError, match="keep='x'; expected a whole number"):
        parse([*NEEDED, "keep=x"], Command)


def test_words_that_are_no_key_go_to_the_positional_field_paths_with_equals_signs_too() -> None:
    found = parse(["a.jsonl", "runs/method=ties.jsonl", "seed=3"], Files)
    assert found == Files((Path("a.jsonl"), Path("runs/method=ties.jsonl")), 3)
    with pytest.raises(ArgumentError, match="unknown argument 'sed': did you mean 'seed'"):
        parse(["a.jsonl", "sed=3"], Files)


def test_help_shows_example_choices_defaults_and_what_each_key_means() -> None:
    text = " ".join(help_text(Command).split())
    assert text.startswith("Does it. Example: drift do data=d.tsv out=o Keys:")
    assert "data=... the table. (required)" in text
    assert "low=... an end of the range. [1] high=... an end of the range. sizes=" in text
    assert "mode=official|semantic how. [official]" in text
    assert "density=... the share that is kept." in text
    assert "FILES ..." in help_text(Files)
    assert keys(Command)[:3] == ["data=", "out=", "low="]


def test_a_command_prints_its_result_and_a_users_error_is_one_line(capsys: pytest.CaptureFixture) -> None:
    def fail(command: Command) -> str:
        raise DataError("found\n  nothing")

    def stop(command: Command) -> str:
        raise KeyboardInterrupt

    assert run(NEEDED, Command, lambda command: f"low {command.low}") == 0
    assert capsys.readouterr().out == "low 1\n"
    assert run(NEEDED, Command, fail) == 2
    assert capsys.readouterr().err == "error: found nothing\n"
    assert run(NEEDED, Command, stop) == 130
    assert run(["--help", "nonsense"], Command, fail) == 0
    assert "Example:" in capsys.readouterr().out


def test_every_command_documents_every_key_and_shows_an_example() -> None:
    from drift.commands import Merge, Prior
    from evaluation import compare, score
    from evaluation.toolkit import agreement

    for command in (Prior, Merge, score.Command, compare.Command, agreement.Command):
        text, meanings = words._documented(command)
        assert "Example:" in text
        assert not [key for key in words._kinds(command) if key not in meanings], command
