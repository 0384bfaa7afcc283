"""What lies beside merged weights: the MLLM's config, tokenizer and processor, the merge's config and a model card."""

import shutil
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

import torch
import yaml

from drift.merging.config import Method, Value

# By name, since a folder may also hold optimizer states, logs or manifests that are not true of the merged model.
_COPIED = (
    "*config*.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "*.model",
    "*.tiktoken",
    "*.py",
    "LICENSE*",
    "NOTICE*",
)


def copy_side_files(mllm: Path, out: Path) -> None:
    """Copies config, tokenizer and processor files."""
    for path in mllm.iterdir():
        if path.is_file() and any(fnmatch(path.name, pattern) for pattern in _COPIED):
            shutil.copyfile(path, out / path.name)


def source_name(folder: Path) -> str:
    """`org/name` of a snapshot in the Hugging Face cache, else the folder's name; `parent/model` if it is `model`."""
    parts = folder.resolve().parts
    for part in parts:
        if part.startswith("models--"):
            return part.removeprefix("models--").replace("--", "/")
    return "/".join(parts[-2:]) if parts[-1] == "model" else parts[-1]


def merge_config(
    method: Method, used: Mapping[str, Value], folders: Mapping[str, Path], seed: int, dtype: torch.dtype
) -> dict[str, object]:
    """The merge in mergekit's YAML keys, with what mergekit has no word for under `drift`."""
    models = []
    for role in ("mllm", "expert"):
        parameters = {"weight": used[f"weight_{role}"]} if f"weight_{role}" in used else {}
        if "density" in used:
            parameters["density"] = used["density"]
        models.append({"model": source_name(folders[role])} | ({"parameters": parameters} if parameters else {}))
    config: dict[str, object] = {"merge_method": method.key, "models": models}
    if "base" in folders:
        config["base_model"] = source_name(folders["base"])
    config |= {"dtype": "float32", "out_dtype": str(dtype).removeprefix("torch.")}
    config["drift"] = {"variant": method.variant, "seed": seed, "source": method.source, **used}
    return config


def model_card(method: Method, config: Mapping[str, object], folders: Mapping[str, Path], counts: str) -> str:
    """README.md: front matter for the hub, then what was merged, how, and what was left alone."""
    front = {
        "base_model": [source_name(folder) for folder in folders.values()],
        "library_name": "transformers",
        "tags": ["merge", method.key, method.variant],
    }
    rows = "\n".join(f"- {role}: `{source_name(folder)}`" for role, folder in folders.items())
    return (
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n\n"
        f"# {method.key} ({method.variant})\n\n"
        f"A training-free merge of a reasoning expert into the language model of an MLLM: {method.formula}. "
        f"Source: {method.source}.\n\n{rows}\n\n{counts}\n\n"
        f"```yaml\n{yaml.safe_dump(dict(config), sort_keys=False)}```\n"
    )
