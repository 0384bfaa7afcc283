"""What the documents and the comments in conf/ say to type is taken by the commands, and what they name is there."""

import re
import shlex
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from drift import words
from drift.merging.config import get_method, resolve_hyperparameters
from evaluation.toolkit import vlmevalkit
from pipelines import cli, compose, effects, plan, reproduce, sensitivity, sweep, tables, track
from pipelines.item_logs import WRITERS
from pipelines.overrides import parse

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += [ROOT / "benchmarks" / "README.md", ROOT / "results" / "lab" / "vlmevalkit" / "README.md"]
CONF = sorted((ROOT / "conf").rglob("*.yaml"))
FOLLOWED = ROOT / "docs" / "extending.md"  # by tests/docs/test_extending.py, in a tree that has what it adds

TYPED = re.compile(r"^#? {3,4}(?:\.venv/bin/)?((?:drift|python -m|make) .*)$", re.MULTILINE)
INLINE = re.compile(r"`((?:drift|python -m|make) [^`]*)`")
MODULES = {
    "pipelines.run": "run",
    "pipelines.reproduce": "reproduce",
    "evaluation.score": "score",
    "evaluation.compare": "compare",
}
LOGGED = ("drift/cosine", "drift/injected_share", "drift/w_eff")  # of a Trainer's log, no paths
MAKE_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
PLACES = (
    "conf",
    "drift",
    "evaluation",
    "pipelines",
    "results/published",
    "results/lab",
    "benchmarks",
    "tests",
    "docs",
    "examples",
    ".ci",
)


def commands(path: Path) -> Iterator[str]:
    """The commands of a file, each on one line and without its comment."""
    text = re.sub(r"\s*\\\n\s*", " ", path.read_text(encoding="utf-8"))
    for line in [*TYPED.findall(text), *INLINE.findall(text)]:
        yield " ".join(re.sub(r"(\s#| {3,}).*", "", line).split())


FOUND = [
    pytest.param(line, id=f"{path.relative_to(ROOT)}: {line}"[:100])
    for path in [*PAGES, *CONF]
    if path != FOLLOWED
    for line in dict.fromkeys(commands(path))
]


def composed(overrides: list[str]) -> None:
    """Each point of a sweep composes, each override of it does something, and it can be planned."""
    axes = [parse(word) for word in overrides]
    values = [
        [f"{a.key_or_group}={v}" for v in a.sweep_string_iterator()] if a.is_sweep_override() else [a.input_line]
        for a in axes
    ]
    for point in product(*values):
        effects.refuse_idle(point, effects.of_run)
        assert plan.targets(compose.load(point))


def checked(name: str, rest: list[str]) -> None:
    """The command takes these words; nothing is run."""
    command = next((row for row in cli._TABLE if row.name == name), None)
    if name in ("--help", "COMMAND"):
        return
    assert command, f"there is no drift {name}"
    if not rest or "--help" in rest or any("..." in word for word in rest):
        return
    if name == "run":
        composed([word for word in rest if "=" in word])
    elif name == "sensitivity":
        sensitivity.read(rest)
    elif name == "sweep":
        composed([word for word in rest if not word.startswith(("out=", "seeds="))])
        sweep.read(rest)
    elif name in ("calibrate", "gc", "export", "track", "verify"):
        own = ("gpu=", "out=", "answers=", "entity=", "table=", "--delete", "--results", *WRITERS, *track._DOES)
        compose.load_fitting([], [word for word in rest if not word.startswith(own)])
    elif command.keys:
        parsed = words.parse(rest, cli._load(command.keys))
        if name == "merge":
            resolve_hyperparameters(get_method(parsed.method, parsed.variant), parsed.hyperparameters)
    else:
        rest = [word for word in rest if (name, word) != ("rehearse", "--all")]
        names = [f"--table={word}" for word in rest if word.isidentifier()] if name == "table" else []
        asked = reproduce.Asked.of(["--plan", *(names or rest)])
        assert all(tables.load(each) for each in asked.tables)
        compose.load_fitting([], [word for word in rest if "=" in word])


def made(target: str, rest: list[str]) -> None:
    """The target is there, and what it hands on is taken."""
    assert target in MAKE_TARGETS, f"make has no target {target}"
    given = dict(word.split("=", 1) for word in rest if "=" in word)
    if target in ("reproduce", "plan", "table", "rehearse"):
        overrides = [f"profile={given['PROFILE']}"] if "PROFILE" in given else []
        checked(target, [given["TABLE"]] if "TABLE" in given else [*overrides, *shlex.split(given.get("ARGS", ""))])


@pytest.mark.parametrize("line", FOUND)
def test_a_command_that_is_shown_is_one_that_is_taken(line: str, tmp_path: Path) -> None:
    program, *rest = shlex.split(re.sub(r"/path/to/\w+", str(tmp_path), line))
    if program == "make":
        made(rest[0], rest[1:])
    elif program == "drift":
        checked(rest[0], [word for word in rest[1:] if word not in ("-m", "--cfg", "job")])
    elif rest[1] == "evaluation.toolkit.vlmevalkit":
        if rest[2:]:
            words.parse(rest[2:], vlmevalkit.Command)
    else:
        checked(MODULES[rest[1]], [word for word in rest[2:] if word not in ("-m", "--cfg", "job")])


def test_commands_are_found() -> None:
    lines = [param.values[0] for param in FOUND]
    assert "drift sensitivity method=baseline judge.mode=official,semantic suite.variant=default,direct" in lines
    assert "make plan PROFILE=paper" in lines
    assert len(lines) > 50


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_paths_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [page.parent / link for link in re.findall(r"\]\(([^)#:]+)\)", text)]
    named = re.findall(r"`([\w./-]+)`", text)
    named = [name for name in named if name.startswith(tuple(f"{place}/" for place in PLACES)) and name not in LOGGED]
    made = [*re.findall(r"^`([^`]+)`, a new file:", text, re.MULTILINE), "conf/revisions.lock.json"]
    paths = [*links, *(ROOT / name for name in named if name not in made and "NAME" not in name)]
    assert [str(path) for path in paths if not path.exists()] == []


def test_every_group_says_what_it_is() -> None:
    for group in [*compose.groups(), ROOT / "conf" / "table"]:
        said = [re.search(r"^# (?!@package).{20,}", path.read_text(), re.MULTILINE) for path in group.glob("*.yaml")]
        assert any(said), f"no file of conf/{group.name} says what the group is"
