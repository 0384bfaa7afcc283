"""The study: drift study [tune|run|report|plan|again] [study=NAME] [pair=NAME] [worlds=0,1] [at_once=2] [results=DIR]

Many worlds of the lab, arms that were tuned alike, and claims that were written down first (`conf/study/NAME.yaml`,
`conf/claims/NAME/`). Without a verb it tunes what is not tuned, runs every world that `results/<study>` does not hold,
writes each there as it ends, and the report after it: the same command goes on after a kill, or on another machine
once the folder is there. `report` recomputes everything from that folder alone; `plan` says what is left; `again` makes
worlds that are there once more, in another store, and compares every verdict. `drift claims` prints the verdicts.

Example:
    drift study
    drift study run worlds=3,4
    drift study report study=smoke
    drift study again worlds=3 store=artifacts/again
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, get_args

from drift.errors import closest
from pipelines import compose
from pipelines.errors import ConfigError
from pipelines.session import guarded, rooted, scheduler
from pipelines.study import tuning, worlds
from pipelines.study.evidence import Evidence
from pipelines.study.report import claim_rows, sentence, write
from pipelines.study.spec import Study
from pipelines.study.words import config

log = logging.getLogger(__name__)
Verb = Literal["all", "tune", "run", "report", "plan", "again"]
_OURS = ("study", "worlds", "pair", "at_once", "results")


@dataclass(frozen=True)
class Asked:
    """A command's words. `worlds` and `pair` are empty for all; `at_once` worlds are one plan."""

    verb: Verb
    study: str
    worlds: tuple[int, ...]
    pair: str
    at_once: int
    results: str
    overrides: tuple[str, ...]

    @classmethod
    def of(cls, words: Sequence[str]) -> "Asked":
        """The words apart.

        Raises:
            ConfigError: an unknown verb, or a number that is none.
        """
        verbs = [word for word in words if "=" not in word]
        unknown = [word for word in verbs if word not in get_args(Verb)]
        if unknown or len(verbs) > 1:
            raise ConfigError(f"{' '.join(verbs)}: one verb; {closest((unknown or verbs)[0], get_args(Verb))}")
        given = dict(word.split("=", 1) for word in words if word.partition("=")[0] in _OURS)
        numbers = [*given.get("worlds", "").strip("[]").split(","), given.get("at_once", "2")]
        if wrong := [each for each in numbers if each and not each.isdecimal()]:
            raise ConfigError(f"{wrong[0]!r} is no whole number; say worlds=0,1 and at_once=2")
        rest = tuple(word for word in words if "=" in word and word.partition("=")[0] not in _OURS)
        study = given.get("study", "main")
        if rest and verbs == ["report"]:  # what a folder says, and no config has a part in
            raise ConfigError(f"{rest[0]}: {closest(rest[0].partition('=')[0], _OURS)}")
        return cls(
            verbs[0] if verbs else "all",  # type: ignore[arg-type]
            study,
            tuple(int(each) for each in numbers[:-1] if each),
            given.get("pair", ""),
            max(1, int(numbers[-1])),
            given.get("results", "results/study" if study == "main" else f"results/study-{study}"),
            rest,
        )


def study(words: Sequence[str]) -> int:
    """Tunes, runs and reports, as far as the words ask for it."""
    asked = Asked.of(words)
    found, folder = Study.load(asked.study), rooted(asked.results)
    if asked.pair and asked.pair not in found.pairs:
        raise ConfigError(f"study {found.name} has no pair {asked.pair!r}: {closest(asked.pair, found.pairs)}")
    pairs = [asked.pair] if asked.pair else list(found.pairs)
    if asked.verb in ("all", "tune"):
        _tune(found, asked, folder)
    if asked.verb in ("all", "run"):
        for pair in pairs:
            _run(found, pair, asked, folder)
    if asked.verb == "plan":
        for pair in pairs:
            left = ", ".join(map(str, _left(found, pair, asked, folder)))
            log.info("%s: %s", pair, f"worlds {left} are left" if left else "every world has ended")
        return 0
    if asked.verb == "again":
        return max(_again(found, pair, asked, folder) for pair in pairs)
    write(_held(found, folder), folder)
    log.info("Read %s", folder / "report.md")
    return 0


