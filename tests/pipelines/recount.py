"""Every score and difference of a report from the verdicts beside it, by arithmetic that is written a second time."""

import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from scipy.stats import norm, t

from evaluation.statistics import share_over_worlds
from pipelines.layout import OUTLINE, VERDICTS
from pipelines.page.numbers import numbers

Outcomes = Mapping[tuple[str, str, str], Mapping[int, pandas.DataFrame]]  # row, benchmark, protocol -> world -> items


def read(folder: Path) -> Outcomes:
    found: dict[tuple[str, str, str], dict[int, pandas.DataFrame]] = {}
    for path in sorted((folder / VERDICTS).glob("world*.parquet")):
        for (row, seed, benchmark, protocol), items in pandas.read_parquet(path).groupby(
            ["row", "seed", "benchmark", "protocol"]
        ):
            found.setdefault((row, benchmark, protocol), {})[seed] = items
    return found


def percent(items: pandas.DataFrame, metric: str) -> float:
    """Right answers of all, or We-Math's points of all complete groups."""
    return 100 * statistics.fmean(points_of(items, metric).values())


def points_of(items: pandas.DataFrame, metric: str) -> dict[str, float]:
    """What each question is worth: an item 1 where it is right, a complete group of We-Math's its points."""
    if metric not in ("strict", "loose"):
        return dict(zip(items["item"], items["correct"].astype(bool).astype(float), strict=True))
    points = {}
    for name, group in items.groupby("group"):
        right = dict(zip(group["part"], group["correct"].astype(bool), strict=True))
        joint = next((value for part, value in right.items() if part.endswith("multi")), None)
        steps = [value for part, value in right.items() if not part.endswith("multi")]
        if joint is None or len(steps) != int(group["part"].iloc[0][0]):
            continue
        mastered = all(steps) if metric == "strict" else any(steps)
        points[str(name)] = 1.0 if joint and mastered else 0.5 if all(steps) and not joint else 0.0
    return points


def recounted(verdicts: Outcomes, row: str, column: Mapping[str, Any], columns: Sequence[Any], protocol: str) -> Any:
    """The values in each world, how many items they are of, how many of these nobody read, and how many were cut."""
    if column["key"] == "Avg":
        others = [each for each in columns if each["key"] != "Avg"]
        parts = [recounted(verdicts, row, each, columns, protocol) for each in others]
        once = {each["key"].partition("_")[0]: part for each, part in zip(others, parts, strict=True)}
        values = [statistics.fmean(worlds) for worlds in zip(*(part[0] for part in parts), strict=True)]
        return values, *(sum(part[place] for part in once.values()) for place in (1, 2, 3))
    benchmark, metric = place_of(column)
    worlds = verdicts[row, benchmark, protocol]
    counts = (sum(int(f(items)) for items in worlds.values()) for f in (len, _sum("unmatched"), _sum("cut")))
    return [percent(worlds[seed], metric) for seed in sorted(worlds)], *counts


def place_of(column: Mapping[str, Any]) -> tuple[str, str]:
    """A column's benchmark and metric."""
    benchmark, _, metric = column["key"].partition("_")
    return benchmark, metric or ("strict" if column["benchmark"] == "LabWeMath" else "accuracy")


def half_width(
    verdicts: Outcomes, rows: tuple[str, str], columns: Sequence[Mapping[str, Any]], protocol: str, worlds: list[float]
) -> float:
    """Of a difference's interval in points: Student's over worlds, or two thirds of what their questions leave open."""
    scatters: dict[int, dict[tuple[str, int], Any]] = {}
    for column in columns:
        benchmark, metric = place_of(column)
        for seed, items in verdicts[rows[0], benchmark, protocol].items():
            mine = points_of(items, metric)
            other = points_of(verdicts[rows[1], benchmark, protocol][seed], metric)
            added = np.array([mine[name] - other[name] for name in sorted(mine)]) * 100 / len(mine) / len(columns)
            strata = scatters.setdefault(seed, {})
            strata[benchmark, len(added)] = strata.get((benchmark, len(added)), 0.0) + added
    strata = [stratum for each in scatters.values() for stratum in each.values()]
    sizes, n = [len(stratum) for stratum in strata], len(worlds)
    by_questions = sum(size * stratum.var(ddof=1) for size, stratum in zip(sizes, strata, strict=True)) / n
    if max(worlds) - min(worlds) < 1e-9 and by_questions < 1e-9:  # no question tells: as if one each way did
        return 100 * float(t.ppf(0.975, sum(sizes) - len(sizes))) * 2**0.5 / (sum(sizes) + 2)
    student, floor = t.ppf(0.975, n - 1) * statistics.stdev(worlds), norm.ppf(0.975) * 2 / 3 * by_questions**0.5
    return float(max(student, floor)) / n**0.5


