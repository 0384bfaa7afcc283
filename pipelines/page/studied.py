"""What a study says, as far as its worlds have ended: the first words of the lab's page, of its report and of README.

All of it is read from `results/study`, beside the lab's own results; where no study has been run there is nothing.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from pipelines.layout import CLAIMS, FIGURES, REPORT, STUDY_RESULTS, TABLES
from pipelines.page.answer import ASKED, Scores, answer
from pipelines.report.findings import Finding, sentences
from pipelines.report.forest import Forest, Line
from pipelines.study import tuning
from pipelines.study.claims import Verdict
from pipelines.study.report import METRICS, finding
from pipelines.study.spec import Study
from pipelines.study.worlds import ended

PROFILE = "lab"  # the study's worlds are the lab's, so it opens that profile's page
FIRST = tuple(ASKED)  # what a sceptic asks first, in this order; all others follow as they were registered
OPENING = 6  # of them are read first, the rest is opened
_START = "mllm"  # the arm that all others begin with
_SIDES = ("drift", "sft")
_FIGURES = {
    "claims": "The study: every claim's effect with its interval",
    "dose": "The study: accuracy against how far the weights went along Delta, with equal steps",
    "budget": "The study: accuracy against the budget of training",
}
_TALLY: Mapping[str, tuple[str, str]] = {
    "holds": ("holds", "hold"),
    "does not hold": ("does not hold", "do not hold"),
    "equivalent": ("makes no difference that matters", "make no difference that matters"),
    "unresolved": ("is unresolved", "are unresolved"),
}
BELOW = (
    "What follows is of the worlds that `make reproduce` trains, which are none of the study's: there, a row's steps "
    "and trials are the paper's, and not equal. Where the two differ, the study counts."
)


@dataclass(frozen=True)
class Ended:
    """A pair's worlds: how many that count are planned and have ended; the seeds of those that missed a gate."""

    pair: str
    planned: int
    counted: int
    missed: Sequence[int]


@dataclass(frozen=True)
class Studied:
    """What is said of a study.

    Attributes:
        findings: the claims that a world speaks of, in the order in which they are to be read.
        answer: what they say, in plain words.
        waiting: the claims that no world speaks of yet.
        twins: arms of the first pair that came out as one checkpoint, by their names.
        forest: the arm that the first claim is about minus each arm that a claim sets it against.
    """

    study: Study
    folder: Path
    registration: str
    findings: Sequence[Finding]
    answer: Sequence[str]
    waiting: Sequence[str]
    worlds: Sequence[Ended]
    twins: Sequence[Sequence[str]]
    forest: Forest | None

    @property
    def out(self) -> int:
        """How many worlds are still out, of all pairs."""
        return sum(max(0, each.planned - each.counted) for each in self.worlds)

    @property
    def progress(self) -> str:
        """How many worlds have ended, pair by pair, and how many are still out."""
        parts = [f"{each.counted} of {each.planned} worlds of {each.pair}" for each in self.worlds]
        out = f"; {_worlds(self.out)} still out" if self.out else ""
        return f"{', '.join(parts)} have been run{out}."

    @property
    def tally(self) -> str:
        """`36 claims, tested as one family: 9 hold, 1 does not hold. A difference matters from 1.0 points on.`"""
        found = Counter(each.verdict for each in self.findings)
        parts = [f"{count} {_TALLY[verdict][count > 1]}" for verdict in get_args(Verdict) if (count := found[verdict])]
        if self.waiting:
            parts.append(f"{len(self.waiting)} without a world yet")
        margins = " or ".join(sorted({f"{claim.smallest:.1f}" for claim in self.study.claims}))
        count = len(self.findings) + len(self.waiting)
        return (
            f"{count} claims, tested as one family: {', '.join(parts)}. A difference matters from {margins} points on."
        )

    @property
    def warnings(self) -> list[str]:
        """What a reader has to know before the verdicts."""
        lines = []
        if self.out:
            lines.append(f"{_worlds(self.out)} still out: the verdicts were looked at before the end, and may change.")
        lines += [
            f"{each.pair}: {_named(each.missed)} missed a gate; others take their place."
            for each in self.worlds
            if each.missed
        ]
        lines += [f"One checkpoint, so one claim under two names: {' is '.join(names)}." for names in self.twins]
        return lines + list(self._of_tuning())

    def ways(self) -> list[dict[str, str]]:
        """What all begin with and the first pair's arms that the opening speaks of, best first, as rows of a table."""
        named = {what for each in self.findings[:OPENING] for what in (each.first, each.second)}
        named |= {arm.what for name, arm in self.study.arms.items() if name == _START}
        return [way for way in self.every_way() if way["way"] in named]

    def every_way(self) -> list[dict[str, str]]:
        """The first pair's arms, best first, as rows of a table."""
        arms = [row for row in _lines(self.folder / TABLES / f"{self.study.first}.csv") if row["average"]]
        arms.sort(key=lambda row: -float(row["average"]))
        return [
            {
                "way": row["what"],
                **{said: _score(row, metric) for metric, said in METRICS.items()},
                "w_eff, of its own prior": f"{float(row['w_eff']):.2f}" if row["w_eff"] else "",
                "steps": f"{float(row['steps']):.0f}" if row["steps"] else "",
                "worlds": row["worlds"],
            }
            for row in arms
        ]

    def figures(self) -> list[tuple[str, str]]:
        """The study's own figures that are drawn: place and title."""
        there = ((f"{FIGURES}/{name}", said) for name, said in _FIGURES.items())
        return [(place, said) for place, said in there if (self.folder / f"{place}.svg").exists()]

    def told(self) -> str:
        """The answer as Markdown: its first sentences, and the rest as a list below."""
        first, *rest = self.answer or ("",)
        return "\n\n".join((first, "\n".join(f"- {each}" for each in rest)))

    def first_words(self) -> str:
        """What the lab's report opens with, as Markdown."""
        lines = [*self.warnings, *sentences(self.findings[:OPENING])]
        return "\n\n".join(
            (
                "## The study",
                self.told(),
                f"{self.tally} {self.progress} They were written down before a world that is reported was drawn, as "
                f"`{self.registration[:16]}`; [each with its verdict](../{STUDY_RESULTS}/{REPORT}).",
                "\n".join(f"- {line}" for line in lines),
            )
        )

    def _of_tuning(self) -> Iterator[str]:
        """What tuning left open of the arms that the forest shows."""
        tuned, shown = tuning.load(self.folder), {line.label for line in self.forest.lines} if self.forest else set()
        named = {self.study.arms[name].what: each for name, each in tuned.items()}
        lead = {self.findings[0].first} if self.findings else set()
        mine = {what: each for what, each in named.items() if what in shown | lead}
        if at_end := [what for what, each in mine.items() if each.is_end]:
            yield f"The best knob tried is the last one tried, so a better one may lie beyond: {'; '.join(at_end)}."
        if idle := [what for what, each in mine.items() if each.none is not None and each.none >= each.score]:
            yield f"On the validation draw none of it did as well or better: {'; '.join(idle)}."


