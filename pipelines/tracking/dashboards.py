"""The dashboards as code: two saved views of a project's runs and a report, each panel with the question it answers.

`specs` needs no server; `apply` saves them on one, over those that it saved before. docs/dashboards.md is about these.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
from wandb_workspaces.reports.v2.interface import Config, SummaryMetric

from drift.files import write_whole

SAVED = "dashboards.json"  # below the recordings: where on the server they are
_AVERAGE = "official/test/average"
_GROUPS = ("attn", "mlp", "norm", "lm_head")
Panels = Sequence[Any]


@dataclass(frozen=True)
class View:
    """A saved view: the runs of one job type, and by question the panels that answer it."""

    title: str
    job_type: str
    sections: Mapping[str, Panels]
    columns: tuple[str, ...]


def views() -> list[View]:
    """Trainings while they run, and evaluated checkpoints beside each other."""
    return [
        View("Trainings", "train", _trainings(), ("config:method", "config:injection.alpha", "summary:train/loss")),
        View("Evaluations", "evaluate", _evaluations(), ("config:method", "config:seed", f"summary:{_AVERAGE}")),
    ]


def _trainings() -> dict[str, Panels]:
    by_group = [f"train/w_eff/{group}" for group in _GROUPS]
    return {
        "Does it learn?": [
            _line("Loss", "train/loss"),
            _line("Gradient norm, before clipping", "train/grad_norm"),
            _line("Learning rate", "train/learning_rate"),
        ],
        "What does the prior do?": [
            _line("Cosine of gradient and Delta", "train/cosine"),
            _line("Injected share of the gradient", "train/injected_share"),
            _line("Share of Delta covered (w_eff)", "train/w_eff"),
            _line("The same by module group", *by_group),
        ],
        "What does it cost?": [
            _line("Tokens a second", "train/tokens_per_second"),
            _line("Peak memory, GB", "train/memory_gb"),
        ],
    }


def _evaluations() -> dict[str, Panels]:
    average, alpha, w_eff = SummaryMetric(_AVERAGE), Config("injection.alpha"), SummaryMetric("checkpoint/w_eff")
    columns = [
        wr.ParallelCoordinatesPlotColumn(each)
        for each in (Config("method"), alpha, Config("train.learning_rate"), w_eff, average)
    ]
    return {
        "What is reached?": [
            wr.BarPlot(title="Average on the test split", metrics=[_AVERAGE], groupby="method", orientation="h"),
            wr.ScatterPlot(title="Average against alpha", x=alpha, y=average),
            wr.ScatterPlot(title="Average against w_eff", x=w_eff, y=average),
            wr.ParallelCoordinatesPlot(title="Which knobs lead where", columns=columns),
        ],
        "How did it answer?": [wr.WeavePanelSummaryTable(table_name="items/official/test")],
    }


def _line(title: str, *metrics: str) -> wr.LinePlot:
    return wr.LinePlot(title=title, x="Step", y=list(metrics))


def specs(project: str) -> dict[str, Any]:
    """What a server would be given, by title; equal from call to call."""
    found: dict[str, Any] = {view.title: _plain(_workspace(view, "", project)._to_model()) for view in views()}
    # A grid of the report's wants runs, which only a server has: its panels are what is known before.
    found["Report"] = {question: [_plain(each._to_model()) for each in panels] for question, panels in _questions()}
    return {title: _numbered(spec, iter(range(1000))) for title, spec in found.items()}


def _plain(model: Any) -> Any:
    return json.loads(model.model_dump_json(by_alias=True))


def _numbered(spec: Any, numbers: Iterator[int]) -> Any:
    """The spec with panels numbered through, where the library draws their names."""
    if isinstance(spec, list):
        return [_numbered(each, numbers) for each in spec]
    if isinstance(spec, dict):
        return {key: str(next(numbers)) if key == "__id__" else _numbered(each, numbers) for key, each in spec.items()}
    return spec


def apply(entity: str, project: str, folder: Path) -> dict[str, str]:
    """Saves all of it on the server, over what it saved there before; the addresses by title."""
    kept = folder / SAVED
    known: dict[str, str] = json.loads(kept.read_text()) if kept.is_file() else {}
    for view in views():
        made = _workspace(view, entity, project)
        if place := known.get(f"{entity}/{project}/{view.title}"):
            saved = ws.Workspace.from_url(place)
            saved.sections, saved.runset_settings = made.sections, made.runset_settings
            made = saved
        known[f"{entity}/{project}/{view.title}"] = made.save().url
    key = f"{entity}/{project}/Report"
    known[key] = _save_report(entity, project, known.get(key, ""))
    write_whole(kept, json.dumps(known, indent=1))
    return known


def _save_report(entity: str, project: str, place: str) -> str:
    """Saves the report, over the one at `place` where there is one; its address."""
    report = wr.Report.from_url(place) if place else wr.Report(project, entity, title="DRIFT, reproduced")
    report.blocks = _blocks(wr.Runset(entity, project, name="Runs"))
    address: str = report.save().url
    return address


def _workspace(view: View, entity: str, project: str) -> ws.Workspace:
    runs = ws.RunsetSettings(
        filters=[ws.Metric("JobType") == view.job_type],
        groupby=[ws.Config("method")],
        pinned_columns=["run:displayName", *view.columns],
    )
    sections = [ws.Section(name=name, panels=list(panels), is_open=True) for name, panels in view.sections.items()]
    return ws.Workspace(entity=entity, project=project, name=view.title, sections=sections, runset_settings=runs)


def _questions() -> Iterator[tuple[str, Panels]]:
    """The report's: what came out before how it came about."""
    for view in reversed(views()):
        yield from view.sections.items()


def _blocks(runset: wr.Runset) -> list[Any]:
    """The report: each question with its panels below it."""
    grids = [
        (wr.H2(question), wr.PanelGrid(runsets=[runset], panels=list(panels))) for question, panels in _questions()
    ]
    return [block for grid in grids for block in grid]
