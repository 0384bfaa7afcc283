"""Overrides as typed on a command line: each names a known key or choice, else the closest one is named."""

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from drift.errors import closest
from drift.merging.config import Hyperparameters
from pipelines.aliases import ALIASES
from pipelines.errors import ConfigError
from pipelines.schema import Config

_NEAR, _SHOWN = 0.8, 3  # how like a key must be to be meant, and how many are named
# Mappings whose keys the chosen YAML names.
_OPEN = (
    "merge.hyperparameters.",
    "suite.benchmarks.",
    "validation.benchmarks.",
    "injection.group_alpha.",
    "choose.by_scale.",
    "frism.strengths.",
    "launcher.options.",
    "gate.published.",
)

REMEDIES: Mapping[str, str] = {
    "world.seed": "seed=7 draws another world, seeds=[0,1] says which ones a table has",
    "zero": "zero=stage3, or train.zero_stage=3 and train.offload=cpu",
    "data.direct": "only a lab world draws direct questions, for a method that trains; yours go into a folder with the "
    "others: data=folder",
    "data.mix": "unfiltered answers go beside filtered ones in data=mixed and data=lab_mixed, for a method that trains",
    "data.distil": "data=distil, mixed and lab_mixed have questions and a generator; sets of hub and folder are ready",
    "answers": "published answers are scored by profile=published, from the folder answers.root or their repositories",
    "data.root": "data=folder trains on a folder's train.json; benchmarks in a folder are suite=real suite.root=...",
    "data": "only a method that trains reads SFT examples: method=sft, method=drift",
    "train": "only a method that trains has a schedule: method=sft, method=drift",
    "injection": "only method=drift injects; method=sft and the merges don't",
    "prior": "method=drift follows a prior; only the random and shuffled ones draw anything by prior.seed",
    "selection": "method=drift moves what is selected; method=sft moves everything",
    "merge": "a merge is a method: method=ties; only DARE and a random direction draw by merge.seed, and "
    "merge.candidates are chosen from where merge.coefficient=auto",
    "frism": "method=frism learns gates, and chooses from frism.candidates where frism.coefficient=auto",
    "choose": "values are chosen where injection.alpha=auto; choose.by_scale has those of a scale that has its own",
    "validation": "the validation draw is scored where injection.alpha=auto, merge.coefficient=auto or "
    "frism.coefficient=auto",
    "pair": "a lab world builds its own models and reads no repository (pair.source=hub or folder does); only there "
    "do pair.distance and pair.skill count",
    "world": "only what is made in a lab world has its sizes (pair.source, data.source, suite.source)",
    "preflight": "only a published pair, or image_backend=auto for Qwen-VL, wants what a machine may lack",
    "gate": "a published pair whose scores are published is asked for them before anything is trained or merged on it",
    "keep": "only a prior, a merge or a training has weights to keep",
    "seeds": "this is one run, in the world of `seed`; -m seed=0,1,2 makes three",
    "results": "only tables are written there",
    "launcher": "launcher.kind starts a training of several processes: launcher.processes=2 "
    "train.per_device_batch_size=4",
    "engine": "see conf/engine for the keys of each engine",
}


def spelled(words: Iterable[str]) -> list[str]:
    """A command's words, `--trust` and `--force STAGE` as the overrides that they stand for.

    Raises:
        ConfigError: --force without a stage.
    """
    found, forced, rest = [], [], iter(words)
    for word in rest:
        option, _, name = word.partition("=")
        if word == "--trust":
            found.append("trust=true")
        elif option == "--force":
            forced.append(name or next(rest, ""))
        else:
            found.append(word)
    if "" in forced:
        raise ConfigError("--force wants a stage, as in --force merge")
    return [*found, f"force=[{','.join(forced)}]"] if forced else found


@cache
def parse(word: str) -> Override:
    """One override.

    Raises:
        ConfigError: it is not of the form key=value.
    """
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException as error:
        raise ConfigError(f"{word!r} is not of the form key=value, as profile=smoke is: {error}") from None


