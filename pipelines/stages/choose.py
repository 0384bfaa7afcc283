"""Picks a hyper-parameter by its scores on the validation draw, over all seeds; never sees the test draw."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.stage import Runtime
from pipelines.stages import ChooseParams
from pipelines.stages.evaluate import mean_score


def choose(params: ChooseParams, runtime: Runtime, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """The value with the highest mean over benchmarks and seeds; of equal ones, the first in the list."""
    means = []
    for place in range(len(params.values)):
        folders = [path for name, path in inputs.items() if name.split(":")[0] == str(place)]
        means.append(sum(mean_score(folder) for folder in folders) / len(folders))
    best = max(range(len(means)), key=lambda place: means[place])
    table = [{"value": value, "validation": mean} for value, mean in zip(params.values, means, strict=True)]
    (out / "choice.json").write_text(json.dumps(table, indent=2))
    return {"chosen": params.values[best], "validation": table}
