"""What a module defines, and what each definition refers to, read from its source: nothing is imported.

What changes no result is stripped first: comments, docstrings, annotations, the members of a `Literal`, import
statements (what they bring in is a reference) and formatting. Three things inside a definition are kept apart, so that
a stage answers only for what it uses of them:
- a method, which is used where something accesses an attribute of its name;
- a keyword that hands code to a class of ours (`Benchmark(rule=score_time)`), likewise;
- a row of a registry (`pipelines.code.registries`), which is used where something names it.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence

from pipelines.code.reader import FUNCTIONS, Reader, brought_in, is_text
from pipelines.code.registries import FOLDERS, REGISTRIES
from pipelines.code.shapes import BODY, SCRIPT, Definition, Module


def read(name: str, source: str) -> Module:
    """The module called `name`."""
    tree = ast.parse(source)
    imports = dict(_imported(tree.body))
    parts: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for defined in _names(statement):
            parts.setdefault(defined, []).append(statement)
    known = {**{each: f"{name}.{each}" for each in parts}, **imports}
    return Module({each: _define(name, each, nodes, known) for each, nodes in parts.items()}, imports)


def _names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, (*FUNCTIONS, ast.ClassDef)):
        return [statement.name]
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        found = [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
        return found or [BODY]
    if isinstance(statement, ast.Import | ast.ImportFrom) or is_text(statement) or _is_for_types(statement):
        return []
    is_script = isinstance(statement, ast.If) and "__main__" in ast.unparse(statement.test)
    return [SCRIPT if is_script else BODY]


def _is_for_types(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and ast.unparse(statement.test).endswith("TYPE_CHECKING")


def _imported(statements: Sequence[ast.AST]) -> Iterator[tuple[str, str]]:
    """What imports bring in, those under a condition too."""
    for statement in statements:
        for node in ast.walk(statement) if not isinstance(statement, (*FUNCTIONS, ast.ClassDef)) else ():
            yield from brought_in(node)


def _define(module: str, name: str, nodes: Sequence[ast.stmt], known: Mapping[str, str]) -> Definition:
    is_registry = f"{module}.{name}" in REGISTRIES or FOLDERS.get(module.rpartition(".")[0]) == name
    return Reader(known, is_registry).read(nodes)
