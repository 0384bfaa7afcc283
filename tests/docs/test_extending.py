"""docs/extending.md, followed in copies of the tree: each addition touches what it names and no more, and works."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from drift.checkpoints import Checkpoint
from drift.prior import ReasoningPrior

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
EDIT = re.compile(
    r"^`([^`\n]+)`, (a new file|at the end|(above|below|in place of) `([^`\n]+)`):\n\n```\w+\n(.*?)```\n",
    re.DOTALL | re.MULTILINE,
)
COMMANDS = re.compile(r"^```sh\n(.*?)```\n", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"^```\w", re.MULTILINE)


@dataclass(frozen=True)
class Section:
    """What one section of the page says."""

    touches: tuple[str, ...]
    edits: tuple[tuple[str, ...], ...]
    commands: tuple[str, ...]
    blocks: int


def read(body: str) -> Section:
    touches = re.match(r"\s*Touches (.*)\.\n", body)
    assert touches
    commands = [line for block in COMMANDS.findall(body) for line in block.splitlines()]
    named = tuple(re.findall(r"`([^`]+)`", touches[1]))
    return Section(named, tuple(EDIT.findall(body)), tuple(commands), len(BLOCK.findall(body)))


SECTIONS = {title: read(body) for title, body in SECTION.findall(PAGE)}


def apply(root: Path, edits: tuple[tuple[str, ...], ...]) -> None:
    """Makes the edits as a reader would, `make format` at the end."""
    for name, how, verb, anchor, text in edits:
        path = root / name
        if how == "a new file":
            assert not path.exists(), f"{name} is no new file"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            continue
        lines = path.read_text().splitlines(keepends=True)
        places = [place for place, line in enumerate(lines) if line.strip() == anchor] if anchor else [len(lines)]
        assert len(places) == 1, f"{name} has {len(places)} lines {anchor!r}"
        start, stop = places[0] + (verb == "below"), places[0] + (verb in ("below", "in place of"))
        lines[start:stop] = ["\n\n" + text if not anchor else text]
        path.write_text("".join(lines))
    code = [str(root / name) for name in {edit[0] for edit in edits} if name.endswith(".py")]
    for words in (("format",), ("check",)) if code else ():
        ruff = [sys.executable, "-m", "ruff", *words, "--quiet", "--config", str(ROOT / "pyproject.toml"), *code]
        done = subprocess.run(ruff, capture_output=True, text=True, check=False, cwd=root)
        assert done.returncode == 0, done.stdout + done.stderr


def contents(root: Path) -> dict[str, bytes]:
    """Every file but what Python and its tools keep beside it, and what a command leaves in the store."""
    files = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    kept = (p for p in files if p.parts[0][0] != "." and p.parts[0] != "artifacts" and "__pycache__" not in p.parts)
    return {str(p): (root / p).read_bytes() for p in kept}


@dataclass(frozen=True)
class Followed:
    """A section after its edits were made and its commands run: what each printed, and what stands for /tmp."""

    printed: tuple[str, ...]
    files: Path
    changed: frozenset[str]


# What is run after a section's own commands.
MORE = {"A table": ["report mixtures"], "A kind of table": ["report gap"]}


def commands_in(section: Section, files: Path) -> list[str]:
    """The section's commands on tiny models, with a folder for /tmp."""
    lines = [re.sub(r"/tmp/", f"{files}/", line) for line in section.commands]
    if any("MLLM" in line for line in lines):
        lines.insert(0, f"pair {files / 'pair'}")
    for role in ("mllm", "expert", "base"):
        lines = [line.replace(f"={role.upper()}", f"={files / 'pair' / role}") for line in lines]
    return lines


Follow = Callable[[str], Followed]


