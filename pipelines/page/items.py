"""What the page's drill-down shows, from a report's parquet files: every verdict, and the items of the lab's worlds."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas

from pipelines.layout import ITEMS, VERDICTS

_RIGHT = {True: "1", False: "0", None: "-"}


def verdicts(folder: Path) -> dict[str, Any]:
    """Every score's verdicts as one character an item.

    Returns:
        `ids`, the different lists of item ids; `scores`: score -> column -> the place of its list in `ids`, and by
        protocol the verdicts (1 right, 0 wrong, - nobody judged).
    """
    ids: list[list[str]] = []
    scores: dict[str, dict[str, Any]] = {}
    for path in sorted((folder / VERDICTS).glob("world*.parquet")):
        lines = pandas.read_parquet(path, columns=["row", "score", "benchmark", "item", "protocol", "correct"])
        once = lines[lines["row"] == lines.groupby("score", sort=False)["row"].transform("first")]
        for (score, column, protocol), part in once.groupby(["score", "benchmark", "protocol"], sort=False):
            asked = part["item"].tolist()
            if asked not in ids:
                ids.append(asked)
            said = "".join(_RIGHT[None if pandas.isna(c) else bool(c)] for c in part["correct"])
            entry = scores.setdefault(score, {}).setdefault(column, {"ids": ids.index(asked), "by": {}})
            entry["by"][protocol] = said
    return {"ids": ids, "scores": scores}


def texts(folder: Path) -> dict[str, dict[str, Any]]:
    """The items and answers of each world, by the seed; empty where the report has none (a published benchmark's)."""
    place = folder / ITEMS
    if not place.exists():
        return {}
    answers, questions = (pandas.read_parquet(place / f"{name}.parquet") for name in ("answers", "questions"))
    images = dict(pandas.read_parquet(place / "images.parquet").itertuples(index=False))
    return {
        seed: _world(answers[answers["score"].isin(scores)], questions, images)
        for seed, scores in _scores_of_worlds(folder).items()
    }


def _scores_of_worlds(folder: Path) -> dict[str, set[str]]:
    paths = sorted((folder / VERDICTS).glob("world*.parquet"))
    return {
        path.stem.removeprefix("world"): set(pandas.read_parquet(path, columns=["score"])["score"]) for path in paths
    }


def _world(answers: pandas.DataFrame, questions: pandas.DataFrame, images: Mapping[str, bytes]) -> dict[str, Any]:
    asked: dict[str, Any] = {}
    pictures: dict[str, int] = {}
    for (items, column), part in questions[questions["items"].isin(set(answers["items"]))].groupby(
        ["items", "benchmark"], sort=False
    ):
        asked[f"{items}/{column}"] = {
            "question": part["question"].tolist(),
            "gold": part["gold"].tolist(),
            "group": part["group"].tolist(),
            "images": [[pictures.setdefault(mark, len(pictures)) for mark in marks] for marks in part["images"]],
        }
    said: dict[str, dict[str, Any]] = {}
    for (score, column), part in answers.groupby(["score", "benchmark"], sort=False):
        said.setdefault(score, {})[column] = _answers(part, column)
    encoded = [base64.b64encode(images[mark]).decode() for mark in pictures]
    return {"asked": asked, "answers": said, "images": encoded}


def _answers(part: pandas.DataFrame, column: str) -> dict[str, Any]:
    protocols = [name.removesuffix("_rule") for name in part.columns if name.endswith("_rule")]
    return {
        "asked": f"{part['items'].iloc[0]}/{column}",
        "response": part["response"].tolist(),
        "by": {
            name: {"rule": _listed(part[f"{name}_rule"]), "read": _listed(part[f"{name}_extraction"])}
            for name in protocols
        },
    }


def _listed(values: pandas.Series) -> Sequence[str | None]:
    return [None if pandas.isna(value) else value for value in values]
