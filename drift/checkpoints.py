"""Checkpoint folders, read lazily: headers at first, then whole tensors or flat slices of them, never more."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from drift.errors import CheckpointError, closest
from drift.families import Family, family_of, lm_index, read_config
from drift.safetensors_io import Shard, TensorSpec


class Checkpoint:
    """A folder of safetensors shards; opening it reads headers only, and memory follows what is asked for."""

    def __init__(self, folder: Path | str):
        """Raises:
        CheckpointError: no folder, no safetensors, a shard missing, truncated or at odds with the index.
        """
        self.folder = Path(folder)
        self.shards = [Shard(path) for path in _shard_paths(self.folder)]
        self._home = {name: shard for shard in self.shards for name in shard.specs}
        self._check_index()

    def _check_index(self) -> None:
        path = self.folder / "model.safetensors.index.json"
        if len(self.shards) == 1 and not path.is_file():
            return
        for name, file in _weight_map(path).items():
            if name not in self._home or self._home[name].path.name != file:
                raise CheckpointError(
                    f"{path.name} places {name!r} in {file}, which does not hold it; write the folder again"
                )

    @property
    def names(self) -> list[str]:
        """Every tensor's name as it stands on disk, shard by shard."""
        return list(self._home)

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json."""
        return read_config(self.folder)

    @cached_property
    def family(self) -> Family:
        """The family by config.json's `model_type`."""
        return family_of(self.config)

    def lm_names(self) -> dict[str, str]:
        """{canonical LM name: name on disk} (see drift.families)."""
        return lm_index(self.names, self.family)

    def spec(self, name: str) -> TensorSpec:
        """Shape and dtype of a tensor, by its name on disk.

        Raises:
            CheckpointError: no such tensor; names the closest.
        """
        return self._shard(name).spec(name)

    def read(self, name: str) -> Tensor:
        """The whole tensor in its stored dtype."""
        spec = self.spec(name)
        return self._shard(name).read_slice(name, 0, spec.numel).view(spec.shape)

    def read_slice(self, name: str, start: int, stop: int) -> Tensor:
        """Elements [start, stop) of the flattened tensor in its stored dtype, 1-D; reads only those bytes."""
        return self._shard(name).read_slice(name, start, stop)

    def fingerprint(self) -> dict[str, str]:
        """{shard's file name: sha256}; reads every byte, except of files in the Hugging Face cache."""
        return {shard.path.name: shard.sha256() for shard in self.shards}

    def _shard(self, name: str) -> Shard:
        if name not in self._home:
            raise CheckpointError(f"no tensor {name!r} in {self.folder}; {closest(name, self._home)[:300]}")
        return self._home[name]


def _shard_paths(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise CheckpointError(f"no checkpoint folder at {folder}")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return [folder / file for file in sorted(set(_weight_map(index).values()))]
    single = folder / "model.safetensors"
    if single.is_file():
        return [single]
    found = sorted(path.name for path in folder.iterdir())[:8]
    remedy = "save it with transformers' save_pretrained"
    if "adapter_config.json" in found:
        remedy = "it is a PEFT adapter: load it on its base and save model.merge_and_unload()"
    raise CheckpointError(
        f"{folder} holds neither model.safetensors nor its index (found: {', '.join(found) or 'nothing'}); {remedy}"
    )


def _weight_map(index: Path) -> dict[str, str]:
    try:
        weights = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:  # of JSON and of Unicode, or of another shape
        raise CheckpointError(
            f"{index} is no index of shards: expected a JSON object with 'weight_map' ({error})"
        ) from error
    if not isinstance(weights, dict) or not weights:
        raise CheckpointError(f"{index}: 'weight_map' is {str(weights)[:80]}; expected {{tensor: file}}")
    for file in weights.values():
        if not isinstance(file, str) or Path(file).name != file or file in ("", ".."):
            raise CheckpointError(f"{index} names the shard {file!r}; expected a file beside it")
    return weights
