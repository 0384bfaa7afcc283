"""A study's pages, from its folder alone: claims, arms, figures, and two pages in plain words."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drift.files import write_whole
from pipelines.report.findings import Finding
from pipelines.study import claims as engine
from pipelines.study.evidence import Evidence
from pipelines.study.spec import Study

Row = dict[str, Any]
METRICS = {"average": "mean of the reasoning suites", "perception": "mean of the perception sets"}
_HEADINGS = {
    "does not hold": "What does not hold",
    "holds": "What holds",
    "equivalent": "What makes no difference that matters",
    "unresolved": "What is not known",
}


def claim_rows(evidence: Evidence) -> list[Row]:
    """A row a claim, effects in points; claims that no world speaks of yet have none."""
    rows = []
    for claim in evidence.study.claims:
        pair = evidence.study.of(claim)
        row: Row = {
            "name": claim.name,
            "sentence": claim.sentence,
            "table": claim.answers,
            "pair": pair,
            "first": evidence.arm(claim.first),
            "second": evidence.arm(claim.second),
            "budget": claim.budget,
            "metric": claim.metric,
            "expected": claim.expected,
            "smallest": claim.smallest,
        }
        found = evidence.findings.get(claim.name)
        rows.append(row | (_measured(found) if found else {"verdict": "unresolved", "worlds": 0, "items": 0}))
    return rows


def _measured(found: engine.Finding) -> Row:
    interval = found.interval
    return {
        "effect": round(100 * interval.mean, 2),
        "low": _points(interval.low),
        "high": _points(interval.high),
        "p": interval.p_value,
        "p_holm": found.p_holm,
        "p_ranks": found.p_ranks,
        "verdict": found.verdict,
        "worlds": len(found.effects),
        "items": found.questions,
        "power": None if found.power is None else round(found.power, 3),
        "worlds_needed": found.worlds_needed,
        "effects": [round(100 * effect, 2) for effect in found.effects],
    }


def _points(share: float) -> float | None:
    return round(100 * share, 2) if math.isfinite(share) else None


def arm_rows(evidence: Evidence, pair: str) -> list[Row]:
    """A row an arm: what it is, its tuned words, each metric's mean over the worlds with its interval, in percent."""
    metrics = ("average", "perception", *evidence.reasoning, *evidence.perception)
    rows = []
    for name, arm in evidence.study.arms_of(pair).items():
        tuned = evidence.tuned.get(name)
        row: Row = {"arm": name, "what": arm.what, "tuned": " ".join(tuned.words) if tuned else ""}
        row["is_end"] = bool(tuned and tuned.is_end)
        row["none_is_better"] = bool(tuned and tuned.none is not None and tuned.none >= tuned.score)
        for metric in metrics:
            score = evidence.score(pair, name, metric)
            row |= {
                metric: None if score is None else round(100 * score.mean, 2),
                f"{metric}_low": None if score is None else _points(score.low),
                f"{metric}_high": None if score is None else _points(score.high),
            }
        row |= {key: _rounded(evidence.recorded(pair, name, key)) for key in ("w_eff", "steps")}
        rows.append(row | {"worlds": sum(name in verdicts for verdicts in evidence.of(pair).values())})
    return rows


def named_twins(evidence: Evidence, pair: str) -> list[list[str]]:
    """Arms that are one checkpoint, in words."""
    return [[evidence.study.arms[name].what for name in names] for names in evidence.twins(pair)]


def world_rows(evidence: Evidence, pair: str) -> list[Row]:
    """A row an arm and world: each metric in percent, empty where the arm was not asked it."""
    return [
        {"arm": arm, "world": seed}
        | {
            metric: None if (share := evidence.share(verdicts[arm], metric)) is None else _points(share)
            for metric in ("average", "perception", *evidence.reasoning, *evidence.perception)
        }
        for arm in evidence.study.arms_of(pair)
        for seed, verdicts in evidence.of(pair).items()
        if arm in verdicts
    ]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def write(evidence: Evidence, folder: Path) -> None:
    """`claims.json`, `claims.csv`, `tables/`, `figures/` and `report.md`."""
    import pandas

    from pipelines.study.figures import draw

    claims = claim_rows(evidence)
    record = {"preregistration": evidence.registration, "study": evidence.study.name, "claims": claims}
    record["twins"] = named_twins(evidence, evidence.study.first)
    write_whole(folder / "claims.json", json.dumps(record, indent=1, allow_nan=False) + "\n")
    write_whole(folder / "claims.csv", pandas.DataFrame(claims, dtype=object).to_csv(index=False, lineterminator="\n"))
    arms = {pair: arm_rows(evidence, pair) for pair in evidence.study.pairs if evidence.of(pair)}
    for pair, rows in arms.items():
        text = pandas.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\n")
        write_whole(folder / "tables" / f"{pair}.csv", text)
        text = pandas.DataFrame(world_rows(evidence, pair), dtype=object).to_csv(index=False, lineterminator="\n")
        write_whole(folder / "tables" / f"{pair}_worlds.csv", text)
    found = [finding(row, evidence.study) for row in claims if row["worlds"]]
    figures = draw(evidence, found, folder / "figures")
    write_whole(folder / "report.md", page(evidence, claims, arms, figures))


