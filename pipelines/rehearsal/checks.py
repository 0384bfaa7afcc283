"""What can be known to fail before anything is downloaded, and before anything runs: each fault by its name.

The first half asks the plan against what the hub publishes (`facts`), and is cheap enough for every run; the second
looks into the folders and artifacts that a rehearsal has.
"""

import logging
import math
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from drift.errors import DriftError
from drift.families import get_family
from evaluation.benchmarks import get_benchmark
from evaluation.data.tsv import load_items
from pipelines.errors import RehearsalError
from pipelines.rehearsal.cut import cut
from pipelines.rehearsal.facts import Facts, differences, facts
from pipelines.schema import Config, Pair

log = logging.getLogger(__name__)

ROLES = ("mllm", "expert", "base", "prior_base")
ROOM = 8e9  # measured: 1 GB of checkpoints, 5 GB of artifacts and of the optimizers' states while two train
_SHAPES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size")


def planned_faults(configs: Iterable[Config]) -> list[str]:
    """All that the rows of a plan ask of published checkpoints which these can't give, each once."""
    found: list[str] = []
    for config in configs:
        if config.pair.source == "hub":
            found += [*_limit_faults(config), *_shape_faults(config.pair), *_vocabulary_faults(config)]
    return list(dict.fromkeys(found))


def _limit_faults(config: Config) -> Iterator[str]:
    """Limits of an area where the family's published image processor is sized by something else."""
    pair, published = config.pair, facts(config.pair.mllm.repo)
    family = get_family(pair.family)
    if published.config["model_type"] != pair.family or published.sized_by != family.sized_by:
        yield (
            f"another family: pair.family is {pair.family}, sized by {family.sized_by or 'nothing'}, and "
            f"{pair.mllm.repo} is a {published.config['model_type']}, sized by {published.sized_by or 'nothing'}"
        )
    limits = config.engine.settings.pixel_limits
    if limits and published.sized_by != "area":
        yield (
            f"image limits of another family: {limits} are areas, and {pair.mllm.repo}'s image processor is sized by "
            f"{published.sized_by or 'nothing'}; say pair.min_pixels=null pair.max_pixels=null"
        )


def _shape_faults(pair: Pair) -> Iterator[str]:
    """Models whose LMs are not of one shape."""
    ours = facts(pair.mllm.repo).language
    for role in ROLES[1:]:
        theirs = facts(getattr(pair, role).repo).language
        for name in _SHAPES:
            if ours[name] != theirs[name]:
                yield (
                    f"another architecture: {name} is {ours[name]} in {pair.mllm.repo} and {theirs[name]} in "
                    f"pair.{role} {getattr(pair, role).repo}"
                )


def _vocabulary_faults(config: Config) -> Iterator[str]:
    """A head that is to be moved toward one of another size, or is tied to the embeddings."""
    if "lm_head" not in config.selection.groups:
        return
    ours, theirs = facts(config.pair.mllm.repo), facts(config.pair.expert.repo)
    sizes = [known.language["vocab_size"] for known in (ours, theirs)]
    if sizes[0] != sizes[1]:
        yield (
            f"another vocabulary: lm_head is selected, and {ours.repo} has {sizes[0]} words, {theirs.repo} {sizes[1]}; "
            "leave lm_head out: selection=attn_mlp_norm"
        )
    if ours.config["tie_word_embeddings"]:
        yield f"lm_head is selected, and {ours.repo} ties it to its embeddings; leave it out: selection=attn_mlp_norm"


def check_room(place: Path) -> None:
    """Raises RehearsalError where the disk has not room for a rehearsal."""
    free = shutil.disk_usage(next(folder for folder in (place, *place.parents) if folder.exists())).free
    if free < ROOM:
        raise RehearsalError(
            f"too little disk: a rehearsal writes up to {ROOM / 1e9:.0f} GB and {place} has {free / 1e9:.1f} GB free; "
            "free some, or say store=FOLDER"
        )


def check_folder(folder: Path, known: Facts) -> None:
    """The checkpoint is whole, and the cut of what is published.

    Raises:
        DriftError: names the missing shard, or the number that differs.
    """
    from drift.checkpoints import Checkpoint

    found = Checkpoint(folder).config
    if (wrong := next(differences(cut(known.config), found), None)) is not None:
        raise RehearsalError(f"{folder} is another model than {known.repo} cut small: {wrong}")


def check_fit(folders: dict[str, Path], pair: Pair, groups: Sequence[str]) -> None:
    """The expert and both bases hold what the MLLM's LM has, name by name and shape by shape.

    Raises:
        DriftError: names the renamed or missing tensor.
    """
    from drift.sources import check_fit as fit
    from drift.sources import open_source, select_target

    mllm = open_source(folders[pair.mllm.repo])
    names = select_target(mllm, groups)
    for role in ROLES[1:]:
        try:
            fit(mllm, open_source(folders[getattr(pair, role).repo]), names)
        except DriftError as error:
            raise RehearsalError(f"pair {pair.name}, {role}: {error}") from error


def check_splits(validation: Path, test: Path, names: Iterable[str]) -> None:
    """No item that something was chosen on is one that is reported.

    Raises:
        RehearsalError: says of which benchmark how many are.
    """
    for name in names:
        benchmark = get_benchmark(name)
        seen, told = (
            {item.index for item in load_items(folder / benchmark.tsv, benchmark, with_images=False)}
            for folder in (validation, test)
        )
        if both := seen & told:
            raise RehearsalError(
                f"{name}: {len(both)} of its {len(told)} test items are validation items, {min(both)!r} for one; what "
                "is chosen on them must not be reported on them"
            )


def check_trained(values: dict, label: str, steps: int) -> None:
    """A training went as far as it should, lost no number, and an injection reached every parameter.

    Raises:
        RehearsalError: it did not.
    """
    if values["steps"] != steps or not math.isfinite(values["loss"]):
        raise RehearsalError(f"{label}: {values['steps']} steps of {steps}, loss {values['loss']}")
    if values["covered"] != values["expected"]:
        raise RehearsalError(f"{label}: the prior covers {values['covered']} of {values['expected']} parameters")
