"""A change of the project's source is a change of what reaches it, and of nothing else."""

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from evaluation.benchmarks import ALIASES, BENCHMARKS
from pipelines import compose, plan, stages
from pipelines.code.digests import ROOT, Code
from pipelines.code.reach import Reached, is_naming
from pipelines.code.registries import DECORATED, NAMING
from pipelines.code.shapes import OURS
from pipelines.stage import ordered

Edit = tuple[str, str, str]  # file, what stands there, what stands there then
Asked = Mapping[str, tuple[str, frozenset[str]]]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for name in OURS:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture(scope="module")
def asked() -> dict[str, tuple[str, frozenset[str]]]:
    """What is asked of the source: by stage and what it is of, the function and the words."""
    found = {}
    for words in (["ties"], ["slerp"], ["sft"], ["drift"], ["drift", "injection=gradnorm"], ["baseline"]):
        for call in ordered([plan.score(compose.load([f"method={words[0]}", *words[1:]]))]):
            of = " ".join(words) if call.stage.name in ("merge", "train", "generate", "score") else ""
            found[f"{call.stage.name} {of}".strip()] = (call.stage.run, call.words)
    for name in ("MathVista", "MathVision", "MathVerse"):
        for stage in (stages.GENERATE, stages.SCORE, stages.JUDGE):
            found[f"{stage.name} {name}"] = (stage.run, frozenset({name, "transformers", "qwen2_5_vl", "qwen2"}))
    found["report"] = (stages.REPORT.run, frozenset({"scores", "cost"}))
    return found


def digests(tree: Path, asked: Asked) -> dict[str, str]:
    code = Code(tree, tree / "kept")
    return {name: code.digest(*each) for name, each in asked.items()}


@pytest.fixture(scope="module")
def before(tree: Path, asked: Asked) -> dict[str, str]:
    """The digests of the tree as it is: each test leaves it so."""
    return digests(tree, asked)


@pytest.fixture
def changed(tree: Path, asked: Asked, before: dict[str, str]) -> Iterator[Callable[..., set[str]]]:
    """What the edits of a copy of the tree make stale."""
    originals = dict[Path, str | None]()

    def edit(*edits: Edit) -> set[str]:
        for name, old, new in edits:
            path = tree / name
            text = path.read_text() if path.exists() else None
            originals.setdefault(path, text)
            assert text is None or text.count(old) == 1, (name, old)
            path.write_text(new if text is None else text.replace(old, new))
        after = digests(tree, asked)
        return {name for name in after if after[name] != before[name]}

    yield edit
    for path, text in originals.items():
        if text is None:
            path.unlink()
        else:
            path.write_text(text)


def test_what_changes_no_result_changes_no_digest(changed: Callable[..., set[str]]) -> None:
    methods = "drift/merging/methods.py"
    assert (
        changed(
            (
                methods,
                "        yield _combined(each, p.slerp_weights(",
                "        # A comment.\n\n        yield _combined(\n            each, p.slerp_weights(",
            ),
            (methods, '"""Great-circle interpolation of each flattened tensor."""', '"""Another docstring."""'),
            (methods, "def slerp(merge: Merge) -> Iterator[Merged]:", 'def slerp(merge: "Merge") -> object:'),
            (methods, "RECIPES: dict[str, Recipe] = {}", "RECIPES = {}"),
            (
                "drift/choices.py",
                '"absolute", "gradnorm", "adaptive"',
                '"absolute", "gradnorm",\n "adaptive", "opposing"',
            ),
            ("drift/training/trainer.py", "import torch\n", "import torch\nimport math as _unused\n"),
        )
        == set()
    )


