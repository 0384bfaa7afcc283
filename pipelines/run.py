"""One checkpoint, made and scored: drift run [-m] [--trust] [--force STAGE] [overrides]

Every Hydra feature is there: `--cfg job` prints the config, `--hydra-help` lists the rest. `-m` and `seeds=[0,1,2]`
sweep and aggregate, as `drift sweep`. The same as `python -m pipelines.run`.

Example:
    drift run method=drift injection.alpha=-0.3
    drift run -m method=drift injection.alpha=-0.1,-0.3
    drift run method=ties --cfg job
"""

import json
import logging
import statistics
import sys
from collections.abc import Sequence
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from pipelines import compose, effects, plan, preflight, revisions
from pipelines.catalogue.names import name
from pipelines.overrides import check_names, openly, parse, spelled
from pipelines.scored import read_scores
from pipelines.session import DEGRADED, guarded, scheduler
from pipelines.store import Artifact
from pipelines.sweep import sweep

log = logging.getLogger(__name__)
_statuses: set[int] = set()  # of a sweep's runs


@hydra.main(config_path=str(compose.CONF), config_name="config", version_base="1.3")
def _main(composed: DictConfig) -> None:
    def score() -> int:
        effects.refuse_idle(list(HydraConfig.get().overrides.task), effects.of_run)
        config = revisions.resolve(compose.to_config(composed), online=True)
        target, *second = plan.targets(config)
        preflight.check(config, [target, *second])
        outcome = scheduler(config).execute([target, *second])
        artifact = outcome[target]
        line = {"name": name(config), "scores": artifact.values["scores"], **_summary(artifact)}
        if judged := target.inputs.get("judged"):
            line["judge"] = outcome[judged].values
        for opinion in second:
            line["vlmevalkit"] = {**outcome[opinion].values, "artifact": str(outcome[opinion].path)}
        if config.pair.source == "lab" and config.suite.source != "lab":
            line["note"] = "a lab checkpoint on a real benchmark shows that the path works; the score means nothing"
        print(json.dumps(line))
        log.info("%d stages were run, the rest was in the store", outcome.executed)
        return 0

    status = guarded(score)
    if status == DEGRADED:  # the other runs of a sweep go on, and the command ends with it
        _statuses.add(status)
    elif status:
        sys.exit(status)


def _summary(score: Artifact) -> dict[str, Any]:
    """The mean over the benchmarks, the benchmarks' 95% intervals in percent, and where the verdicts are."""
    scores = {column: scored.score for column, scored in read_scores(score.path).items()}
    headlines = {column: each.metrics[each.headline] for column, each in scores.items()}
    intervals = {column: [metric.low, metric.high] for column, metric in headlines.items()}
    average = round(statistics.fmean(metric.value for metric in headlines.values()), 2)
    return {"average": average, "intervals": intervals, "artifact": str(score.path)}


def main(words: Sequence[str]) -> int:
    """The command `drift run`; the exit status."""
    return guarded(lambda: run(words), words, __doc__)


def run(words: Sequence[str]) -> int:
    """Checks the overrides as a whole, then hands over to Hydra; several seeds or a sweep go to `drift sweep`.

    A sweep by a sweeper or launcher of Hydra's that the words name stays Hydra's.
    """
    words = spelled(words)
    overrides = [word for word in words if not word.startswith("-") and "=" in word]
    is_multirun = any(word in ("-m", "--multirun") for word in words)
    is_hydra_s = any(word.lstrip("+").startswith("hydra") for word in overrides)
    if (is_multirun or any(word.startswith("seeds=") for word in overrides)) and not is_hydra_s:
        return sweep(overrides)
    check_names(overrides, compose.CONF)
    if not any(parse(word).is_sweep_override() for word in overrides):
        compose.load(overrides)  # whose refusals say what to do; Hydra's own are long
    sys.argv[1:] = openly(words)  # where Hydra looks for them
    _main()
    return max(_statuses, default=0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
