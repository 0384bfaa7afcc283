"""The one command `drift`: each sub-command is a function of its words, imported when it is called.

Light: no torch, no Hydra. What a command lacks (the checkout with conf/ and results/, an extra of the installation) is
one line that says how to get it.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.environment import set_defaults

ROOT = Path(__file__).resolve().parent.parent
CHECKOUT = "pipeline"
OURS = ("drift", "evaluation", "pipelines")


@dataclass(frozen=True)
class Command:
    """A row of the command table.

    Attributes:
        run: "module:function" of the words; returns the exit status.
        extra: the part of the installation that it needs; empty is the base.
        keys: "module:dataclass" whose fields are the keys, for completion; empty where Hydra has them.
    """

    name: str
    run: str
    summary: str
    extra: str
    keys: str = ""

    @property
    def needs_checkout(self) -> bool:
        """Whether it reads conf/ and writes results/, as all does that needs the pipeline."""
        return self.extra == CHECKOUT


_RUNS = "pipelines.catalogue.commands"
_TABLE = (
    Command("plan", "pipelines.reproduce:plan", "What reproduce would run, and what the store holds.", CHECKOUT),
    Command("reproduce", "pipelines.reproduce:main", "Every table from nothing.", CHECKOUT),
    Command("table", "pipelines.reproduce:table", "One table, or several.", CHECKOUT),
    Command(
        "rehearse", "pipelines.rehearsal.command:main", "The plan on small random weights, faults named.", CHECKOUT
    ),
    Command("run", "pipelines.run:main", "One checkpoint, made and scored; everything of Hydra's.", CHECKOUT),
    Command("data", "pipelines.datasets:main", "A set of SFT examples, made from questions.", CHECKOUT),
    Command("push", "pipelines.push:main", "A set sent to the hub.", "eval", "pipelines.push:Push"),
    Command("sweep", "pipelines.sweep:main", "A grid over keys and seeds, scored and aggregated.", CHECKOUT),
    Command("study", "pipelines.study.command:main", "Many worlds, and what they say of claims.", CHECKOUT),
    Command("claims", "pipelines.study.command:claims_main", "Each claim with its effect and verdict.", CHECKOUT),
    Command("ls", f"{_RUNS}:list_main", "A store's scores, found by settings.", CHECKOUT, f"{_RUNS}:List"),
    Command("show", f"{_RUNS}:show_main", "One of them whole: settings, lineage.", CHECKOUT, f"{_RUNS}:Show"),
    Command("sensitivity", "pipelines.sensitivity:main", "What protocol alone does to a score.", CHECKOUT),
    Command("verify", "pipelines.verify:main", "Every byte of the store read and compared.", CHECKOUT),
    Command("calibrate", "pipelines.calibrate:main", "The plan's prices by what this store has measured.", CHECKOUT),
    Command("gc", "pipelines.gc:main", "What nothing refers to any more, out of the store.", CHECKOUT),
    Command("track", "pipelines.track:main", "What was recorded, watched and sent.", CHECKOUT),
    Command("page", "pipelines.page.command:main", "A profile's page, from its results alone.", CHECKOUT),
    Command("readme", "pipelines.page.readme:main", "README's results, from results/lab.", CHECKOUT),
    Command("export", "pipelines.export:main", "A profile's results as one file to share.", CHECKOUT),
    Command("prior", "drift.commands:prior", "The reasoning prior of two checkpoints.", "", "drift.commands:Prior"),
    Command("merge", "drift.commands:merge", "Two checkpoints merged.", "", "drift.commands:Merge"),
    Command("score", "evaluation.score:main", "A file of responses scored.", "eval", "evaluation.score:Command"),
    Command(
        "compare",
        "pipelines.catalogue.compare:main",
        "Runs, or verdict files, compared pairwise.",
        "eval",
        "pipelines.catalogue.compare:Compare",
    ),
)


def run(command: Command, words: Sequence[str]) -> int:
    """Runs one command on its words; the exit status."""
    if command.needs_checkout and not (ROOT / "conf" / "config.yaml").is_file():
        return _refuse(
            f"drift {command.name} needs the checkout: no conf/config.yaml in {ROOT}. "
            "Clone the repository, run `make setup` in it, then .venv/bin/drift"
        )
    try:
        return _load(command.run)(words)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if not command.extra or missing in OURS:
            raise
        return _refuse(
            f"drift {command.name} needs the {command.extra} extra ({missing} is not installed): "
            f"pip install 'drift-reproduction[{command.extra}]'"
        )


def main(words: Sequence[str] | None = None) -> None:
    """The console script."""
    set_defaults()
    # The process that stages are forked from starts as `python -c`, which would look for our packages in the current
    # folder first: a user's own `evaluation/` must not be taken for ours.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    build()(args=words, prog_name="drift")


def build() -> typer.Typer:
    """The typer application: one sub-command a row, which gets its words as they are, --help and options included."""
    app = typer.Typer(
        help="DRIFT: reasoning priors, merged or injected; trained, scored and compared. Keys are written key=value; "
        "`drift COMMAND --help` lists them with an example.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    for row in _TABLE:
        app.command(row.name, help=row.summary, add_help_option=False, context_settings=settings)(_typed(row))
    return app


def _typed(command: Command) -> Callable[..., None]:
    def complete(context: typer.Context, incomplete: str) -> list[str]:
        from pipelines import completion

        return completion.complete(command.name, command.keys, context.params.get("words") or (), incomplete)

    def call(words: Annotated[list[str] | None, typer.Argument(autocompletion=complete)] = None) -> None:
        raise typer.Exit(run(command, words or []))

    return call


def _load(place: str) -> Any:
    module, name = place.split(":")
    return getattr(import_module(module), name)


def _refuse(message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return 2


if __name__ == "__main__":
    main()
