"""Plants each mutation in a copy of the tree and sees whether the tests notice: python tests/mutation/run.py [WORD]...

With words, only mutations whose file or fragment holds one of them. Prints a Markdown table and the share that was
caught; status 1 below 95%. What survives is a behaviour that nobody would miss, or a test that is missing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import NoReturn

import hypothesis
import pandas
import pytest
import scipy.stats
import torch
import transformers.models.qwen2_5_vl.modeling_qwen2_5_vl
from mutations import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[2]
LEAST = 0.95
_SECONDS = 600
__all__ = ["hypothesis", "pandas", "scipy", "torch", "transformers"]  # imported for the forks


def copy(to: Path) -> None:
    """The tree as git sees it, changes that are not committed included."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, to / name)


def passes(tree: Path, tests: str) -> bool:
    """Whether the tests pass in the tree, up to the first that fails.

    Each run is a fork of this process, which has the large libraries imported and none of the project's modules.
    """
    process = get_context("fork").Process(target=_test, args=(tree, tests))
    process.start()
    process.join(_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode == 0


def _test(tree: Path, tests: str) -> NoReturn:
    """The body of a fork: pytest in the tree, its output in a file beside it."""
    words = tests.split(" ")
    if "-k" in words:
        place = words.index("-k")
        words = [*words[: place + 1], " ".join(words[place + 1 :])]
    os.chdir(tree)
    os.environ["PYTHONPATH"] = str(tree)
    sys.path[:0] = [str(tree)]
    sys.dont_write_bytecode = True
    with open(tree / ".mutation.log", "w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os._exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *words]))


def planted(tree: Path, mutation: Mutation) -> str:
    """Writes the mutation into the tree; the file's text before.

    Raises:
        SystemExit: the fragment does not stand there once.
    """
    path = tree / mutation.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise SystemExit(f"{mutation.file} holds {mutation.old!r} {text.count(mutation.old)} times, expected once")
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    return text


def main(words: Sequence[str]) -> int:
    """Runs the chosen mutations; 1 where too few are caught."""
    chosen = [m for m in MUTATIONS if not words or any(word in m.file + m.old for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        copy(tree)
        for tests in dict.fromkeys(m.tests for m in chosen):
            if not passes(tree, tests):
                raise SystemExit(f"{tests}: fails without a mutation\n{(tree / '.mutation.log').read_text()[-2000:]}")
        print("| file | fragment | becomes | tests | caught |\n| --- | --- | --- | --- | --- |", flush=True)
        caught = 0
        for mutation in chosen:
            began, text = time.monotonic(), planted(tree, mutation)
            is_caught = not passes(tree, mutation.tests)
            (tree / mutation.file).write_text(text, encoding="utf-8")
            caught += is_caught
            cells = (mutation.old, mutation.new or " ", mutation.tests)
            shown = " | ".join(f"`{' '.join(cell.replace('|', '/').split()) or ' '}`" for cell in cells)
            word = f"yes, {time.monotonic() - began:.0f} s" if is_caught else "NO"
            print(f"| {mutation.file} | {shown} | {word} |", flush=True)
    print(f"\n{caught} of {len(chosen)} caught, {caught / len(chosen):.0%}")
    return int(caught < LEAST * len(chosen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
