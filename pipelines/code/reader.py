"""Reads one definition: the digest of its shape, and everything that it names."""

import ast
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence

from pipelines.code.shapes import OURS, Definition

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_PLACE = re.compile(rf"({'|'.join(OURS)})(\.\w+)+(:\w+)?")
_SILENT = ("ctx", "type_comment", "kind", "type_params", "type_ignores")


class Reader:
    """Reads one definition, its tree fed to the digest node by node.

    Args:
        known: what names mean here, dotted.
        is_registry: its value's rows are parts.
    """

    def __init__(self, known: Mapping[str, str], is_registry: bool = False) -> None:
        self.known, self.found, self._is_registry = dict(known), Definition(), is_registry
        self._digest = hashlib.sha256()

    def read(self, nodes: Sequence[ast.AST]) -> Definition:
        """The definition that these statements make, in their order."""
        for node in nodes:
            self.known |= {name: place for inner in ast.walk(node) for name, place in brought_in(inner)}
        for node in nodes:
            self._signature(node)
            if isinstance(node, ast.ClassDef):
                self._class(node)
            else:
                self._visit(node)
        found = self.found
        found.text = self._digest.hexdigest()[:16]
        found.attributes, found.words = sorted(set(found.attributes)), sorted(set(found.words))
        return found

    def _part(self, node: ast.AST) -> Definition:
        return Reader(self.known).read([node])

    def _signature(self, node: ast.AST) -> None:
        if isinstance(node, ast.ClassDef):
            self.found.bases = [self._dotted(base)[1] for base in node.bases]
        if isinstance(node, FUNCTIONS):
            if node.args.kwarg:
                self.found.accepts = [each.arg for each in (*node.args.args, *node.args.kwonlyargs)]
            self.found.decorators = [place for each in node.decorator_list if (place := self._dotted(each)[1])]

    def _visit(self, node: ast.AST) -> None:
        """One node; what is left out of the digest is still looked through for what it names."""
        if isinstance(node, ast.Import | ast.ImportFrom):
            return
        if isinstance(node, ast.Name | ast.Attribute):
            self._name(node)
        elif isinstance(node, ast.Constant):
            self._constant(node)
        elif isinstance(node, ast.Call):
            self._call(node)
        elif isinstance(node, ast.AnnAssign):
            self._annotation(node.annotation)
            self._feed("Assign")
            self._children(node.target, node.value)
            self._registry(node.value)
        elif isinstance(node, ast.Assign):
            self._feed("Assign")
            self._children(*node.targets, node.value)
            self._registry(node.value)
        elif isinstance(node, ast.Subscript) and _ends_with(node.value, "Literal"):
            self._feed("Literal")
        else:
            self._plain(node)

    def _children(self, *nodes: ast.AST | None) -> None:
        """Nodes, but for rows of a registry, which `_registry` reads."""
        rows = {id(row) for node in nodes if node is not None for _, row in self._rows(node)}
        keys = {id(key) for node in nodes if rows and isinstance(node, ast.Dict) for key in node.keys}
        for node in nodes:
            if node is not None:
                self._walk(node, rows | keys)

    def _walk(self, node: ast.AST, left_out: set[int]) -> None:
        if left_out and _holds(node, left_out):
            for child in ast.iter_child_nodes(node):
                if id(child) not in left_out:
                    self._walk(child, left_out)
        else:
            self._visit(node)

    def _rows(self, node: ast.AST) -> list[tuple[list[str], ast.AST]]:
        """The rows that a registry's value is made of, with the words that name each; one without is always used."""
        if not self._is_registry:
            return []
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            return [([str(key.value)], value) for key, value in pairs if isinstance(key, ast.Constant)]
        if isinstance(node, ast.Tuple | ast.List):
            return [(words, each) for each in node.elts if (words := _row_names(each))]
        if isinstance(node, ast.DictComp):
            return self._rows(node.generators[0].iter)
        return []

    def _registry(self, value: ast.AST | None) -> None:
        if value is not None:
            self.found.rows += [(words, self._part(row)) for words, row in self._rows(value)]

    def _plain(self, node: ast.AST) -> None:
        self._feed(type(node).__name__)
        for name, value in ast.iter_fields(node):
            if name in _SILENT or value is None or value == []:
                continue
            if name in ("annotation", "returns"):
                self._annotation(value)
                continue
            self._feed(name)
            if name == "body" and isinstance(value, list):
                value = [each for each in value if not is_text(each)]
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, ast.AST):
                    self._visit(each)
                else:
                    self._feed(repr(each))
        self._feed(".")

    def _class(self, node: ast.ClassDef) -> None:
        """A class with its fields and its special methods; the others are parts."""
        parts = [each for each in node.body if isinstance(each, FUNCTIONS) and not each.name.startswith("__")]
        for each in parts:
            part = self._part(each)
            same = self.found.methods.get(each.name)  # a property's setter
            self.found.methods[each.name] = _joined(same, part) if same else part
        rest = [each for each in node.body if each not in parts]
        self.found.has_init = any(isinstance(each, FUNCTIONS) and each.name == "__init__" for each in rest)
        for annotated in [
            each for each in rest if isinstance(each, ast.AnnAssign)
        ]:  # which a dataclass takes for fields
            self._feed("constant" if "ClassVar" in ast.unparse(annotated.annotation) else "field")
        self._plain(ast.ClassDef(node.name, node.bases, node.keywords, rest, node.decorator_list))

    def _call(self, node: ast.Call) -> None:
        """A call; the code that it hands to something of ours by keyword is a part."""
        called, kept = self._dotted(node.func)[1], []
        if called:
            self.found.said += [each.value for each in _handed(node) if isinstance(each.value, str)]
        for each in node.keywords:
            if called and each.arg and self._is_code(each.value):
                self.found.keywords.append((called, each.arg, self._part(each.value)))
                self._feed(each.arg)
            else:
                kept.append(each)
        self._plain(ast.Call(node.func, node.args, kept))

    def _is_code(self, node: ast.AST) -> bool:
        names = (each for each in ast.walk(node) if isinstance(each, ast.Name | ast.Lambda))
        return any(isinstance(each, ast.Lambda) or each.id in self.known for each in names)

    def _name(self, node: ast.Name | ast.Attribute) -> None:
        chain, place = self._dotted(node)
        if place:
            self.found.refers[chain] = place
        while isinstance(node, ast.Attribute):
            self.found.attributes.append(node.attr)
            self._feed(f".{node.attr}")
            node = node.value  # type: ignore[assignment]
        if isinstance(node, ast.Name):
            self._feed(node.id)
            if node.id == "__path__":
                self.found.refers[node.id] = node.id
        else:
            self._visit(node)

    def _dotted(self, node: ast.AST) -> tuple[str, str]:
        """A name with its attributes as it is written, and the place that it means; both empty for anything else."""
        chain: list[str] = []
        while isinstance(node, ast.Attribute):
            chain.insert(0, node.attr)
            node = node.value
        if isinstance(node, ast.Name) and node.id in self.known:
            return ".".join([node.id, *chain]), ".".join([self.known[node.id], *chain])
        return "", ""

    def _constant(self, node: ast.Constant) -> None:
        self._feed(repr(node.value))
        if isinstance(node.value, str):
            self.found.words.append(node.value)
            if _PLACE.fullmatch(node.value):
                self.found.refers[node.value] = node.value.replace(":", ".")

    def _annotation(self, node: ast.AST) -> None:
        """An annotation is no part of the digest, and what it names is reached: its methods may be called."""
        for each in ast.walk(node):
            if isinstance(each, ast.Constant) and isinstance(each.value, str):
                try:
                    self._annotation(ast.parse(each.value, mode="eval").body)
                except SyntaxError:
                    continue  # a word of a Literal
            elif isinstance(each, ast.Name | ast.Attribute) and (place := self._dotted(each)[1]):
                self.found.refers.setdefault(f": {place}", place)

    def _feed(self, text: str) -> None:
        self._digest.update(text.encode())
        self._digest.update(b"\0")