def finding(row: Mapping[str, Any], study: Study) -> Finding:
    """A claim that a world speaks of, arms and metric in words; `Table 8` of what it answers is table8."""
    known = {name: row[name] for name in Finding.__dataclass_fields__ if name in row}
    numbered = re.search(r"Table (\d+)", row["table"])
    pair = "" if row["pair"] == study.first else f", {row['pair']}"
    known |= {
        "claim": row["sentence"].removesuffix("."),
        "table": f"table{numbered[1]}" if numbered else "",
        "first": study.arms[row["first"]].what,
        "second": study.arms[row["second"]].what,
        "metric": METRICS.get(row["metric"], row["metric"]) + pair,
        "low": -math.inf if row["low"] is None else row["low"],
        "high": math.inf if row["high"] is None else row["high"],
        "by_world": tuple(row["effects"]),
        "answers": row["table"],
    }
    return Finding(**known)


def sentence(row: Mapping[str, Any], study: Study) -> str:
    """A claim with what was found, as one line of prose."""
    if not row["worlds"]:
        return f"{row['sentence']} No world has been run."
    found = finding(row, study)
    sizes = "; ".join((f"{found.interval}, {found.worlds} world{'s' * (found.worlds != 1)}", *found.sizes))
    return f"{row['sentence']} **{found.verdict.capitalize()}**: {found.size}, {sizes}."


def page(evidence: Evidence, claims: Sequence[Row], arms: Mapping[str, Sequence[Row]], figures: Sequence[str]) -> str:
    """The report as Markdown."""
    from pandas import DataFrame

    from evaluation.data.markdown import markdown

    study = evidence.study
    done = ", ".join(
        f"{len(evidence.of(pair))} of {plan.worlds} worlds of {pair}" for pair, plan in study.pairs.items()
    )
    out = [world for world, _ in evidence.worlds.values() if world.excluded]
    parts = [f"# {study.title}", f"{done}. Registration `{evidence.registration[:16]}`."]
    if out:
        parts.append(f"Worlds that missed a gate and count for nothing, others taking their place ({len(out)}):")
        parts.append("\n".join(f"- {world.pair} {world.seed}: {_gate(world.excluded)}" for world in out))
    lacking = [f"{w.pair} {w.seed}: {', '.join(w.missing)}" for w, _ in evidence.worlds.values() if w.missing]
    if lacking:
        parts.append(
            f"Arms that a world lacks because the other expert that they take missed its gate: {'; '.join(lacking)}."
        )
    for verdict, heading in _HEADINGS.items():
        if found := [f"- {sentence(row, study)}{_answers(row)}" for row in claims if row["verdict"] == verdict]:
            parts += [f"## {heading}", "\n".join(found)]
    if claims and claims[0]["worlds"]:
        parts += ["## What would overturn it, and what it says of the paper's setting", _limits(evidence, claims)]
    if study.elsewhere:
        parts += [
            "## Of the paper, and no claim here",
            "\n".join(f"- {what}: {w}" for what, w in study.elsewhere.items()),
        ]
    parts += ["## How to read it", _READ.format(trials=study.trials, tuning=len(study.tuning))]
    table = [{key: row.get(key, "") for key in _SHOWN} | _p(row) for row in claims]
    parts += ["## Claims", markdown(DataFrame(table, dtype=object).fillna(""))]
    for pair, rows in arms.items():
        metrics = ("average", "perception")
        shown = [{"arm": r["what"], **{m: _cell(r, m) for m in metrics}, **{k: r[k] for k in _KNOBS}} for r in rows]
        parts += [f"## Arms, {pair}", markdown(DataFrame(shown, dtype=object).fillna(""))]
    for mark, said in _MARKS.items():
        if found := [row["what"] for row in arms.get(study.first, ()) if row[mark]]:
            parts.append(f"{said} ({study.first}, where values were chosen): {'; '.join(found)}.")
    for pair in arms:
        if twins := [" is ".join(names) for names in named_twins(evidence, pair)]:
            parts.append(f"One checkpoint under two names ({pair}): {'; '.join(twins)}.")
    parts += [f"![{Path(name).stem}](figures/{name})" for name in figures]
    return "\n\n".join(parts) + "\n"