def studied(results: Path) -> Studied | None:
    """What the study beside these results says; None where none has been run, or the results are not the lab's own."""
    folder = results.with_name(STUDY_RESULTS)
    if results.name != PROFILE or not (folder / CLAIMS).exists():
        return None
    record = json.loads((folder / CLAIMS).read_text(encoding="utf-8"))
    study = Study.load(record["study"])
    claims = sorted(record["claims"], key=lambda claim: _place(claim["name"]))
    spoken = [claim for claim in claims if claim["worlds"]]
    if not spoken:
        return None
    found = {claim["name"]: finding(claim, study) for claim in spoken}
    return Studied(
        study,
        folder,
        record["preregistration"],
        list(found.values()),
        answer(found, _scores(folder, study), record["twins"]),
        [claim["sentence"] for claim in claims if not claim["worlds"]],
        [_ended(pair, plan.worlds, folder) for pair, plan in study.pairs.items()],
        record["twins"],
        _forest(spoken, study),
    )


def _scores(folder: Path, study: Study) -> Scores:
    """What each world of the first pair has right of the first claim's two sides, and of what all begin with."""
    found: dict[int, dict[str, float]] = {}
    for row in _lines(folder / TABLES / f"{study.first}_worlds.csv"):
        if row["arm"] in (_START, *_SIDES):
            found.setdefault(int(row["world"]), {})[row["arm"]] = float(row["average"])
    return found


def _lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _place(name: str) -> int:
    return FIRST.index(name) if name in FIRST else len(FIRST)


def _ended(pair: str, planned: int, folder: Path) -> Ended:
    missed = {seed: bool(world.excluded) for seed, world in ended(folder, pair).items()}
    return Ended(pair, planned, sum(not each for each in missed.values()), [s for s, each in missed.items() if each])


def _forest(claims: Sequence[Mapping[str, Any]], study: Study) -> Forest | None:
    """Every claim that sets the first claim's first arm against another, by the same metric in the same pair."""
    lead = claims[0]
    lines: dict[tuple[float, ...], Line] = {}  # arms that are one checkpoint are one line
    for claim in claims:
        is_alike = (claim["pair"], claim["metric"]) == (lead["pair"], lead["metric"])
        if is_alike and claim["low"] is not None and lead["first"] in (claim["first"], claim["second"]):
            sign = 1 if claim["first"] == lead["first"] else -1
            few = f" ({claim['worlds']} worlds)" if claim["worlds"] < lead["worlds"] else ""
            other = study.arms[claim["second" if sign > 0 else "first"]].what
            line = Line.of(finding(claim, study), other + few, sign)
            known = lines.setdefault(tuple(line.worlds), line)
            if line.label not in known.label:
                lines[tuple(line.worlds)] = replace(known, label=f"{known.label} = {line.label}")
    ordered = sorted(lines.values(), key=lambda line: -line.effect)
    title = f"{study.arms[lead['first']].what} minus each other way: {METRICS.get(lead['metric'], lead['metric'])}"
    return Forest(f"{title}, in points", ordered) if ordered else None


def _score(row: Mapping[str, str], metric: str) -> str:
    if not row[metric]:
        return ""
    return f"{float(row[metric]):.1f} ({float(row[f'{metric}_low']):.1f}, {float(row[f'{metric}_high']):.1f})"


def _worlds(count: int) -> str:
    return f"{count} world{'s are' if count != 1 else ' is'}"


def _named(seeds: Sequence[int]) -> str:
    return f"world{'s' * (len(seeds) != 1)} {', '.join(map(str, seeds))}"
