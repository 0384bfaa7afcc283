"""The code runs nothing that it was handed: no pickles, no eval, no shell, no code from a checkpoint's repository."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path for folder in ("drift", "evaluation", "pipelines", "examples") for path in (ROOT / folder).rglob("*.py")
)
CALLS = {
    "eval": "runs text", "exec": "runs text", "compile": "makes code of text", "__import__": "imports by name",
    "os.system": "is a shell", "os.popen": "is a shell", "yaml.load": "makes objects; yaml.safe_load does not",
    "yaml.unsafe_load": "makes objects", "yaml.full_load": "makes objects", "subprocess.getoutput": "is a shell",
}  # fmt: skip
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "jsonpickle"}
KEYWORDS = {
    ("shell", True),
    ("trust_remote_code", True),
    ("allow_pickle", True),
    ("verify", False),
    ("weights_only", False),
}


def faults(tree: ast.AST) -> Iterator[str]:
    """What a syntax tree does that this project does not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"{node.lineno}: imports {name}" for name in names if name.partition(".")[0] in MODULES)
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in CALLS:
            yield f"{node.lineno}: {name} {CALLS[name]}"
        keywords = {(k.arg, k.value.value) for k in node.keywords if isinstance(k.value, ast.Constant)}
        yield from (f"{node.lineno}: {word}={value}" for word, value in keywords & KEYWORDS)
        if name == "torch.load" and ("weights_only", True) not in keywords:
            yield f"{node.lineno}: torch.load without weights_only=True"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_runs_what_it_was_handed(path: Path) -> None:
    assert not list(faults(ast.parse(path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize(
    "code",
    [
        "eval(text)", "exec(text)", "import pickle", "from pickle import loads", "os.system(word)", "yaml.load(text)",
        "subprocess.run(words, shell=True)", "AutoModel.from_pretrained(x, trust_remote_code=True)", "torch.load(path)",
        "torch.load(path, weights_only=False)", "numpy.load(path, allow_pickle=True)",
        "requests.get(url, verify=False)",
    ],
)  # fmt: skip
def test_this_test_finds_what_it_looks_for(code: str) -> None:
    assert list(faults(ast.parse(code)))


def test_this_test_lets_pass_what_is_safe() -> None:
    code = "model.eval(); ast.literal_eval(x); yaml.safe_load(x); torch.load(p, weights_only=True); re.compile(x)"
    assert not list(faults(ast.parse(code)))
