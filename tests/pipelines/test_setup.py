"""`make setup` finds a Python that fits, builds anew what is no environment, and says `ready` only of what is."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pipelines import compose

# A Python that answers what the script asks, makes an "environment" of itself, and notes what pip is told.
STUB = """#!/bin/bash
case "$*" in
    *torch.version.cuda*) [ ! -e no-cuda ] ;;
    *python_version*) echo {version} ;;
    -c*) exit {status} ;;
    "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python && echo "#!$PWD/.venv/bin/python" > .venv/bin/pip
        echo venv {version} >> done.log ;;
    "-m pip"*) echo "pip ${{*:6}}" >> done.log && [ ! -e pip-fails ] || {{ echo no such wheel; exit 1; }} ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What set-up needs of the checkout, and a PATH with Python 3.12 alone."""
    folder = tmp_path / "checkout"
    (folder / ".ci").mkdir(parents=True)
    shutil.copy(compose.ROOT / ".ci" / "setup", folder / ".ci")
    (folder / "constraints.txt").write_text("numpy==1\ntorch==2.13.0\n")
    (folder / "constraints-cuda.txt").write_text("# both of one build\ntorch==2.13.0\ntorchvision==0.28.0\n")
    (folder / "pyproject.toml").write_text("")
    for name in ("constraints.txt", "constraints-cuda.txt", "pyproject.toml"):
        os.utime(folder / name, (0, 0))
    python(tmp_path / "bin" / "python3.12", "3.12.9")
    return folder


def python(path: Path, version: str, status: int = 0) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(STUB.format(version=version, status=status))
    path.chmod(0o755)
    return str(path)


def setup(checkout: Path, chosen: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """The script with the stubs in front and nothing of the real Pythons behind them."""
    tools = checkout.parent / "tools"
    if not tools.exists():
        tools.mkdir()
        for name in ("bash", "cat", "cp", "dirname", "grep", "head", "mkdir", "rm", "tail", "touch"):
            (tools / name).symlink_to(str(shutil.which(name)))
    environment = {"PATH": f"{checkout.parent / 'bin'}:{tools}", "PYTHON": chosen, **variables}
    run = [str(tools / "bash"), ".ci/setup"]
    return subprocess.run(run, cwd=checkout, env=environment, capture_output=True, text=True, check=False)


def done(checkout: Path) -> list[str]:
    """What was made since the last look."""
    log = checkout / "done.log"
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


OURS = "pip --constraint constraints.txt --editable .[dev]"
MADE = ["venv 3.12.9", "pip torch==2.13.0", OURS]


def test_torch_comes_first_and_a_second_time_nothing_is_done(checkout: Path) -> None:
    first = setup(checkout)
    assert first.returncode == 0, first.stderr
    assert "making .venv with Python 3.12.9" in first.stdout
    assert done(checkout) == MADE
    again = setup(checkout)
    assert (again.returncode, again.stdout, done(checkout)) == (0, "", [])


def test_no_python_that_fits_says_what_is_needed_and_what_was_found(checkout: Path) -> None:
    (checkout.parent / "bin" / "python3.12").unlink()
    python(checkout.parent / "bin" / "python3", "3.10.13", status=1)
    refused = setup(checkout)
    assert refused.returncode == 1
    assert "needs Python 3.11, 3.12 or 3.13; python3 is 3.10.13. Install one" in refused.stderr
    refused = setup(checkout, "/no/such/python")
    assert "PYTHON=/no/such/python is not there" in refused.stderr
    assert not (checkout / ".venv").exists()


def test_new_pins_bring_it_up_to_date_in_place(checkout: Path) -> None:
    setup(checkout)
    done(checkout)
    os.utime(checkout / "constraints.txt")
    os.utime(checkout / ".venv" / ".ready", (1, 1))
    assert "bringing .venv up to date" in setup(checkout).stdout
    assert done(checkout) == MADE[1:]


def test_another_python_that_was_asked_for_builds_anew_and_the_same_does_not(checkout: Path) -> None:
    setup(checkout)
    done(checkout)
    assert setup(checkout, "python3.12").returncode == 0
    assert done(checkout) == []
    other = python(checkout.parent / "elsewhere" / "python", "3.13.1")
    (checkout / ".venv-mergekit").mkdir()
    assert "building .venv anew" in setup(checkout, other).stdout
    assert done(checkout) == ["venv 3.13.1", *MADE[1:]]
    assert not (checkout / ".venv-mergekit").exists()


@pytest.mark.parametrize("harm", ["moved", "python gone", "pip gone"])
def test_one_that_was_moved_or_is_broken_is_built_anew(checkout: Path, harm: str) -> None:
    setup(checkout)
    done(checkout)
    if harm == "moved":
        checkout = checkout.rename(checkout.parent / "moved")
    else:
        (checkout / ".venv" / "bin" / harm.split()[0]).unlink()
    (checkout / ".venv" / "left-over").touch()
    assert "building .venv anew" in setup(checkout).stdout
    assert done(checkout) == MADE
    assert not (checkout / ".venv" / "left-over").exists()


def test_a_set_up_that_fails_is_not_ready_and_goes_on_the_next_time(checkout: Path) -> None:
    setup(checkout)
    os.utime(checkout / ".venv" / ".ready", (-1, -1))
    (checkout / "pip-fails").touch()
    failed = setup(checkout)
    assert failed.returncode != 0
    assert failed.stderr.startswith("no such wheel\nerror: pip could not install torch==2.13.0; all that it said is in")
    assert not (checkout / ".venv" / ".ready").exists()
    (checkout / "pip-fails").unlink()
    assert setup(checkout).returncode == 0
    assert (checkout / ".venv" / ".ready").exists()


def test_for_a_gpu_torch_and_torchvision_are_of_one_build_and_what_was_chosen_stays(checkout: Path) -> None:
    setup(checkout)
    done(checkout)
    made = setup(checkout, DEVICE="cuda")
    assert made.returncode == 0, made.stderr
    assert done(checkout) == ["pip torch==2.13.0 torchvision==0.28.0", OURS]
    assert setup(checkout).stdout == ""  # a set-up that says nothing keeps it
    assert done(checkout) == []
    assert setup(checkout, DEVICE="cpu").returncode == 0
    assert done(checkout) == MADE[1:]


def test_another_cuda_build_comes_from_the_index_that_was_named(checkout: Path) -> None:
    setup(checkout, DEVICE="cuda", TORCH_INDEX="https://example.org/cu128")
    assert done(checkout)[1] == "pip --index-url https://example.org/cu128 torch==2.13.0 torchvision==0.28.0"


def test_a_torch_without_cuda_is_refused_with_the_way_to_one(checkout: Path) -> None:
    (checkout / "no-cuda").touch()
    refused = setup(checkout, DEVICE="cuda")
    assert refused.returncode == 1
    assert "this torch has no CUDA, or its torchvision does not open; name the index" in refused.stderr
    assert not (checkout / ".venv" / ".ready").exists()
    assert "DEVICE=tpu is neither cpu nor cuda" in setup(checkout, DEVICE="tpu").stderr


def test_vllm_gets_an_environment_of_its_own_and_is_there_the_second_time(checkout: Path) -> None:
    shutil.copy(compose.ROOT / ".ci" / "setup-vllm", checkout / ".ci")
    (checkout / "constraints-vllm.txt").write_text("torch==2.13.0\nvllm==0.30.0\n")
    os.utime(checkout / "constraints-vllm.txt", (0, 0))
    stub = python(checkout.parent / "elsewhere" / "python", "3.12.9")
    made = 'mkdir -p .venv-vllm/bin && cp "$0" .venv-vllm/bin/python && cp "$0" .venv-vllm/bin/vllm ;;'
    stub_text = (
        Path(stub).read_text().replace("    -c*)", f'    --version) ;;\n    "-m venv .venv-vllm") {made}\n    -c*)')
    )
    Path(stub).write_text(stub_text)
    setup(checkout)  # makes the folder of tools
    done(checkout)
    tools = checkout.parent / "tools"
    run = [str(tools / "bash"), ".ci/setup-vllm"]
    environment = {"PATH": str(tools), "PYTHON": stub}
    first = subprocess.run(run, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert (first.returncode, first.stderr) == (0, "")
    assert done(checkout) == ["pip --constraint constraints-vllm.txt vllm==0.30.0"]
    again = subprocess.run(run, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert (again.returncode, again.stdout, done(checkout)) == (0, "", [])
