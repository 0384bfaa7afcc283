"""One checkpoint, made and scored: python -m pipelines.run method=drift injection.alpha=-0.3

Every Hydra feature is there: `-m` sweeps (`injection.alpha=-0.1,-0.3`), `--cfg job`, launchers. Whatever a sweep's runs
share is made once.
"""

import json
import logging
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from pipelines import compose, effects, plan, revisions
from pipelines.overrides import check_names, openly
from pipelines.session import guarded, scheduler

log = logging.getLogger(__name__)


@hydra.main(config_path="../conf", config_name="config", version_base="1.3")
def _main(composed: DictConfig) -> None:
    def run() -> int:
        effects.refuse_idle(list(HydraConfig.get().overrides.task), effects.of_run)
        config = revisions.resolve(compose.to_config(composed), online=True)
        target, *second = plan.targets(config)
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

    status = guarded(run)
    if status:
        sys.exit(status)


def main() -> int:
    """Checks the overrides as a whole, then hands over to Hydra."""
    words = [word for word in sys.argv[1:] if not word.startswith("-") and "=" in word]
    check_names(words, compose.CONF)
    sys.argv[1:] = openly(sys.argv[1:])
    _main()
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