def parted(words: Iterable[str]) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """The overrides with several values (Hydra's commas) by their keys, and the others as they are."""
    found = {word: parse(word) for word in words}
    axes = {o.get_key_element(): tuple(o.sweep_string_iterator()) for o in found.values() if o.is_sweep_override()}
    return axes, [word for word, override in found.items() if not override.is_sweep_override()]


def choices(group: Path) -> list[str]:
    """The choices of a group's folder; a file that starts with _ is shared by others and is none."""
    return sorted(path.stem for path in group.glob("[!_]*.yaml"))


def openly(words: Iterable[str]) -> list[str]:
    """The overrides, those into a mapping with open keys marked so that Hydra adds the key where it is new."""
    return [f"++{word}" if word.startswith(_OPEN) else word for word in words]


def check_names(words: Iterable[str], conf: Path) -> None:
    """Every override names a known group, choice or key.

    Raises:
        ConfigError: lists all that don't, each with the closest match.
    """
    faults = []
    keys = known_keys()
    for word in words:
        try:
            override = parse(word)
        except ConfigError as error:
            faults.append(str(error))
            continue
        name = override.key_or_group
        if name.startswith("hydra") or override.is_force_add():
            continue
        if (conf / name).is_dir():
            known = choices(conf / name)
            values = override.sweep_string_iterator() if override.is_sweep_override() else [override.value()]
            unknown = [value for value in map(str, values) if value not in known]
            faults += [f"{name} has no choice {value!r}: {closest(value, known)}" for value in unknown]
        elif name not in keys and not name.startswith(_OPEN):
            faults.append(f"unknown key {name!r}: {_meant(word, name, keys)}{remedy(name)}")
    if faults:
        raise ConfigError("\n".join(faults))


def known_keys(node: Any = Config, prefix: str = "") -> set[str]:
    """Every dotted key of a config class, of all its alternatives where a field has several."""
    found = set()
    hints = get_type_hints(node)
    for item in fields(node):
        found.add(f"{prefix}{item.name}")
        for kind in (hints[item.name], *get_args(hints[item.name])):
            if isinstance(kind, type) and is_dataclass(kind):
                found |= known_keys(kind, f"{prefix}{item.name}.")
    return found


def remedy(name: str) -> str:
    """What to do in place of an override that names no key, or changes nothing."""
    key = name.partition("@")[0]
    while key and key not in REMEDIES:
        key = key.rpartition(".")[0]
    return f"; {REMEDIES[key]}" if key else ""


def _meant(word: str, name: str, keys: set[str]) -> str:
    """The keys beside one with a parent; of one without, those that end as it does, or nearly, as they can be typed."""
    parent, _, last = name.rpartition(".")
    if any(key.startswith(f"{parent}.") for key in keys if parent):
        return closest(name, _near(name, keys))
    keys = keys | {f"merge.hyperparameters.{each.name}" for each in fields(Hyperparameters)}
    ends = {key.rpartition(".")[2] for key in keys} | set(ALIASES)
    if last not in ends:
        last = next(iter(get_close_matches(last, ends, n=1, cutoff=_NEAR)), last)
    ending = sorted((key for key in keys if key.rpartition(".")[2] == last), key=lambda key: (key.count("."), key))
    meant = [ALIASES[last]] if last in ALIASES else ending[:_SHOWN]
    if not meant:
        return closest(name, _near(name, keys))
    value = word.partition("=")[2]
    return f"did you mean {' or '.join(f'{key}={value}' for key in meant)}?"


def _near(name: str, keys: set[str]) -> list[str]:
    """The keys beside `name`, so that the list in an error stays readable."""
    parent = name.rpartition(".")[0]
    siblings = [key for key in keys if key.rpartition(".")[0] == parent]
    return siblings or sorted({key.split(".")[0] for key in keys})