@pytest.mark.parametrize(
    ("edit", "stale"),
    [
        (("drift/merging/methods.py", "(*products, merge.chosen.t)", "(*products, -merge.chosen.t)"), {"merge slerp"}),
        (("drift/merging/primitives.py", "torch.copysign(torch.ones(()), torch.add(*deltas))",
          "-torch.copysign(torch.ones(()), torch.add(*deltas))"), {"merge ties"}),
        (("drift/scaling.py", "return _ratio(grad_norm, delta_norm)\n\n\ndef adaptive",
          "return 2 * _ratio(grad_norm, delta_norm)\n\n\ndef adaptive"),
         {"train drift", "train drift injection=gradnorm"}),
        (("drift/scaling.py", "(1.0 + cosine(grad_norm, dot", "(1.0 - cosine(grad_norm, dot"), {"train drift"}),
        (("evaluation/benchmarks/mathvista.py", "gold = item.fields.get(", "gold = 2 * item.fields.get("),
         {"score MathVista", "judge MathVista"}),
        (("evaluation/benchmarks/mathverse.py", "def _ask_equality(request: JudgeRequest, extraction: str) -> str:\n",
          "def _ask_equality(request: JudgeRequest, extraction: str) -> str:\n    extraction = extraction[1:]\n"),
         {"judge MathVerse"}),
        (("pipelines/report/render.py", 'style = "l"', 'style = "c"'), {"report"}),
        (("evaluation/statistics.py", "error = standard_error(difference) if", "error = 2.0 if"), {"report"}),
        (("pipelines/scheduler.py", "_ELSEWHERE_SECONDS = 0.5", "_ELSEWHERE_SECONDS = 0.6"), set()),
        (("pipelines/plan.py", "_CHOICES: dict[str, Call] = {}", "_CHOICES: dict[str, Call] = {'': None}"), set()),
    ],
)  # fmt: skip
def test_a_change_is_of_what_reaches_it(changed: Callable[..., set[str]], edit: Edit, stale: set[str]) -> None:
    assert changed(edit) == stale


NAMING_EDITS: list[Edit] = [
    ("drift/config.py", "    says_itself, marked = _identity_fields(type(config))", 
     "    kind = type(config)\n    says_itself, marked = _identity_fields(kind)"),
    ("drift/config.py", '"a share in [0, 1]"', '"a number from 0 to 1"'),
    ("drift/config.py", "    if options and value not in options:", "    if options and not value in options:"),
    ("drift/config.py", "for fault in _field_faults(*stated, values[stated[0]])]",
     "for fault in list(_field_faults(*stated, values[stated[0]]))]"),
    ("drift/errors.py", "get_close_matches(key, known, n=1)", "get_close_matches(key, known, n=1, cutoff=0.7)"),
    ("pipelines/fingerprint.py", "return {str(key): canonical(item", "return {f'{key}': canonical(item"),
]  # fmt: skip


def test_what_only_names_makes_nothing_stale_and_hides_no_formula(changed: Callable[..., set[str]]) -> None:
    assert changed(*NAMING_EDITS) == set()
    formula = ("drift/merging/methods.py", "(*products, merge.chosen.t)", "(*products, -merge.chosen.t)")
    assert changed(formula) == {"merge slerp"}


def test_what_names_is_there(tree: Path) -> None:
    modules = Code(tree, tree / "kept")._source.modules
    assert {
        (place, name) for place, names in NAMING.items() for name in names if name not in modules[place].definitions
    } == set()
    assert is_naming("drift.config:Range:__contains__")
    assert not is_naming("drift.config:PriorConfig")


def test_the_injection_is_reached_by_trainings_alone(changed: Callable[..., set[str]], tree: Path) -> None:
    name = "drift/injection/bias.py"
    text = (tree / name).read_text()
    line = next(line for line in text.splitlines() if line.startswith("    return "))
    found = changed((name, text, text.replace(line, line.replace("return ", "return 2 * "), 1)))
    assert found
    assert all(each.startswith("train ") for each in found)


NEW_ROWS: list[tuple[Edit, ...]] = [
    (("drift/merging/config.py", "_ROWS = (\n", '_ROWS = (\n    Method("larger", "paper", "", "", "larger", {}),\n'),
     ("drift/merging/methods.py", "@recipe\ndef slerp(",
      "@recipe\ndef larger(merge):\n    pass\n\n\n@recipe\ndef slerp(")),
    (("evaluation/benchmarks/clocks.py", "", "BENCHMARKS = (Benchmark(name='Clocks', rule=print),)\n"),),
    (("drift/families.py", ' Family("qwen3", ', ' Family("gemma", "gemma", ("model",)),\n        Family("qwen3", '),),
    (("drift/scaling.py", '"adaptive": adaptive_strength,', '"adaptive": adaptive_strength, "other": _ratio,'),
     ("drift/scaling.py", 'WITHOUT_DOT = ("absolute", ', 'WITHOUT_DOT = ("other", "absolute", '),),
    (("pipelines/report/kinds.py", '    "cost": Cost(),', '    "cost": Cost(), "gap": Kind(),'),),
]  # fmt: skip


@pytest.mark.parametrize("edits", NEW_ROWS)
def test_what_is_added_beside_others_makes_none_of_them_stale(
    changed: Callable[..., set[str]], edits: tuple[Edit, ...]
) -> None:
    assert changed(*edits) == set()


def test_every_benchmark_is_found_by_each_of_its_names() -> None:
    assert {*BENCHMARKS, *ALIASES} <= Code().names


