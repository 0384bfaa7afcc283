"""The study's answer in plain words says what its claims do, and where a mean comes from."""

import pytest

from pipelines.page.answer import answer
from pipelines.report.findings import Finding

FAR = {  # world -> percent of each arm: of the last one plain fine-tuning learns next to nothing
    0: {"mllm": 40.0, "sft": 80.0, "drift": 82.0},
    1: {"mllm": 42.0, "sft": 81.0, "drift": 84.0},
    2: {"mllm": 41.0, "sft": 83.0, "drift": 84.0},
    3: {"mllm": 44.0, "sft": 45.0, "drift": 85.0},
}


def found(effects: tuple[float, ...], low: float, high: float, verdict: str, p_holm: float) -> Finding:
    mean = sum(effects) / len(effects)
    worlds = len(effects)
    return Finding(
        "c", "", "a", "b", "m", mean, low, high, verdict, worlds, 100, p_holm=p_holm, by_world=effects
    )  # fmt: skip


def test_an_unresolved_effect_is_not_shown_and_the_worlds_that_make_its_mean_are_named() -> None:
    effects = tuple(each["drift"] - each["sft"] for each in FAR.values())
    (told,) = answer({"01_drift_beats_sft": found(effects, 1.0, 22.0, "unresolved", 0.4)}, FAR, [])
    assert told.startswith(
        "**Not shown.** DRIFT scores above plain fine-tuning of as many steps in 4 of 4 worlds, by 2.5 points in the "
        "median world and 11.5 on average (95% interval +1.0 to +22.0). Not resolved among all claims. "
    )
    assert "apart because of world 3: there plain fine-tuning gains +1 points on the MLLM, and +40 in the" in told


def test_a_resolved_effect_says_yes_and_no_world_is_named_where_none_lies_far_out() -> None:
    near = {world: each for world, each in FAR.items() if world < 3}
    effects = tuple(each["drift"] - each["sft"] for each in near.values())
    (told,) = answer({"01_drift_beats_sft": found(effects, 1.0, 3.0, "holds", 0.01)}, near, [])
    assert told.startswith("**Yes.** DRIFT scores above")
    assert told.endswith(" Resolved among all claims.")
    assert "because" not in told


@pytest.mark.parametrize(
    ("effects", "ends", "said"),
    [
        (
            (-26.0, -28.0, -24.0),
            (-33.0, -18.0),
            "DRIFT scores below plain fine-tuning in 3 of 3 worlds, by 26.0 points",
        ),
        (
            (-1.0, 2.0, -1.0),
            (-3.0, 3.0),
            "DRIFT and plain fine-tuning are not told apart, +0.0 points (95% interval -3",
        ),
    ],
)
def test_a_loss_is_called_one_and_what_holds_zero_is_not_told_apart(
    effects: tuple[float, ...], ends: tuple[float, float], said: str
) -> None:
    (told,) = answer({"11_drift_keeps_perception": found(effects, *ends, "does not hold", 0.001)}, {}, [])
    assert told.startswith(f"At reading what is asked without reasoning, {said}")
