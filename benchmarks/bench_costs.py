"""How far the plan's prices are from what was measured, at three sizes of the lab's models: make bench-costs

A world of each size is made from nothing (models, prior, merge, SFT, answers), its CPU seconds are read from the
manifests, the rates are fitted to two sizes, and the third is predicted. CPU seconds, because a busy machine stretches
wall time. Nothing of the worlds is kept; their models have learnt nothing.
"""

import argparse
import json
import logging
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines import calibrate, compose, plan
from pipelines.environment import set_defaults
from pipelines.rates import STANDARD, Measurement, Rates, fit
from pipelines.resources import size
from pipelines.session import scheduler
from pipelines.stage import ordered

STAGES = ("train", "generate", "merge", "prior", "model")
_SHORT = [
    *(f"world.{name}.steps=20" for name in ("base", "expert", "cells", "mllm")),
    *(f"world.gates.{name}=0" for name in ("cell_accuracy", "expert_text", "near_expert_text", "reads_four")),
    *("world.sft_items=200", "world.suite_items=60", "train.epochs=2", "seeds=[0]", "tracker=disabled"),
]


@dataclass(frozen=True)
class Measured:
    """One call at one size: its work, and what it took."""

    factor: int
    parameters: int
    measurement: Measurement


def shape(factor: int) -> list[str]:
    """The lab's language model, so many times as wide, its heads as wide as before."""
    sizes = {"hidden": 64, "heads": 4, "kv_heads": 2, "feed_forward": 128}
    return [f"world.language.{name}={value * factor}" for name, value in sizes.items()]


def measure(factor: int, store: Path) -> list[Measured]:
    """Makes one world and reads what each of its calls took."""
    words = ["profile=smoke", *_SHORT, *shape(factor), f"store={store}", "launcher.workers=1"]
    configs = [compose.load([*words, f"method={method}"]) for method in ("sft", "task_arithmetic")]
    targets = [plan.score(config) for config in configs]
    outcome = scheduler(configs[0]).execute(targets)
    return [
        Measured(factor, size(call).parameters, Measurement(*asked, outcome[call].manifest["cpu_seconds"]))
        for call in ordered(targets)
        if call.stage.name in STAGES and (asked := calibrate.work_of(call))
    ]


def compare(measured: Sequence[Measured], left_out: int) -> list[str]:
    """Rows of the one size that is predicted from the others, summed by stage."""
    rates = fit([each.measurement for each in measured if each.factor != left_out], Rates(STANDARD.rates))
    sums: dict[str, list[Measured]] = defaultdict(list)
    for each in measured:
        if each.factor == left_out:
            sums[each.measurement.stage].append(each)
    rows = []
    for stage in STAGES:
        took = sum(each.measurement.seconds for each in sums[stage])
        said = sum(rates.rates[f"{stage}/cpu"].seconds(each.measurement.work) for each in sums[stage])
        numbers = f"{len(sums[stage])} | {took:.2f} | {said:.2f} | {said / took - 1:+.0%}"
        rows.append(f"| x{left_out} | {stage} | {numbers} |")
    return rows


def main() -> None:
    """Prints a table, and each measurement as JSON where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--factors", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--json", type=Path)
    words = parser.parse_args()
    set_defaults()
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        measured = [each for factor in words.factors for each in measure(factor, Path(folder) / str(factor))]
    print("| size predicted | stage | calls | CPU s measured | CPU s predicted from the others | error |")
    print("| --- | --- | --- | --- | --- | --- |")
    for factor in words.factors:
        print("\n".join(compare(measured, factor)))
    if words.json:
        rows = [{"factor": m.factor, "parameters": m.parameters, **vars(m.measurement)} for m in measured]
        words.json.write_text(json.dumps(rows, default=vars, indent=1))


if __name__ == "__main__":
    main()
