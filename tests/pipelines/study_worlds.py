"""Worlds of a study whose verdicts are made up: no model is trained here."""

from pipelines.report.outcomes import Outcomes
from pipelines.study.tuning import Tuned

REASONING = ("MathVista", "MathVision", "MathVerse", "WeMath", "LogicVista")
PERCEPTION = ("HallusionBench", "RealWorldQA", "MMStar")
PAIR = "qwen2_5_vl_r1"


def tuned_to(value, word, score=50.0, none=None):
    return Tuned(value, (word,), score, none, False, ((value, score),))


def verdicts(right):
    """Every arm's columns of 40 units, of which the first `right[arm]` are right."""

    def column(count):
        units = [str(unit) for unit in range(40)]
        return Outcomes({unit: float(int(unit) < count) for unit in units}, {unit: unit for unit in units})

    return {arm: {name: column(count) for name in (*REASONING, *PERCEPTION)} for arm, count in right.items()}