def _sum(column: str) -> Any:
    return lambda items: items[column].sum()


def numbers_of(folder: Path) -> Iterator[tuple[str, list[float | None], list[float | None]]]:
    """(where, the page's numbers, the same from the verdicts), for every score and difference."""
    outline = json.loads((folder / OUTLINE).read_text())
    verdicts, own = read(folder), outline["protocols"][0]["name"]
    for table in outline["tables"]:
        if table["kind"] not in ("scores", "distance"):
            continue
        shown, columns = numbers(folder, table, own), table["columns"]
        for protocol in (own, *table["protocols"]):
            values: dict[str, list[list[float]]] = {}
            for label, row in shown.items():
                for column in columns:
                    where, number = f"{table['name']}/{label}", row[column["key"]][protocol]
                    worlds, n, unread, cut = recounted(verdicts, where, column, columns, protocol)
                    values.setdefault(label, []).append(worlds)
                    std = statistics.stdev(worlds) if len(worlds) > 1 else None
                    yield (
                        f"{where}/{column['key']} by {protocol}",
                        [number[key] for key in ("value", "std", "n", "unread", "cut")] + number["runs"],
                        [statistics.fmean(worlds), std, n, unread, cut, *worlds],
                    )
                    if len(worlds) > 1:
                        ends = share_over_worlds([value / 100 for value in worlds], n)
                        pair = [number["low"], number["high"]]
                        yield f"{where}/{column['key']}: interval", pair, [100 * ends.low, 100 * ends.high]
            yield from differences_of(verdicts, table, shown, values, protocol)


def differences_of(
    verdicts: Outcomes,
    table: Mapping[str, Any],
    shown: Mapping[str, Any],
    values: Mapping[str, list[list[float]]],
    protocol: str,
) -> Iterator[tuple[str, list[float | None], list[float | None]]]:
    for label, row in shown.items():
        gains = [row[column["key"]][protocol]["gain"] for column in table["columns"]]
        if gains[0] is None:
            continue
        against = gains[0]["against"]
        rows = f"{table['name']}/{label}", f"{table['name']}/{against}"
        others = [column for column in table["columns"] if column["key"] != "Avg"]
        for gain, column, mine, other in zip(gains, table["columns"], values[label], values[against], strict=True):
            where = f"{rows[0]} minus {against} by {protocol}"
            worlds = [a - b for a, b in zip(mine, other, strict=True)]
            mean = statistics.fmean(worlds)
            yield where, [gain["value"]], [mean]
            if len(worlds) > 1:
                half = half_width(verdicts, rows, others if column["key"] == "Avg" else [column], protocol, worlds)
                yield (
                    f"{where}: interval",
                    [gain["low"], gain["high"]],
                    [max(mean - half, -100.0), min(mean + half, 100.0)],
                )


def check(folder: Path) -> int:
    """How many numbers were held against the verdicts."""
    count = 0
    for where, page, again in numbers_of(folder):
        assert len(page) == len(again), where
        assert all(map(_is_same, page, again)), f"{where}: {page}, and the verdicts give {again}"
        count += len(page)
    return count


def _is_same(page: float | None, again: float | None) -> bool:
    if page is None or again is None:
        return page is again
    return math.isclose(page, again, abs_tol=6e-5, rel_tol=1e-9)
