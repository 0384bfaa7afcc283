"""One checkpoint, made and scored: drift run [-m] [overrides]

Every Hydra feature is there: `-m` sweeps, `--cfg job` prints the config, `--hydra-help` lists the rest. Whatever a
sweep's runs share is made once. The same as `python -m pipelines.run`.

Example:
    drift run method=drift injection.alpha=-0.3
    drift run -m method=drift injection.alpha=-0.1,-0.3
    drift run method=ties --cfg job
"""

import json
import logging
import sys
from collections.abc import Sequence

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from pipelines import compose, effects, plan, preflight, revisions
from pipelines.overrides import check_names, openly, parse
from pipelines.session import DEGRADED, guarded, scheduler

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
        line = {"label": target.label, "scores": artifact.values["scores"], "artifact": str(artifact.path)}
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


def main(words: Sequence[str]) -> int:
    """The command `drift run`; the exit status."""
    return guarded(lambda: run(words), words, __doc__)


def run(words: Sequence[str]) -> int:
    """Checks the overrides as a whole, then hands over to Hydra."""
    overrides = [word for word in words if not word.startswith("-") and "=" in word]
    check_names(overrides, compose.CONF)
    if not any(parse(word).is_sweep_override() for word in overrides):
        compose.load(overrides)  # whose refusals say what to do; Hydra's own are long
    sys.argv[1:] = openly(words)  # where Hydra looks for them
    _main()
    return max(_statuses, default=0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