@pytest.fixture(scope="module")
def follow(tmp_path_factory: pytest.TempPathFactory) -> Follow:
    """What became of a section; each was followed in a copy of the tree of its own."""
    before, jobs = {}, {}
    for title, section in SECTIONS.items():
        place = tmp_path_factory.mktemp("section")
        for name in ("drift", "evaluation", "pipelines", "conf", "results/published", "tests/drift"):
            shutil.copytree(ROOT / name, place / "tree" / name)
        before = before or contents(place / "tree")
        apply(place / "tree", section.edits)
        jobs[title] = (str(place / "tree"), [*commands_in(section, place), *MORE.get(title, ())])
    file = tmp_path_factory.mktemp("jobs") / "jobs.json"
    file.write_text(json.dumps(list(jobs.values())))
    paths = f"{ROOT / 'tests/drift'}{os.pathsep}{ROOT / 'tests/pipelines'}"
    own = {"PYTHONPATH": paths, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    program = [sys.executable, str(ROOT / "tests/docs/follow.py"), str(file)]
    subprocess.run(program, env={**os.environ, **own}, check=True)
    return lambda title: outcome(Path(jobs[title][0]), jobs[title][1], before)


def outcome(tree: Path, lines: list[str], before: dict[str, bytes]) -> Followed:
    log = (tree.parent / "log.txt").read_text()
    assert (tree.parent / "results.json").exists(), log
    results = json.loads((tree.parent / "results.json").read_text())
    for line, (status, said) in zip(lines, results, strict=False):
        assert status == 0, f"{line}\n{said}\n{log}"
    after = contents(tree)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    return Followed(tuple(said for _, said in results), tree.parent, frozenset(changed))


def lm_tensors(folder: Path) -> dict[str, torch.Tensor]:
    checkpoint = Checkpoint(folder)
    return {canonical: checkpoint.read(name) for canonical, name in checkpoint.lm_names().items()}


@pytest.mark.parametrize("title", SECTIONS)
def test_a_section_names_the_files_that_it_shows_and_every_block_is_followed(title: str) -> None:
    section = SECTIONS[title]
    assert set(section.touches) == {edit[0] for edit in section.edits}
    assert section.blocks == len(section.edits) + 1
    assert section.commands


@pytest.mark.parametrize("title", SECTIONS)
def test_an_addition_touches_what_its_section_names_and_no_more(title: str, follow: Follow) -> None:
    assert follow(title).changed == set(SECTIONS[title].touches)


def test_a_merge_method_merges_checkpoints_and_is_planned(follow: Follow) -> None:
    done = follow("A merge method")
    places = ("merged", "pair/mllm", "pair/expert", "pair/base")
    merged, mllm, expert, base = (lm_tensors(done.files / name) for name in places)
    for name in (name for name in merged if ".layers." in name):
        v, r = mllm[name] - base[name], 0.5 * (expert[name] - base[name])
        torch.testing.assert_close(merged[name], base[name] + torch.where(v.abs() >= r.abs(), v, r))
    assert "larger paper auto" in done.printed[-1]


def test_a_benchmark_is_scored_and_planned(follow: Follow) -> None:
    scored, planned = follow("A benchmark").printed[-2:]
    found = json.loads(scored)
    assert (found["benchmark"], found["n"], found["score"]) == ("Clocks", 2, 50.0)
    assert "on clocks all" in planned


def test_a_pair_is_planned_from_the_hub(follow: Follow) -> None:
    (planned,) = follow("A pair of checkpoints").printed
    assert "model expert open-r1/OpenR1-Qwen-7B" in planned


def test_a_family_is_read_on_disk_and_in_memory_and_is_planned(follow: Follow) -> None:
    tested, planned = follow("A model family").printed
    assert "3 passed" in tested
    assert "model mllm llava-hf/llava-1.5-7b-hf" in planned


def test_a_table_is_planned_and_printed_beside_the_papers_numbers(follow: Follow) -> None:
    planned, _, report = follow("A table").printed
    assert "task_arithmetic" in planned
    assert re.search(r"\| 0\.9 and 0\.1 +\| 40\.0 \[65\.8\] +\| 40\.0 \[22\.7\]", report)
    assert "0.95 and 0.05 (control)" in report


def test_a_kind_of_table_says_what_it_finds(follow: Follow) -> None:
    assert "MathVista: 0.0 points from worst to best." in follow("A kind of table").printed[-1]


def test_a_scaling_has_the_strength_that_it_says_and_is_planned(follow: Follow) -> None:
    tested, planned = follow("A scaling").printed
    assert "1 passed" in tested
    assert "drift sideways alpha=-0.3" in planned


def test_a_control_has_the_norm_of_delta_and_is_planned(follow: Follow) -> None:
    done = follow("A control")
    signs = ReasoningPrior.load(done.files / "prior")
    mllm, expert = (lm_tensors(done.files / "pair" / role) for role in ("mllm", "expert"))
    assert signs.kind == "signs"
    for name in signs.names:
        delta = expert[name] - mllm[name]
        assert signs.norm(name) == pytest.approx(float(delta.norm()), rel=5e-3)
        assert torch.equal(signs.read(name).sign(), delta.bfloat16().float().sign())
    assert "signs" in done.printed[-1]