def _limits(evidence: Evidence, claims: Sequence[Row]) -> str:
    """What the verdicts hang on, around the study's first claim."""
    study, main = evidence.study, claims[0]
    pair = main["pair"]
    doses = [
        f"{evidence.recorded(pair, main[side], 'w_eff') or 0.0:.2f} ({main[side]})" for side in ("first", "second")
    ]
    tuned = [
        f"{name} {evidence.tuned[name].score:.1f} there and {100 * found.mean:.1f} in the worlds reported"
        for name in (main["first"], main["second"])
        if name in evidence.tuned and (found := evidence.score(pair, name, "average"))
    ]
    left = sum(max(0, plan.worlds - len(evidence.of(name))) for name, plan in study.pairs.items())
    out = f" {left} worlds of the registration are still to be run, and may move any interval." if left else ""
    effects = ", ".join(f"{effect:+.1f}" for effect in main["effects"])
    scored = "; ".join(f"{arm} scores {_scores(evidence, main, arm)}" for arm in (main["first"], main["second"]))
    parts = [
        "- **Other worlds.** A world differs from the next by what its models happened to learn before any method "
        f"met them: {main['first']} minus {main['second']} is {effects} in single worlds ({scored}).{out}",
        f"- **Other tuning worlds.** Values were chosen in worlds {', '.join(map(str, study.tuning))} alone: "
        f"{'; '.join(tuned)}. A value that suits those may suit others less, on either side.",
        f"- **Another test.** {_by_ranks([finding(row, study) for row in claims if row['worlds']])}",
        "- **Another budget.** Verdicts hold for the steps they name; the curves over steps and over dose are below.",
        f"- **The paper's setting.** w_eff, the share of Delta that the weights went, is {' and '.join(doses)} here. "
        "The paper reports none; from its learning rate and steps over the size of Delta we estimate .05 to .6. A lab "
        "language model has 118 thousand weights, sees glyphs and reasons in one skill: the study can say whether "
        "direction, scaling, dose and budget explain a gain where all of them are known. It can't say how large a gain "
        "is at seven billion weights, on photographs, or with people's questions.",
    ]
    return "\n".join(parts)


def _by_ranks(found: Sequence[Finding]) -> str:
    """Which claims a signed-rank test would decide otherwise."""
    gained = [each.claim for each in found if each.by_ranks and not each.is_resolved]
    lost = [each.claim for each in found if each.by_ranks and each.is_resolved]
    return (
        "A t-test was registered. A signed-rank test over worlds (Wilcoxon; Holm over the same claims), which no one "
        f"world can sway, would resolve {len(gained)} more: {'; '.join(gained) or 'none'}. It would not resolve "
        f"{len(lost)} that are: {'; '.join(lost) or 'none'}."
    )


def _scores(evidence: Evidence, main: Row, arm: str) -> str:
    """What an arm has right of the claim's metric, world by world, in percent."""
    worlds = [verdicts[arm] for verdicts in evidence.of(main["pair"]).values() if arm in verdicts]
    shares = [evidence.share(answered, main["metric"]) for answered in worlds]
    return ", ".join(f"{_points(share):.1f}" for share in shares if share is not None)


def _gate(excluded: str) -> str:
    """The gate that a world missed, without its own name and what its seeds could be instead."""
    return re.sub(r"^study world \d+, ", "", excluded.partition(". ")[0])


def _p(row: Mapping[str, Any]) -> Row:
    return {"p_holm": f"{row['p_holm']:.2g}"} if "p_holm" in row else {}


def _answers(row: Mapping[str, Any]) -> str:
    return f" (The paper's {row['table']}.)" if row["table"] else " (The paper does not ask.)"


def _cell(row: Mapping[str, Any], metric: str) -> str:
    return "" if row[metric] is None else f"{row[metric]:.1f} ({row[f'{metric}_low']:.1f}, {row[f'{metric}_high']:.1f})"


_KNOBS = ("w_eff", "steps", "worlds", "tuned")


_SHOWN = (
    "name",
    "first",
    "second",
    "budget",
    "metric",
    "effect",
    "low",
    "high",
    "p_holm",
    "smallest",
    "verdict",
    "worlds",
    "worlds_needed",
)
_MARKS = {
    "is_end": "Chosen at an end of what was tried, so a better value may lie beyond",
    "none_is_better": "Validation would rather have none of it; the best of what was tried is reported",
}
_READ = (
    "Every arm's knob was tried {trials} times in {tuning} worlds that are not reported, by their validation draw. An "
    "effect is the first arm minus the second, in points of the mean over suites, paired by question and averaged over "
    "worlds; its interval is Student's over worlds, never narrower than two thirds of what the questions alone leave "
    "open. Verdicts are one family (Holm, 5%). Equivalent: the interval lies within the smallest effect that matters. "
    "w_eff is how far an arm went along its own prior, which may be random, reversed, shuffled, cut or another "
    "expert's. An arm that lacks worlds is compared in those that both sides have."
)