def test_a_field_that_loses_its_annotation_is_none(tmp_path: Path) -> None:
    field = {"drift/entry.py": "from dataclasses import dataclass\n@dataclass\nclass run:\n    size: int = 1\n"}
    bare = {"drift/entry.py": field["drift/entry.py"].replace("size: int", "size")}
    other = {"drift/entry.py": field["drift/entry.py"].replace("size: int", "size: float")}
    digests = [_digest(tmp_path / str(place), each) for place, each in enumerate((field, bare, other))]
    assert digests[0] != digests[1]
    assert digests[0] == digests[2]


def test_a_moved_definition_is_the_same_and_another_of_its_name_is_not(tmp_path: Path) -> None:
    tree = {"drift/a.py": "def f():\n    return 1\n", "drift/b.py": "def f():\n    return 2\n"}
    tree["drift/entry.py"] = "from drift.a import f\nfrom drift.b import f as g\ndef run():\n    return f() - g()\n"
    moved = {"drift/c.py": tree["drift/a.py"], "drift/b.py": tree["drift/b.py"]}
    moved["drift/entry.py"] = tree["drift/entry.py"].replace("drift.a", "drift.c")
    swapped = tree | {
        "drift/entry.py": tree["drift/entry.py"]
        .replace("import f as g", "import f")
        .replace("drift.a import f", "drift.a import f as g")
    }
    digests = [_digest(tmp_path / str(place), each) for place, each in enumerate((tree, moved, swapped))]
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def _digest(root: Path, files: Mapping[str, str]) -> str:
    return _code(root, files).digest("drift.entry:run", frozenset())


def _code(root: Path, files: Mapping[str, str]) -> Code:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return Code(root, root / "kept")


@pytest.mark.parametrize(
    ("edit", "is_same", "is_same_by_text"),
    [
        (("drift/errors.py", "return key", "return repr(key)"), True, True),
        (("drift/errors.py", "return key", "return other(key)\n\ndef other(key):\n    return key"), True, True),
        (("drift/a.py", "return 1", "return 3"), False, False),
        (("drift/entry.py", "f() - g()", "f() - g() - f()"), False, False),
        (("drift/entry.py", "f\nfrom drift.b import f as g", "f as g\nfrom drift.b import f"), False, True),
    ],
)  # fmt: skip
def test_code_is_the_same_where_all_of_it_was_reached_before_but_for_what_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: Edit, is_same: bool, is_same_by_text: bool
) -> None:
    """What is recorded counted what names as code; what is asked for does not.

    Texts alone, which is all that older records hold, don't tell two functions apart that have changed their names.
    """
    tree = {"drift/a.py": "def f():\n    return 1\n", "drift/b.py": "def f():\n    return 2\n"}
    tree["drift/errors.py"] = "def closest(key):\n    return key\n"
    tree["drift/entry.py"] = (
        "from drift.a import f\nfrom drift.b import f as g\nfrom drift.errors import closest\n"
        "def run():\n    closest('f')\n    return f() - g()\n"
    )
    asked = ("drift.entry:run", frozenset[str]())
    with monkeypatch.context() as before:
        before.setattr("pipelines.code.reach.NAMING", {})
        earlier = _code(tmp_path / "before", tree).reached(*asked)
    name, old, new = edit
    now = _code(tmp_path / "now", tree | {name: tree[name].replace(old, new)}).reached(*asked)
    assert "drift.errors:closest" in earlier.texts.keys() - now.texts.keys()
    assert now.is_within(earlier) == is_same
    assert now.is_within(Reached(earlier.texts)) == is_same_by_text


def test_a_command_that_finds_nothing_changed_reads_no_source(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = (stages.MERGE.run, frozenset({"ties"}))
    first = Code(tree, tree / "kept").digest(*asked)
    monkeypatch.setattr("pipelines.code.digests.read", lambda *_: pytest.fail("a module was read"))
    monkeypatch.setattr("pipelines.code.digests._module", lambda *_: pytest.fail("all modules were opened"))
    assert Code(tree, tree / "kept").digest(*asked) == first


def test_every_stage_has_an_entry_that_is_found() -> None:
    code = Code()
    for stage in stages.STAGES.values():
        module, _, name = stage.run.partition(":")
        assert f"{module}:{name}" in code.reached(stage.run, frozenset()).texts
        assert sys.modules.get(module) is None or hasattr(importlib.import_module(module), name)


def test_a_decorator_of_ours_is_one_whose_registry_is_known() -> None:
    modules = Code()._source.modules.values()
    found = {each for module in modules for definition in module.definitions.values() for each in definition.decorators}
    assert found == set(DECORATED), (
        "what a decorator puts elsewhere is reached where that is (pipelines/code/registries)"
    )
