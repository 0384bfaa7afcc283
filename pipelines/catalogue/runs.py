"""Every score of a store as a run: all settings of everything that it was made from, by their names in the config.

Settings are what was computed, whatever a label says: the score's manifest records them; of one of before it did they
are read from its inputs' manifests. A setting that no manifest holds changed nothing: two scores with equal settings
are one artifact.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.errors import StoreError
from pipelines.store import Store

RUN = "run"
"""What a score's manifest says of the run behind it: `name`, `command` and `config`."""
GROUPS = ("pair", "suite", "data", "engine", "judge", "answers")
CHOSEN = ("profile", *GROUPS)
"""What of a config is a choice with a name, and stands in no parameter."""
Manifest = Mapping[str, Any]
Value = str | int | float | bool | None

# The config's name for what a stage calls otherwise.
_SECTIONS = {"training": "train", "benchmarks": "suite", "generate": "suite"}
_SCALE = "injection.scale"
_WORLD_SIZES = ("sft_items", "suite_items", "wemath_groups")  # 0 where a world's size does not count


@dataclass(frozen=True)
class Run:
    """A score and its lineage.

    Attributes:
        lineage: the manifests that it was made from, its own first, by the way from it: `responses.model.prior`;
            without those that were removed since.
    """

    path: Path
    lineage: Mapping[str, Manifest]

    @property
    def name(self) -> str:
        """What it differs in from its method's default; its label where its manifest is of before it said so."""
        return str(self.manifest[RUN]["name"] if RUN in self.manifest else self.manifest["label"])

    @property
    def manifest(self) -> Manifest:
        return self.lineage[""]

    @property
    def fingerprint(self) -> str:
        return str(self.manifest["fingerprint"])

    @cached_property
    def scores(self) -> dict[str, float]:
        """Percent by column, and their mean as `average`."""
        found = dict(self.manifest["values"]["scores"])
        return found | {"average": sum(found.values()) / len(found)}

    @cached_property
    def known(self) -> Mapping[str, Value]:
        """Settings and scores."""
        return {**self.settings, **self.scores}

    @cached_property
    def settings(self) -> dict[str, Value]:
        """Every setting by its name (`settings_of`); of plain SFT no strength of an injection, which it has not."""
        found = dict(self.manifest[RUN]["config"]) if RUN in self.manifest else settings_of(self.lineage)
        if found["method"] != "sft":
            return found
        return {key: value for key, value in found.items() if not key.startswith("injection.") or key == _SCALE}


def runs(store: Path) -> list[Run]:
    """Every score of the store, the oldest first; of one that an earlier version made too, the later one.

    Raises:
        StoreError: no store, or an input that is not there of a score that does not say its config itself.
        DamageError: a manifest that is not what was written.
    """
    if not store.is_dir():
        raise StoreError(f"{store} is no store of artifacts; `make reproduce` fills one, store=FOLDER names another")
    known = {artifact.fingerprint: artifact for artifact in Store(store).manifests()}
    scores = [artifact for artifact in known.values() if artifact.manifest["stage"] == "score"]
    scores.sort(key=lambda artifact: (artifact.manifest["started"], artifact.fingerprint))
    manifests = {fingerprint: artifact.manifest for fingerprint, artifact in known.items()}
    found = [Run(score.path, dict(lineage(score.manifest, manifests))) for score in scores]
    return list({_asked(run): run for run in found}.values())


def _asked(run: Run) -> frozenset[tuple[str, str]]:
    """What was asked for, whatever version of a stage answered."""
    return frozenset((key, repr(value)) for key, value in run.settings.items() if key not in CHOSEN)


def settings_of(lineage: Mapping[str, Manifest]) -> dict[str, Value]:
    """`method`, `seed`, and every parameter of a score and of what it is made from, by its dotted name.

    Where artifacts of one lineage differ in a parameter, what is nearest to the score has the name, and the others have
    it behind the way to them.

    Args:
        lineage: `stage` and `params` by the way from the score.
    """
    places: dict[str, dict[str, Value]] = defaultdict(dict)
    for way, manifest in lineage.items():
        for key, value in _parameters(manifest):
            places[key][way] = value
    named: dict[str, Value] = {}
    for key, found in places.items():
        named |= _apart(key, found)
    # The seed is the world's; a published pair has the training's.
    seed = named.get("world.seed", named.get("train.seed"))
    return {"method": _method(lineage), "seed": seed} | named


def _method(lineage: Mapping[str, Manifest]) -> str:
    made = lineage.get("responses.model")
    if made is None:  # answers that somebody published, whoever gave them
        return str(lineage["responses"]["stage"])
    if made["stage"] == "merge":
        is_after = lineage["responses.model.mllm"]["stage"] == "train"
        return "sft_merge" if is_after else str(made["params"]["merge"]["method"])
    if made["stage"] == "frism":
        return "frism"
    if made["stage"] != "train":
        return "baseline"
    if (start := lineage["responses.model.model"])["stage"] == "merge":
        return _merged_first(start["params"])
    return "sft" if made["params"]["injection"]["scale"] == "none" else "drift"


def _merged_first(merge: Mapping[str, Any]) -> str:
    """What starts from a merge: as far as a DRIFT run went, all the way, or as far as was said."""
    if merge["matched"] is not None:
        return "merge_sft"
    return "expert_sft" if merge["merge"]["hyperparameters"].get("weight_mllm") == 0 else "merged_sft"


def lineage(
    manifest: Manifest, known: Mapping[str, Manifest], way: str = "", is_told: bool = False
) -> Iterator[tuple[str, Manifest]]:
    """A manifest and those of all that it is made from, by the way to each.

    Raises:
        StoreError: one of them is not known, and nobody has told what was made from it.
    """
    yield way, manifest
    is_told = is_told or RUN in manifest
    for name, fingerprint in manifest["inputs"].items():
        if fingerprint not in known and is_told:
            continue
        if fingerprint not in known:
            raise StoreError(f"{manifest['label']}: its {name} {fingerprint[:20]} is not in the store")
        yield from lineage(known[fingerprint], known, f"{way}.{name}".lstrip("."), is_told)


def _parameters(manifest: Manifest) -> Iterator[tuple[str, Value]]:
    """A stage's parameters by their dotted names; a model's go by its role, as its pair has them."""
    params = manifest["params"]
    stage = manifest["stage"]
    section = params["role"] if stage == "model" else _SECTIONS.get(stage, stage)
    for name, value in params.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"suite.{name}" if name == "benchmarks" else _SECTIONS.get(name, name))
        else:
            yield f"{section}.{name}", _plain(value)


def _flat(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Value]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}.{name}")
        elif not (prefix == "world" and name in _WORLD_SIZES and value == 0):
            yield f"{prefix}.{name}", _plain(value)


def _plain(value: Any) -> Value:
    return "+".join(map(str, value)) if isinstance(value, list) else value


def _apart(key: str, found: Mapping[str, Value]) -> dict[str, Value]:
    """The name for the value that is nearest to the score, and the way before it for those that differ from it."""
    ways = sorted(found, key=lambda way: (way.count("."), way))
    first = found[ways[0]]
    others = {f"{way}.{key}": found[way] for way in ways if repr(found[way]) != repr(first)}
    return {key: first} | others
