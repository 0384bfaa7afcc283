"""The commands as typed: bad input is one message and status 2, before anything is made."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from pipelines import cli, compose, reproduce, session
from pipelines.errors import StoreError


def command(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    run = [sys.executable, "-m", module, *words]
    return subprocess.run(run, capture_output=True, text=True, check=False, cwd=compose.ROOT)


@pytest.mark.parametrize("module", ["pipelines.run", "pipelines.reproduce"])
def test_bad_overrides_are_told_together_and_make_nothing(module: str, tmp_path: Path) -> None:
    done = command(module, "injection.alpah=-1", "method=tis", f"store={tmp_path / 'store'}")
    assert done.returncode == 2
    assert "did you mean 'injection.alpha'" in done.stderr
    assert "did you mean 'ties'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("module", ["pipelines.run", "pipelines.reproduce"])
def test_a_value_of_a_wrong_type_names_key_and_value(module: str, tmp_path: Path) -> None:
    done = command(module, "injection.alpha=abc", f"store={tmp_path / 'store'}")
    assert done.returncode == 2
    assert "injection.alpha" in done.stderr
    assert "'abc'" in done.stderr


def test_a_folder_that_is_not_there_is_named() -> None:
    done = command("pipelines.run", "suite=real", "suite.root=/no/such/folder")
    assert done.returncode == 2
    assert "suite.root is /no/such/folder, which is no folder" in done.stderr


def test_a_store_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"store=.*/file/store can't be written \(Not a directory\); .* store=FOLDER"):
        session.scheduler(compose.load([f"store={tmp_path / 'file' / 'store'}", "tracker=disabled"]))


def test_a_merge_that_needs_density_refuses_one_out_of_range() -> None:
    done = command("pipelines.run", "method=ties", "+merge.hyperparameters.density=1.5")
    assert done.returncode == 2
    assert "density is 1.5" in done.stderr


def test_the_plan_of_the_lab_says_what_it_would_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert reproduce.main(["--plan", "--table", "table9", "seeds=[0]", f"store={tmp_path / 'store'}"]) == 0
    said = capsys.readouterr().out
    assert "merge" in said
    assert "0 in the store" in said
    assert not (tmp_path / "store").exists()


def test_a_plan_is_a_short_tree_and_every_call_where_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["--plan", "--table", "table1", "profile=paper", f"store={tmp_path / 'store'}"]
    printed = []
    for more in ([], ["--all"]):
        assert reproduce.main([*words, *more]) == 0
        printed.append(capsys.readouterr().out.splitlines())
    tree, whole = printed
    assert tree[0] == "table1  Table 1. Merging a text expert into four MLLMs: 8 rows, 3 seeds"
    assert tree[1] == "├ model 8, benchmarks 1, merge 4, agreement 4, generate 8, judge 8, score 16, gate 4"
    assert tree[2] == "├ 0 in the store, 53 to run, 0 that wait for a chosen value"
    assert tree[3].startswith("└ alone: ")
    assert "GPU h; about" in tree[3]
    assert any("HuggingFaceM4/idefics2-8b (apache-2.0" in line and "33.6 GB" in line for line in tree)
    assert any("Qwen/Qwen2.5-7B-Instruct" in line and line.endswith("judges)") for line in tree)
    assert len(tree) < 25
    assert sum(line.startswith("run ") for line in whole) == 54
    assert tree[-1] == whole[-1] == "0 in the store, 54 to run, 0 that wait for a chosen value"
    assert reproduce.main(["--all"]) == 2
    assert "--all lists every call of a plan: drift plan --all" in capsys.readouterr().err


def test_an_override_that_no_row_has_use_for_is_refused(capsys: pytest.CaptureFixture) -> None:
    assert reproduce.main(["--plan", "--table", "figure2", "--table", "table1", "method=ties"]) == 2
    refused = capsys.readouterr().err
    assert "method=ties would change nothing here: every row says it itself, or can't, or has no use" in refused


def drift(*words: str, folder: Path | None = None, before: str = "") -> subprocess.CompletedProcess[str]:
    """The console script's own line, in a folder of the user's; `before` is run first."""
    code = f"import sys\n{before}\nfrom pipelines.cli import main\nmain(sys.argv[1:])"
    run = [sys.executable, "-P", "-c", code, *words]
    environment = {**os.environ, "PYTHONPATH": str(compose.ROOT)}
    return subprocess.run(run, capture_output=True, text=True, check=False, cwd=folder, env=environment)


def row(name: str) -> cli.Command:
    return next(each for each in cli._TABLE if each.name == name)


@pytest.fixture
def decoys(tmp_path: Path) -> Path:
    """A user's folder with packages of our names."""
    for name in ("drift", "evaluation", "pipelines"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('a decoy was imported')")
    return tmp_path


def test_help_lists_the_commands_and_a_wrong_one_names_the_closest() -> None:
    text = drift("--help").stdout
    assert all(f"\n  {each.name} " in text for each in cli._TABLE)
    wrong = drift("scroe")
    assert wrong.returncode == 2
    assert "Did you mean 'score'?" in wrong.stderr


HEAVY = "sys.modules.update(dict.fromkeys(('torch', 'hydra', 'pandas', 'scipy', 'statsmodels')))"


@pytest.mark.parametrize("name", ["prior", "merge", "score", "compare"])
def test_help_of_a_command_shows_an_example_and_needs_nothing_heavy(name: str, decoys: Path) -> None:
    done = drift(name, "--help", folder=decoys, before=HEAVY)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Example:\n    drift {name} " in done.stdout
    assert "\nKeys:\n" in done.stdout


@pytest.mark.parametrize("name", ["plan", "reproduce", "table", "run", "sensitivity"])
def test_help_of_a_composed_command_shows_an_example_groups_and_keys(name: str, capsys: pytest.CaptureFixture) -> None:
    assert cli.run(row(name), ["--help"]) == 0
    text = capsys.readouterr().out
    assert "Example:\n    drift " in text
    assert "\n  method=baseline|dare_linear|" in text
    assert "\n  injection.alpha=" in text


def test_a_users_own_packages_are_not_taken_for_ours(decoys: Path) -> None:
    done = drift("plan", "--table", "table9", "seeds=[0]", f"store={decoys / 'store'}", folder=decoys)
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 in the store" in done.stdout
    script = "from pipelines.cli import main\nmain(['score', '--help'])"
    (decoys / "bin").mkdir()
    (decoys / "bin" / "drift").write_text(script)  # where a console script lies, sys.path starts
    environment = {**os.environ, "PYTHONPATH": str(compose.ROOT)}
    run = [sys.executable, str(decoys / "bin" / "drift")]
    done = subprocess.run(run, capture_output=True, text=True, check=False, cwd=decoys, env=environment)
    assert "Example:" in done.stdout


def test_the_process_that_stages_are_forked_from_takes_no_decoy_either(decoys: Path) -> None:
    before = (
        "import multiprocessing, os\n"
        "context = multiprocessing.get_context('forkserver')\n"
        "context.set_forkserver_preload(['evaluation'])\n"
        "import pipelines.cli as cli\n"
        "def run(command, words):\n"
        "    import evaluation\n"
        "    process = context.Process(target=os.system, args=('true',))\n"
        "    process.start(); process.join()\n"
        "    return process.exitcode\n"
        "cli.run = run\n"
    )
    done = drift("score", folder=decoys, before=before)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_missing_extra_is_one_line_with_the_pip_command(tmp_path: Path) -> None:
    files = [f"{tmp_path / 'a'}", f"{tmp_path / 'b'}"]
    for file in files:
        Path(file).write_text('{"index": "1", "correct": true}\n')
    done = drift("compare", *files, before="sys.modules['statsmodels'] = None")
    assert done.returncode == 2
    assert done.stderr == (
        "error: drift compare needs the eval extra (statsmodels is not installed): "
        "pip install 'drift-reproduction[eval]'\n"
    )
    done = drift("plan", before="sys.modules['hydra'] = None")
    assert "pip install 'drift-reproduction[pipeline]'" in done.stderr


def test_without_the_checkout_a_command_that_needs_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    for name in ("plan", "reproduce", "table", "run", "sensitivity"):
        assert cli.run(row(name), []) == 2
        error = capsys.readouterr().err
        assert f"drift {name} needs the checkout: no conf/config.yaml in {tmp_path}. Clone" in error
        assert error.count("\n") == 1
    assert cli.run(row("score"), ["--help"]) == 0


def test_options_of_a_command_reach_it(capsys: pytest.CaptureFixture) -> None:
    assert cli.run(row("plan"), ["--tabel", "table9"]) == 2
    assert "unknown option '--tabel': did you mean '--table'" in capsys.readouterr().err
    assert cli.run(row("plan"), ["table13"]) == 2
    assert "table13 is a table: write --table table13" in capsys.readouterr().err
    done = drift("run", "method=ties", "merge.method=ties", "--cfg", "job")
    assert done.returncode == 0
    assert "\nmerge:\n  method: ties\n" in done.stdout


def test_tables_are_named_as_words_and_an_unknown_one_answers_with_the_closest(capsys: pytest.CaptureFixture) -> None:
    assert cli.run(row("table"), ["tabel4"]) == 2
    assert "did you mean 'table4'" in capsys.readouterr().err
    assert cli.run(row("table"), ["seeds=[0]"]) == 2
    assert "name a table, as in `drift table table4`; known: table1, table2" in capsys.readouterr().err


def test_a_command_says_one_thread_before_torch_is_loaded_unless_the_user_said_otherwise() -> None:
    show = "import pipelines.cli as c\nimport os\nc.run = lambda *_: print(os.environ['OMP_NUM_THREADS']) or 0"
    reset = "import os; os.environ.pop('OMP_NUM_THREADS', None)\n"
    assert drift("score", before=reset + show).stdout == "1\n"
    assert drift("score", before="import os; os.environ['OMP_NUM_THREADS'] = '3'\n" + show).stdout == "3\n"


def test_keys_are_completed() -> None:
    command = typer.main.get_command(cli.build()).commands["score"]
    context = command.make_context("score", ["x"])
    found = command.params[0].shell_complete(context, "judge_p")
    assert [item.value for item in found] == ["judge_prompt_price="]
