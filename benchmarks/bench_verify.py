"""What it costs a re-run to look at what it takes from a store: python benchmarks/bench_verify.py STORE

Processor seconds for every artifact of the store, thrice: its manifest read and its files' sizes compared, and what is
looked at now (seal, list, links, and the record of what was found whole). Reads the store, writes nothing.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipelines.store import MANIFEST, Artifact, Store


def sizes(store: Store, artifact: Artifact) -> None:
    """The least that finds a file which is cut or gone."""
    manifest = json.loads((artifact.path / MANIFEST).read_bytes())
    for name in artifact.present:
        assert (artifact.path / name).stat().st_size == manifest["files"][name]["size"]


def seconds(look: Callable[[Store, Artifact], object], store: Store, artifacts: list[Artifact]) -> float:
    begun = time.process_time()
    for artifact in artifacts:
        look(store, artifact)
    return time.process_time() - begun


def main() -> None:
    store = Store(Path(sys.argv[1]))
    artifacts = [found[0] for path in store.places() if (found := store.open(path))]
    kept = [each for each in artifacts if store.record(each.path).exists()]  # the rest would be read byte by byte
    print(f"{len(kept)} artifacts, {sum(len(each.present) for each in kept)} files")
    for _ in range(3):
        before, now = seconds(sizes, store, kept), seconds(Store.check, store, kept)
        print(f"sizes alone {before:.2f} s, as it is {now:.2f} s: {now - before:.2f} s more")


if __name__ == "__main__":
    main()
