"""When each stage ran and on which GPU, drawn from the manifests: python -m pipelines.timeline [overrides]

A reproduction that made something draws its own; this command draws what the store holds. Writes `timeline` as .svg,
.pdf, .png and .csv into `results/<profile>`. A row is a GPU, or a place on the CPU; stages that wanted several GPUs lie
in several rows. Of a store that several runs have filled, the last run is drawn: what was made since the last hour in
which nothing was.
"""

import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines import compose
from pipelines.errors import StoreError
from pipelines.session import guarded, rooted
from pipelines.store import Artifact, Store

log = logging.getLogger(__name__)
STEM = "timeline"  # of its files, beside a report's
_PAUSE_SECONDS = 3600.0
_HATCHES = ("", "///")


@dataclass(frozen=True)
class Span:
    """One stage call: from when to when, in seconds, and where."""

    stage: str
    label: str
    begin: float
    end: float
    host: str
    gpus: tuple[str, ...]


def spans(artifacts: Iterable[Artifact]) -> list[Span]:
    """When each was made, in the order in which they were begun."""
    return sorted((_span(artifact.manifest) for artifact in artifacts), key=lambda span: span.begin)


def _span(manifest: dict[str, Any]) -> Span:
    begin = datetime.fromisoformat(manifest["started"]).timestamp()
    place = manifest.get("place", {"host": "", "gpus": ""})  # artifacts of an earlier code lack it
    gpus = tuple(place["gpus"].split(",")) if place["gpus"] else ()
    return Span(manifest["stage"], manifest["label"], begin, begin + manifest["seconds"], place["host"], gpus)


def last_run(found: Sequence[Span]) -> list[Span]:
    """The spans after the last long pause."""
    first, end = 0, found[0].end
    for place, span in enumerate(found):
        if span.begin - end > _PAUSE_SECONDS:
            first = place
        end = max(end, span.end)
    return list(found[first:])


def rows(found: Sequence[Span]) -> dict[tuple[str, str], list[Span]]:
    """The spans by host and GPU, those without one in as few CPU rows as hold them side by side."""
    lanes: dict[tuple[str, str], list[Span]] = {}
    for span in found:
        for name in span.gpus or (_free_place(lanes, span),):
            lanes.setdefault((span.host, f"GPU {name}" if span.gpus else name), []).append(span)
    return dict(sorted(lanes.items(), key=lambda lane: (lane[0][0], "CPU" in lane[0][1], lane[0][1])))


def _free_place(lanes: dict[tuple[str, str], list[Span]], span: Span) -> str:
    place = 0
    while (lane := lanes.get((span.host, f"CPU {place:02}"))) and lane[-1].end > span.begin:
        place += 1
    return f"CPU {place:02}"


def busy(lanes: dict[tuple[str, str], list[Span]]) -> dict[tuple[str, str], float]:
    """The share of the whole time in which each row had work."""
    every = [span for lane in lanes.values() for span in lane]
    whole = max(span.end for span in every) - min(span.begin for span in every)
    return {name: sum(span.end - span.begin for span in lane) / whole if whole else 1.0 for name, lane in lanes.items()}


def of_run(artifacts: Iterable[Artifact], stem: Path) -> None:
    """Draws when the artifacts of a plan were made, as far as that was one run."""
    once = {artifact.path: artifact for artifact in artifacts}
    draw(rows(last_run(spans(once.values()))), stem)


def draw(lanes: dict[tuple[str, str], list[Span]], stem: Path) -> None:
    """`stem` as .svg, .pdf, .png and .csv."""
    import pandas

    from pipelines.report.style import save, styled

    stem.parent.mkdir(parents=True, exist_ok=True)
    start = min(lane[0].begin for lane in lanes.values())
    data = [
        {"host": host, "row": row, "stage": s.stage, "label": s.label, "begin": s.begin - start, "end": s.end - start}
        for (host, row), lane in lanes.items()
        for s in lane
    ]
    with styled():
        figure = _drawn(lanes, start)
        save(figure, pandas.DataFrame(data).round(3), stem, "When each stage of the last run ran, and where")


def _drawn(lanes: dict[tuple[str, str], list[Span]], start: float) -> Any:
    from matplotlib import pyplot

    from pipelines.report.style import COLOURS

    stages = sorted({span.stage for lane in lanes.values() for span in lane})
    figure, axes = pyplot.subplots(figsize=(10, 1.2 + 0.3 * len(lanes)), layout="constrained")
    for place, stage in enumerate(stages):
        hatch = _HATCHES[place // len(COLOURS) % len(_HATCHES)]
        look: dict[str, Any] = {"facecolor": COLOURS[place % len(COLOURS)], "hatch": hatch}
        for height, lane in enumerate(lanes.values()):
            bars = [(s.begin - start, max(s.end - s.begin, 1e-3)) for s in lane if s.stage == stage]
            axes.broken_barh(bars, (height - 0.4, 0.8), label=stage if bars else None, **look)
    shares = busy(lanes)
    axes.set_yticks(range(len(lanes)), [f"{host} {row} ({shares[host, row]:.0%})".strip() for host, row in lanes])
    axes.invert_yaxis()
    axes.set(xlabel="seconds")
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(handles.values(), handles.keys(), ncols=8, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def main(words: Sequence[str]) -> int:
    """Draws the last run of the configured store.

    Raises:
        StoreError: it holds nothing, or a manifest is damaged.
    """
    config = compose.load(words)
    store, stem = rooted(config.store), rooted(config.results) / STEM
    found = spans(Store(store).manifests())
    if not found:
        raise StoreError(f"{store} holds no artifacts; make some first: make reproduce")
    lanes = rows(last_run(found))
    draw(lanes, stem)
    for (host, row), share in busy(lanes).items():
        log.info("%s %s busy %.0f%%", host, row, 100 * share)
    log.info("Read %s", stem.with_suffix(".svg"))
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:])))
