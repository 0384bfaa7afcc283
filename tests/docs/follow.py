"""Runs the commands of a page's sections, each in a copy of the tree and in a process of its own: python follow.py JOBS

The processes are forked from one that has loaded torch and nothing of ours. What takes minutes is planned: `drift run`,
`drift table`.
Two commands are no page's: `pair FOLDER` saves tiny checkpoints of the three roles, `report TABLE` fills a table from
made-up artifacts and prints the report.
"""

import contextlib
import io
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import pytest


def follow(line: str) -> int:
    """The exit status of one command."""
    program, *words = shlex.split(line)
    if program in PROGRAMS:
        return PROGRAMS[program](words)
    return subprocess.run(["bash", "-c", line], check=False).returncode


def drift(words: Sequence[str]) -> int:
    from pipelines import cli

    name, *rest = words
    if name == "run" and "--cfg" not in rest:
        return plan(rest)
    if name == "table":
        name, rest = "plan", ["--table", *rest]
    return cli.run(next(command for command in cli._TABLE if command.name == name), rest)


def plan(words: Sequence[str]) -> int:
    """What `drift run` would do, a line a call."""
    from pipelines import compose, effects, plan
    from pipelines.overrides import check_names
    from pipelines.stage import ordered

    check_names(words, compose.CONF)
    effects.refuse_idle(words, effects.of_run)
    for call in ordered(plan.targets(compose.load(words))):
        print(call.stage.name, call.label)
    return 0


def python(words: Sequence[str]) -> int:
    assert words[:2] == ["-m", "pytest"], words
    return int(pytest.main(["-q", *words[2:]]))


def pair(words: Sequence[str]) -> int:
    import pico

    pico.save_pair("qwen2_5_vl", Path(words[0]))
    return 0


def report(words: Sequence[str]) -> int:
    from test_report_stage import artifact

    from pipelines import tables
    from pipelines.stage import Runtime
    from pipelines.stages.report import report

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        call = tables.report([tables.load(words[0])], ["profile=smoke"], online=False)
        inputs = {name: artifact(each, root, place) for place, (name, each) in enumerate(call.inputs.items())}
        (root / "out").mkdir()
        report(call.params, Runtime(root), inputs, root / "out")
        print((root / "out" / "report.md").read_text())
    return 0


PROGRAMS: dict[str, Callable[[Sequence[str]], int]] = {
    "drift": drift,
    "python": python,
    "pair": pair,
    "report": report,
}


def follow_all(commands: Sequence[str]) -> list[tuple[int, str]]:
    """Status and standard output of each command; those after one that failed are not run."""
    done = []
    for line in commands:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            status = follow(line)
        done.append((status, said.getvalue()))
        if status:
            break
    return done


def main() -> None:
    """Reads the jobs, [[tree, commands], ...], and writes results.json and log.txt beside each tree."""
    for name in ("pico", "hydra", "pandas", "matplotlib.figure", "scipy.stats", "statsmodels.api"):
        import_module(name)
    del sys.modules["pico"]  # torch and transformers, which it has loaded, stay; a tree may have a pico of its own
    for tree, commands in json.loads(Path(sys.argv[1]).read_text()):
        if os.fork():
            os.wait()
            continue
        os.chdir(tree)
        with Path("../log.txt").open("w") as log:
            os.dup2(log.fileno(), 2)
        sys.path[:0] = [tree, f"{tree}/tests/drift"]
        Path("../results.json").write_text(json.dumps(follow_all(commands)))
        os._exit(0)


if __name__ == "__main__":
    main()
