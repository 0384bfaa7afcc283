"""Which model answered: a checkpoint folder's identity by the content that decides its responses, and by nothing else.

Weights, network, tokenizer, image processor, chat template and generation defaults count. A training's records beside
them (wall time, metrics, the job), a model card, the folder's place and the library that wrote the files do not, so two
trainings that end in the same checkpoint have one name.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from drift.files import sha256_of
from evaluation.engines.base import EngineError

_WEIGHTS = frozenset({".safetensors", ".bin"})
_VOCABULARIES = frozenset({".model", ".tiktoken", ".jinja"})
_NAMES = frozenset({"tokenizer.json", "vocab.json", "vocab.txt", "merges.txt"})
_CONFIGS = frozenset(
    {
        "config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json",
        "added_tokens.json", "chat_template.json", "processor_config.json", "preprocessor_config.json",
        "video_preprocessor_config.json",
    }
)  # fmt: skip
# Written by whoever saved the file, read by nothing that answers.
_PROVENANCE = frozenset({"transformers_version", "_name_or_path", "name_or_path", "is_local", "local_files_only"})


def checkpoint_folder(model: Path) -> Path:
    """The folder, if there is a checkpoint in it; else an EngineError."""
    if not (model / "config.json").is_file():
        raise EngineError(f"{str(model)!r} is no checkpoint: it has no config.json; the engine needs `model`, a folder")
    return model


def folder_sha256(folder: Path) -> str:
    """The hash of every file that decides what the checkpoint answers, with the files' names.

    Configurations are compared by meaning: layout, key order and the writer's own marks don't count. Reads the weights
    whole: about a second for each gigabyte.

    Raises:
        EngineError: the folder holds no weights, or a configuration that is no JSON.
    """
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    if not any(path.suffix in _WEIGHTS for path in files):
        raise EngineError(f"{folder} holds no weights (*{', *'.join(sorted(_WEIGHTS))}); it is no checkpoint")
    digest = hashlib.sha256()
    for path in files:
        if path.name in _CONFIGS:
            try:
                content = json.loads(path.read_bytes(), object_hook=_without_provenance)
            except ValueError as error:
                raise EngineError(f"{path} is no JSON: {error}; save the checkpoint again") from error
            digest.update(f"{path.name}\0{json.dumps(content, sort_keys=True)}\0".encode())
        elif path.name in _NAMES or path.suffix in _WEIGHTS | _VOCABULARIES:
            digest.update(f"{path.name}\0{sha256_of(path)}\0".encode())
    return digest.hexdigest()


def _without_provenance(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in _PROVENANCE}