def _row_names(row: ast.AST) -> list[str]:
    """What a row can be named by: a word by itself, a call by its first word, `name=` and `aliases=`."""
    if isinstance(row, ast.Constant) and isinstance(row.value, str):
        return [row.value]
    if not isinstance(row, ast.Call):
        return []
    named = [*row.args[:1], *(each.value for each in row.keywords if each.arg in ("name", "aliases"))]
    return [
        each.value
        for node in named
        for each in ast.walk(node)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    ]


def _handed(call: ast.Call) -> Iterator[ast.Constant]:
    for value in (*call.args, *(each.value for each in call.keywords)):
        if isinstance(value, ast.Constant):
            yield value


def _ends_with(node: ast.AST, name: str) -> bool:
    return (isinstance(node, ast.Name) and node.id == name) or (isinstance(node, ast.Attribute) and node.attr == name)


def _holds(node: ast.AST, wanted: set[int]) -> bool:
    return any(id(each) in wanted for each in ast.walk(node))


def _joined(one: Definition, other: Definition) -> Definition:
    return Definition(
        hashlib.sha256(f"{one.text}{other.text}".encode()).hexdigest()[:16],
        one.refers | other.refers,
        sorted({*one.attributes, *other.attributes}),
        sorted({*one.words, *other.words}),
        keywords=one.keywords + other.keywords,
    )


def brought_in(node: ast.AST) -> Iterator[tuple[str, str]]:
    """What an import brings in of the project, dotted."""
    if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in OURS:
        yield from ((each.asname or each.name, f"{node.module}.{each.name}") for each in node.names)
    elif isinstance(node, ast.Import):
        for each in node.names:
            if each.name.partition(".")[0] in OURS:
                yield (each.asname, each.name) if each.asname else (each.name.partition(".")[0],) * 2


def is_text(statement: ast.stmt) -> bool:
    """Whether it is a docstring, or another text that does nothing."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