def _held(study: Study, folder: Path) -> Evidence:
    """What a folder that holds worlds of a study says.

    Raises:
        ConfigError: it holds none, so that nothing is written where something else may lie.
    """
    if not any((folder / "worlds").glob("*.json")):
        raise ConfigError(f"{folder} holds no world of a study; say which folder does, as results=results/study")
    return open_evidence(study, folder)


def open_evidence(study: Study, folder: Path) -> Evidence:
    """What a study's folder says."""
    columns = [tuple(config(study, study.first, words, 0).columns) for words in ((), study.perception)]
    return Evidence.open(study, folder, (columns[0], columns[1]), _starts(study, tuning.load(folder)))


def _starts(study: Study, tuned: Mapping[str, tuning.Tuned]) -> dict[str, float]:
    """How far along Delta an arm's training begins, where it trains a merge: as far as the expert weighs in that."""
    methods = {name: tuple(w for w in arm.overrides if w.startswith("method=")) for name, arm in study.arms.items()}
    merging = {words for words in set(methods.values()) if _trains_a_merge(study, words)}
    made = {
        name: config(study, study.first, tuning.words_of(study, name, tuned), 0).merge.hyperparameters
        for name, words in methods.items()
        if tuned and words in merging
    }
    return {name: float(weights["weight_expert"]) for name, weights in made.items()}


def _trains_a_merge(study: Study, words: Sequence[str]) -> bool:
    method = config(study, study.first, words, 0).method
    return (method.stage, method.start) == ("train", "merge")


def _tune(study: Study, asked: Asked, folder: Path) -> None:
    if tuning.load(folder):
        return
    if any((folder / "worlds").glob("*.json")):
        raise ConfigError(f"{folder} holds worlds and no tuned.json, which they were made with: put it back")
    tuning.save(tuning.tune(study, scheduler(_base(study, asked))), folder)


def _run(study: Study, pair: str, asked: Asked, folder: Path) -> None:
    tuned = tuning.load(folder)
    if not tuned:
        raise ConfigError(f"{folder} holds no tuned.json: drift study tune comes before worlds")
    machine = scheduler(_base(study, asked))
    while seeds := _left(study, pair, asked, folder)[: asked.at_once]:
        worlds.run(study, pair, seeds, tuned, machine, folder)
        write(open_evidence(study, folder), folder)
        log.info("%s: worlds %s have ended", pair, ", ".join(map(str, seeds)))


def _again(study: Study, pair: str, asked: Asked, folder: Path) -> int:
    """Worlds made once more and compared; 1 where a verdict differs."""
    ended = worlds.ended(folder, pair)
    seeds = [seed for seed in asked.worlds or ended if seed in ended]
    tuned, differ = tuning.load(folder), 0
    with TemporaryDirectory() as place:
        worlds.run(study, pair, seeds, tuned, scheduler(_base(study, asked)), Path(place))
        for seed in seeds:
            (_, before), (_, after) = worlds.read(folder, pair, seed), worlds.read(Path(place), pair, seed)
            unequal = [arm for arm in before if before[arm] != after.get(arm)]
            log.info("%s %d: %s", pair, seed, f"{', '.join(unequal)} differ" if unequal else "every verdict is equal")
            differ += bool(unequal)
    return min(differ, 1)


def _left(study: Study, pair: str, asked: Asked, folder: Path) -> list[int]:
    """The worlds to run: those asked for that have not ended, else as many as are lacking of worlds that count."""
    ended = worlds.ended(folder, pair)
    if asked.worlds:
        return [seed for seed in asked.worlds if seed not in ended]
    lacking = study.pairs[pair].worlds - sum(not world.excluded for world in ended.values())
    return [seed for seed in range(min(study.tuning)) if seed not in ended][:lacking]


def _base(study: Study, asked: Asked) -> compose.Config:
    return compose.load([*study.common, *asked.overrides])


def claims(words: Sequence[str]) -> int:
    """Prints each claim with its effect, interval and verdict, from the study's folder alone."""
    asked = Asked.of(["report", *words])
    found = Study.load(asked.study)
    evidence = _held(found, rooted(asked.results))
    for row in claim_rows(evidence):
        print(sentence(row, found).replace("**", ""))
    print(f"registration {evidence.registration}")
    return 0


def main(words: Sequence[str]) -> int:
    """The command `drift study`; the exit status."""
    return guarded(lambda: study(words), words, __doc__)


def claims_main(words: Sequence[str]) -> int:
    """The command `drift claims`; the exit status."""
    return guarded(lambda: claims(words), words, __doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
