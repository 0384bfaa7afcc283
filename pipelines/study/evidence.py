"""What a study's folder says: worlds of one registration, and effects and scores from their verdicts alone.

No model, no store: everything that a study reports is computed from `results/<study>/`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from drift.errors import DataError
from evaluation.statistics import Interval, share_over_worlds, wilson
from pipelines.errors import StoreError
from pipelines.report.effects import Effect
from pipelines.report.outcomes import Outcomes, strata
from pipelines.study.claims import Finding, findings
from pipelines.study.spec import Claim, Study, options
from pipelines.study.tuning import Tuned, load
from pipelines.study.worlds import Verdicts, World, read

_RECORD = re.compile(r"(?P<pair>.+)-(?P<seed>\d+)\.json")
_LOOSE = "_loose"


@dataclass(frozen=True)
class Evidence:
    """A study, what tuning chose, and the worlds that have ended.

    Attributes:
        reasoning, perception: the columns of the two metrics that are means.
        starts: how far along Delta the training of an arm begins, for the arms that train what a merge made.
    """

    study: Study
    tuned: Mapping[str, Tuned]
    worlds: Mapping[tuple[str, int], tuple[World, Verdicts]]
    reasoning: tuple[str, ...]
    perception: tuple[str, ...]
    starts: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        study: Study,
        folder: Path,
        columns: tuple[Sequence[str], Sequence[str]],
        starts: Mapping[str, float],
    ) -> "Evidence":
        """Every world that ended.

        Raises:
            StoreError: a world of another registration than the study's files and `tuned.json` give, or of another
                recipe than the rest.
        """
        tuned = load(folder)
        digest, found, recipes = study.digest(tuned), {}, dict[str, str]()
        for path in sorted((folder / "worlds").glob("*.json")):
            if (name := _RECORD.fullmatch(path.name)) is None:
                raise StoreError(f"{path} is no world's record; they are called <pair>-<seed>.json")
            pair, seed = name["pair"], int(name["seed"])
            world, verdicts = read(folder, pair, seed)
            if world.registration != digest:
                raise StoreError(
                    f"{path} was made under registration {world.registration[:12]}; conf/study/{study.name}.yaml, its "
                    f"claims and tuned.json give {digest[:12]}. Worlds of two registrations are not pooled: put the "
                    "files back, or start a study of another name"
                )
            found[pair, seed] = (world, verdicts)
            if world.recipe != (first := recipes.setdefault(pair, world.recipe)):
                raise StoreError(
                    f"{path} was made by another recipe ({world.recipe[:12]}) than the first world of {pair} "
                    f"({first[:12]}): something below conf/ or a stage's version has changed between them. Move the "
                    "worlds of one recipe away"
                )
        return cls(study, tuned, dict(sorted(found.items())), tuple(columns[0]), tuple(columns[1]), starts)

    @cached_property
    def registration(self) -> str:
        """The sha256 of what was written down before the worlds were drawn."""
        return self.study.digest(self.tuned)

    def of(self, pair: str) -> dict[int, Verdicts]:
        """A pair's worlds that count, by seed."""
        return {
            seed: found for (name, seed), (world, found) in self.worlds.items() if name == pair and not world.excluded
        }

    def columns(self, metric: str) -> tuple[str, ...]:
        """The columns that a metric is the mean of.

        Raises:
            DataError: no such metric.
        """
        known = {"average": self.reasoning, "perception": self.perception}
        if metric in known:
            return known[metric]
        if metric.removesuffix(_LOOSE) not in (*self.reasoning, *self.perception):
            raise DataError(f"no metric {metric!r}; there are average, perception and {', '.join(self.reasoning)}")
        return (metric,)

    def arm(self, side: str) -> str:
        """The arm that one side of a claim is: the one, or of several the one that scored best in tuning."""
        return max(options(side), key=lambda name: self.tuned[name].score if name in self.tuned else 0.0)

    def effects(self, claim: Claim) -> list[Effect]:
        """A claim's effect in each world that has both arms, first minus second on the questions that both answered."""
        pair = self.study.of(claim)
        first, second = self.arm(claim.first), self.arm(claim.second)
        return [
            Effect.of([np.ravel(each) for each in strata([self._difference(verdicts, first, second, claim.metric)])])
            for verdicts in self.of(pair).values()
            if {first, second} <= verdicts.keys()
        ]

    def _difference(self, verdicts: Verdicts, first: str, second: str, metric: str) -> dict[str, Any]:
        return {c: verdicts[first][c].minus(verdicts[second][c]) for c in self.columns(metric)}

    @cached_property
    def findings(self) -> dict[str, Finding]:
        """Every claim's answer, all of them one family; claims without a world are left out."""
        asked = {claim.name: (self.effects(claim), claim.expected, claim.smallest / 100) for claim in self.study.claims}
        return findings({name: each for name, each in asked.items() if each[0]})

    def score(self, pair: str, arm: str, metric: str) -> Interval | None:
        """An arm's mean over its worlds, a share; None where it was not asked."""
        columns, worlds = self.columns(metric), self.of(pair).values()
        asked = [verdicts[arm] for verdicts in worlds if set(columns) <= set(verdicts.get(arm, ()))]
        if not asked:
            return None
        shares = [_mean(each, columns) for each in asked]
        units = sum(len(each[c].values) for each in asked for c in columns)
        if len(shares) > 1:
            return share_over_worlds(shares, units)
        return Interval(shares[0], *wilson(shares[0] * units, units), 1)

    def share(self, answered: Mapping[str, Outcomes], metric: str) -> float | None:
        """What an arm has right in one world; None where it was not asked all of the metric's columns."""
        columns = self.columns(metric)
        return _mean(answered, columns) if set(columns) <= set(answered) else None

    def recorded(self, pair: str, arm: str, key: str) -> float | None:
        """The mean over worlds of what the runs of an arm recorded, w_eff from the MLLM on; None where they did not."""
        before = self.starts.get(arm, 0.0) if key == "w_eff" else 0.0
        found = [
            world.arms[arm][key] + before
            for (name, _), (world, _) in self.worlds.items()
            if name == pair and not world.excluded and world.arms.get(arm, {}).get(key) is not None
        ]
        return float(np.mean(found)) if found else None

    def twins(self, pair: str) -> list[tuple[str, ...]]:
        """Arms that are one checkpoint in every world: one arm under several names."""
        records = [world.arms for (name, _), (world, _) in self.worlds.items() if name == pair and not world.excluded]
        marks: dict[tuple[str, ...], list[str]] = {}
        for arm in self.study.arms_of(pair) if records else ():
            made = tuple(str(arms[arm].get("checkpoint", arm)) for arms in records if arm in arms)
            marks.setdefault(made, []).append(arm)
        return [tuple(arms) for made, arms in marks.items() if made and len(arms) > 1]


def _mean(answered: Mapping[str, Outcomes], columns: Sequence[str]) -> float:
    return float(np.mean([np.mean(list(answered[column].values.values())) for column in columns]))
