"""What a run is called, tagged and configured by: read from manifests, so that it is what was computed."""

from collections.abc import Mapping
from typing import Any

from pipelines.answered import Manifests
from pipelines.catalogue.runs import Manifest, Value, lineage, settings_of
from pipelines.compose import CONF
from pipelines.overrides import choices

_LONGEST_NAME, _LONGEST_TAG = 128, 64
_MODEL = "responses.model"  # the way from a score to its checkpoint


def of_training(made: Manifest, known: Manifests) -> dict[str, Value]:
    """Every setting of a training and of what it is made from, by its name in the config."""
    return settings_of(dict(lineage(made, known, _MODEL)))


def of_checkpoint(score: Manifest, known: Manifests) -> dict[str, Value]:
    """Every setting of a score's checkpoint and of how it answers; what it is scored on is no part of it."""
    ways = {way: made for way, made in lineage(score, known) if way.partition(".")[0] == "responses"}
    return {key: value for key, value in settings_of(ways).items() if not key.startswith("suite.")}


def tags(settings: Mapping[str, Value], label: str, profile: str) -> list[str]:
    """Method, pair, seed and profile; a label that begins with no pair is a bare MLLM's, whose family stands for it."""
    first = label.partition(" ")[0]
    pair = first if first in choices(CONF / "pair") else settings.get("mllm.family", "")
    seed = "" if settings["seed"] is None else f"seed={settings['seed']}"
    found = (settings["method"], pair, seed, profile)
    return [str(tag)[:_LONGEST_TAG] for tag in found if tag]


def name(kind: str, label: str) -> str:
    """What the run is listed as."""
    return f"{kind} {label}"[:_LONGEST_NAME]


def nested(settings: Mapping[str, Value]) -> dict[str, Any]:
    """The settings as wandb wants them: it shows `{injection: {alpha: 1}}` as `injection.alpha`, to filter and plot by.

    Where a key is a value and a group too, the group's members keep their whole names.
    """
    tree: dict[str, Any] = {}
    for key, value in sorted(settings.items(), key=lambda item: item[0].count(".")):
        *groups, leaf = key.split(".")
        place: Any = tree
        for group in groups:
            place = place.setdefault(group, {}) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place[leaf] = value
        else:
            tree[key] = value
    return tree
