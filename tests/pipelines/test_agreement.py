"""vLLM answers for a pair once it says what transformers says of the untouched MLLM, to the share that was asked."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from evaluation.benchmarks import get_benchmark
from evaluation.data.tsv import Item
from evaluation.engines.base import Batch, Engine, EngineError, GenerationSettings, Request, Response, answered
from evaluation.engines.config import EngineConfig, TransformersConfig, VLLMConfig
from pipelines import compose, plan, stages
from pipelines.rehearsal import hub
from pipelines.stage import Call, Runtime, ordered
from pipelines.stages import AgreementParams, agreement

VLLM = ["profile=paper", "engine=vllm"]
BENCHMARK = get_benchmark("MathVerse")
ITEMS = [Item(str(n), "?", "4") for n in range(4)]


def gates(*words: str) -> list[Call]:
    calls = ordered(plan.targets(compose.load([*words])))
    return [call for call in calls if call.stage is stages.AGREEMENT]


def test_one_gate_stands_before_all_answers_of_a_pair() -> None:
    found = [gates(*VLLM, *own) for own in (["method=baseline"], ["method=sft", "seed=1"], ["method=ties", "seed=2"])]
    assert [len(each) for each in found] == [1, 1, 1]
    assert len({each[0].key for each in found}) == 1
    whole = plan.score_of_all(compose.load([*VLLM, "method=baseline"]))
    assert whole is not None
    assert [call.key for call in ordered([whole]) if call.stage is stages.AGREEMENT] == [found[0][0].key]
    [gate] = found[0]
    assert gate.inputs["model"].params.role == "mllm"
    assert gates(*VLLM, "method=baseline", "pair=llava_next_dart")[0].key != gate.key
    assert (gate.params.engine.settings.temperature, gate.params.reference.name) == (0.0, "transformers")


def test_none_is_asked_for_where_transformers_answers_or_nobody_wants_one() -> None:
    assert gates("profile=paper", "method=baseline", "engine=transformers") == []
    assert gates(*VLLM, "method=baseline", "engine.agreement=0") == []


def test_answers_are_compared_as_the_benchmark_reads_them() -> None:
    ours = dict(zip("0123", ["The answer is 4.", "5", "4", "no idea"], strict=True))
    theirs = dict(zip("0123", ["So we get: the answer is 4.", "6", "4", "no idea"], strict=True))
    found = agreement.compare(BENCHMARK, ITEMS, ours, theirs)
    assert found == agreement.Agreement(items=4, answers=3, texts=2)
    agreement.require({"MathVerse": found}, 0.75)
    message = re.escape("agree on 75% of the answers, engine.agreement asks for 90% (MathVerse 3 of 4)")
    with pytest.raises(EngineError, match=message):
        agreement.require({"MathVerse": found}, 0.9)


class Saying(Engine):
    """Answers the first item by its engine's name, the others alike."""

    def __init__(self, config: EngineConfig, folder: Path) -> None:
        self.model, self._text = config.name, {"vllm": "A", "transformers": "B"}[config.name]

    def plan(self, requests: Sequence[Request], settings: GenerationSettings) -> list[Batch]:
        return [(request,) for request in requests]

    def run(self, batches: Sequence[Batch], settings: GenerationSettings) -> Iterator[list[Response]]:
        for place, (request,) in enumerate(batches):
            yield [answered(request, settings, "A" if place else self._text, "stop", 1)]


def test_the_stage_asks_both_of_the_first_items_and_says_how_many_are_alike(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(agreement, "load_engine", Saying)
    hub.write_benchmarks(tmp_path / "tables", ["LogicVista"], 6, None)
    settings, inputs = GenerationSettings(), {"model": tmp_path, "benchmarks": tmp_path / "tables"}
    engines = VLLMConfig("vllm", settings), TransformersConfig("transformers", settings)
    params = AgreementParams(("LogicVista",), "default", *engines, items=4, least=0.75)
    out = tmp_path / "out"
    out.mkdir()
    values = agreement.check_agreement(params, Runtime(tmp_path), inputs, out)
    assert values["agreement"] == 0.75
    assert values["benchmarks"]["LogicVista"]["items"] == 4
    assert len((out / "vllm" / "LogicVista.jsonl").read_text().splitlines()) == 4
