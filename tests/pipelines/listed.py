"""A store's scores with all that they are made from, manifests alone, as a scheduler and its workers record them."""

from pipelines import plan
from pipelines.fingerprint import canonical
from pipelines.scheduler import About, resolve
from pipelines.schema import Config
from pipelines.stage import ordered
from pipelines.store import Artifact, Store


def commit(store: Store, config: Config, average: float, about: About = lambda call, job, done: {}) -> None:
    """Commits a config's score, and of what it is made from what is not there yet.

    Args:
        about: what manifests say of the run; without it they are of before any did.
    """
    done: dict[str, Artifact] = {}
    for call in ordered([plan.score(config)]):
        job, found = resolve(call, done), store.find(call.stage.name, call.key)
        if found is not None:
            done[call.key] = found
            continue
        with store.writing(call.stage.name, call.key) as partial:
            manifest = {
                "stage": call.stage.name, "version": call.stage.version, "fingerprint": call.key, "label": call.label,
                "params": canonical(call.params, whole=True),
                "inputs": {role: source.key for role, source in call.inputs.items()},
                "values": {"scores": dict.fromkeys(config.suite.benchmarks, average)},
                "started": "2026-01-01T00:00:00", "seconds": 1.0, "git": {"sha": "0" * 40, "dirty": False},
                **about(call, job, done),
            }  # fmt: skip
            done[call.key] = store.commit(partial, manifest)
