"""The study's answer in plain words: what the claims that a reader asks for first came to, a sentence or two each."""

import statistics
from collections.abc import Mapping, Sequence

from pipelines.report.findings import Finding

_OUT = 3 * 1.4826  # of an outlying world, in median absolute deviations: three standard deviations of a normal law
_LEAD = {
    "holds": "Yes.",
    "does not hold": "No.",
    "equivalent": "No difference that matters.",
    "unresolved": "Not shown.",
}
_SFT = "plain fine-tuning"
# What is asked of DRIFT first, by the claim's name: what precedes the sentence, and what DRIFT is set against.
ASKED = {
    "01_drift_beats_sft": ("", "plain fine-tuning of as many steps"),
    "25_half_the_steps": ("At half the steps on both sides, too few for either, ", _SFT),
    "27_saves_half_the_steps": ("", "plain fine-tuning of twice the steps"),
    "15_beats_merge_then_sft": ("", "merging first and then fine-tuning"),
    "28_small_dose": (
        "Stopped a sixth of the way to the expert (w_eff .16, of which plain fine-tuning goes most by itself; by our "
        "estimate the paper's settings lead to .05 to .6), ",
        _SFT,
    ),
    "19_direction_matters": ("", "a push in a random direction, tuned alike"),
    "11_drift_keeps_perception": ("At reading what is asked without reasoning, ", _SFT),
    "12_drift_keeps_perception_with_direct_data": ("Where the data also asks for that, there too ", _SFT),
    "02_drift_beats_merging": ("", "the best merge without training"),
}
Scores = Mapping[int, Mapping[str, float]]  # world -> arm -> percent


def answer(claims: Mapping[str, Finding], scores: Scores, twins: Sequence[Sequence[str]]) -> list[str]:
    """The sentences as Markdown, the first of them the answer to the page's question.

    Args:
        claims: by name; of those that no world speaks of nothing is said.
        scores: of the first claim's two arms and of `mllm`, what each world's come to.
        twins: arms that came out as one checkpoint.
    """
    told = [_told(*ASKED[name], claims[name], twins) for name in ASKED if name in claims]
    first = claims.get(next(iter(ASKED)))
    if first:
        told[0] = " ".join((f"**{_LEAD[first.verdict]}**", told[0], *_outlying(first, scores)))
    return told


def _told(before: str, second: str, found: Finding, twins: Sequence[Sequence[str]]) -> str:
    if found.low <= 0 <= found.high:
        return f"{before}DRIFT and {second} are not told apart, {found.size} ({found.interval})."
    way, sign = ("above", 1) if found.effect > 0 else ("below", -1)
    count = sum(sign * effect > 0 for effect in found.by_world)
    among = "Resolved among all claims" if found.is_resolved else "Not resolved among all claims"
    if found.by_ranks:
        among += f", though {found.by_ranks}"
    made = [f" Tuning made the two one: {' is '.join(names)}." for names in twins if found.second in names]
    return (
        f"{before}DRIFT scores {way} {second} in {count} of {found.worlds} worlds, by "
        f"{sign * statistics.median(found.by_world):.1f} points in the median world and {sign * found.effect:.1f} on "
        f"average ({found.interval}). {among}.{''.join(made)}"
    )


def _outlying(found: Finding, scores: Scores) -> list[str]:
    """Which worlds the mean is of, where some lie far from the rest, and how far each got from where all begin."""
    median = statistics.median(found.by_world)
    spread = statistics.median(abs(effect - median) for effect in found.by_world)
    gains = {world: {arm: each[arm] - each["mllm"] for arm in each} for world, each in scores.items()}
    out = [w for w, gain in gains.items() if abs(gain["drift"] - gain["sft"] - median) > _OUT * spread]
    if not out:
        return []
    usual = statistics.median(gain["sft"] for gain in gains.values())
    got = ", ".join(f"{gains[world]['sft']:+.0f}" for world in out)
    named = f"world{'s' * (len(out) > 1)} {', '.join(map(str, out))}"
    return [
        f"Mean and median lie so far apart because of {named}: there plain fine-tuning gains {got} points on the MLLM, "
        f"and {usual:+.0f} in the median world."
    ]
