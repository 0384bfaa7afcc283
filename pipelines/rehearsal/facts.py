"""What the hub publishes about each checkpoint of `conf/pair`, as small committed files; and whether it still does.

`published/OWNER--NAME.json` holds the numbers of config.json, preprocessor_config.json and processor_config.json, and
what a tokenizer is made of (its class, how many words, the tokens behind them), written down without the hub at hand:
`python -m pipelines.rehearsal.facts` fetches the files themselves and says what differs.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from pipelines.errors import RehearsalError

FOLDER = Path(__file__).parent / "published"
_FILES = {"config": "config.json", "preprocessor": "preprocessor_config.json", "processor": "processor_config.json"}


@dataclass(frozen=True)
class TokenizerFacts:
    """A tokenizer's class and size; `added` are the tokens behind its words, by their ids, `roles` their uses."""

    tokenizer_class: str
    kind: Literal["byte_level", "byte_fallback"]
    words: int
    added: Mapping[str, int]
    roles: Mapping[str, str]
    template: str


@dataclass(frozen=True)
class Facts:
    """One repository: its config as the hub spells it, and for an MLLM what its processor is made of.

    `spelled` maps prefixes of tensors' names as this transformers writes them to the hub's, where they differ.
    """

    repo: str
    licence: str
    config: Mapping[str, Any]
    preprocessor: Mapping[str, Any] = field(default_factory=dict)
    processor: Mapping[str, Any] = field(default_factory=dict)
    spelled: Mapping[str, str] = field(default_factory=dict)
    tokenizer: TokenizerFacts | None = None

    @property
    def language(self) -> Mapping[str, Any]:
        """The numbers of its LM, which some families keep in a config of their own."""
        found: Mapping[str, Any] = self.config.get("text_config", self.config)
        return found

    @property
    def sized_by(self) -> str:
        """What bounds a picture in its image processor, in the words of `drift.families`."""
        if not self.preprocessor:
            return ""
        if "min_pixels" in self.preprocessor:
            return "area"
        return "grid" if "image_grid_pinpoints" in self.preprocessor else "edges"


_FACTS = TypeAdapter(Facts)


@cache
def facts(repo: str) -> Facts:
    """What is known of a repository.

    Raises:
        RehearsalError: nothing is; says where to write it down.
    """
    path = FOLDER / f"{repo.replace('/', '--')}.json"
    if not path.is_file():
        raise RehearsalError(
            f"nothing is known of {repo}: write its config.json (and an MLLM's preprocessor_config.json) into {path}, "
            "as the files beside it are"
        )
    return _FACTS.validate_json(path.read_bytes())


def differences(known: Any, found: Any, where: str = "") -> Iterator[str]:
    """Each number of `known` that `found` does not have, with both values; what else `found` holds is no concern."""
    if not isinstance(known, Mapping) or not isinstance(found, Mapping):
        if known != found:
            yield f"{where} is {found!r}, written down is {known!r}"
        return
    for key, value in known.items():
        yield from differences(value, found.get(key), f"{where}.{key}".lstrip("."))


def main() -> int:
    """Fetches every repository's files and prints what differs; 1 where something does."""
    from huggingface_hub import hf_hub_download

    status = 0
    for path in sorted(FOLDER.glob("*.json")):
        known = _FACTS.validate_json(path.read_bytes())
        for part, name in _FILES.items():
            if written := getattr(known, part):
                found = json.loads(Path(hf_hub_download(known.repo, name)).read_text())
                for line in differences(written, found, f"{known.repo} {name}:"):
                    status = 1
                    print(line)
    return status


if __name__ == "__main__":
    sys.exit(main())
