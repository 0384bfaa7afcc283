"""What a stage's function reaches of the project's source, by name, and the digest of it.

Sound for what the project does: a name, an import (inside a function too), a module named in a string, a decorator that
registers, a method by its name, code that is handed over by keyword. More is reached than is run; a test runs stages
and looks for a function that ran and was not reached. What only names things (`NAMING`) is never reached, neither as
itself nor as what another definition refers to.
"""

import hashlib
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property

from pipelines.code.registries import DECORATED, FOLDERS, NAMING
from pipelines.code.shapes import BODY, Definition, Module

_WITHOUT_ROWS = "base"  # the module of a folder of rows that says what a row is
Place = tuple[str, str]
"""Module and definition; behind a colon a part of it: a method, a keyword, a row."""


class Source:
    """The modules of a tree by their dotted names."""

    def __init__(self, modules: Mapping[str, Module]) -> None:
        self.modules = modules

    def target(self, dotted: str) -> Place | None:
        """The definition that a dotted name means, re-exports followed; a whole module has no second part."""
        parts = dotted.split(".")
        length = next((n for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in self.modules), 0)
        module, rest = ".".join(parts[:length]), parts[length:]
        if not rest or not length:
            return (module, "") if length else None
        content = self.modules[module]
        if rest[0] in content.definitions:
            return module, rest[0]
        imported = content.imports.get(rest[0], dotted)
        return None if dotted.startswith(imported) else self.target(".".join([imported, *rest[1:]]))

    def definition(self, place: Place | None) -> Definition | None:
        """What stands there; None for a whole module."""
        return self.modules[place[0]].definitions.get(place[1]) if place else None

    def rows(self, module: str, name: str) -> Iterator[tuple[list[str], Place, Definition]]:
        """The rows of a constant, by what names them; of one that is no registry there are none."""
        for count, (words, row) in enumerate(self.modules[module].definitions[name].rows):
            yield words, (module, f"{name}:{words[0] if words else count}"), row
        for place in self._decorated.get(f"{module}.{name}", []):
            yield [place[1]], place, self.modules[place[0]].definitions[place[1]]
        if FOLDERS.get(module) == name:
            for part in self.modules:
                package, _, stem = part.rpartition(".")
                if package == module and stem != _WITHOUT_ROWS and name in self.modules[part].definitions:
                    yield from self.rows(part, name)

    @cached_property
    def _decorated(self) -> dict[str, list[Place]]:
        found: dict[str, list[Place]] = {}
        for module, content in self.modules.items():
            for name, definition in content.definitions.items():
                for registry in filter(None, map(DECORATED.get, definition.decorators)):
                    found.setdefault(registry, []).append((module, name))
        return found

    @cached_property
    def names(self) -> frozenset[str]:
        """All that any row of a registry can be named by."""
        every = ((module, name) for module, content in self.modules.items() for name in content.definitions)
        return frozenset(word for place in every for words, _, _ in self.rows(*place) for word in words)

    def is_open(self, definition: Definition) -> bool:
        """Whether others may call the class's methods: it inherits from what is not ours."""
        inherited = [self.definition(self.target(base) if base else None) for base in definition.bases or []]
        return any(base is None or self.is_open(base) for base in inherited)

    def takes_fields(self, called: str, keyword: str) -> bool:
        """Whether a keyword of what is called becomes an attribute: a plain class's, or one that is passed on."""
        found = self.definition(self.target(called))
        if found is not None and found.bases is not None:
            return not found.has_init and not self.is_open(found)
        return found is not None and found.accepts is not None and keyword not in found.accepts


@dataclass(frozen=True)
class Reached:
    """What an entry reaches.

    Attributes:
        texts: the digest of each definition's own source, by place.
        refers: by place, what each refers to: by how it names it, the place.
        asked: every name that a row waited for.
    """

    texts: Mapping[str, str]
    refers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    asked: frozenset[str] = frozenset()

    @property
    def digest(self) -> str:
        """Equal where the same definitions with the same references are reached, wherever they stand."""
        return hashlib.sha256("\n".join(sorted(self.lines)).encode()).hexdigest()[:32]

    @property
    def lines(self) -> list[str]:
        """Each definition by name, with its text and the texts of what it refers to: whichever that is by now."""
        return [self._line(place) for place in self.texts if not is_naming(place)]

    def is_within(self, earlier: "Reached") -> bool:
        """Whether all of it was reached earlier as it is now.

        What was reached beside it was so through what names: else what referred to it would read differently now.
        Of records of before there were references, the texts alone tell.
        """
        if earlier.refers:
            return set(self.lines) <= set(earlier.lines)
        return {(_label(place), text) for place, text in self.texts.items()} <= {
            (_label(place), text) for place, text in earlier.texts.items()
        }

    def _line(self, place: str) -> str:
        refers = self.refers.get(place, {}).items()
        said = " ".join(f"{name}={self.texts[at]}" for name, at in sorted(refers) if not is_naming(at))
        return f"{_label(place)} {self.texts[place]} {said}"


def is_naming(place: str) -> bool:
    """Whether what stands in a place, or what it is a part of, names things and computes none."""
    module, label, *_ = place.split(":")
    return label in NAMING.get(module, ())


def _label(place: str) -> str:
    return place.partition(":")[2]


def reach(source: Source, run: str, words: Set[str]) -> Reached:
    """What the function `module:name` reaches.

    Args:
        words: of a call's parameters and of what it is made from, by which rows of registries are named.
    """
    walk = _Walk(source, words)
    walk.name(run.replace(":", "."))
    walk.finish()
    texts = {":".join(place): each.text for place, each in walk.seen.items()}
    refers = {":".join(place): walk.referred(each) for place, each in walk.seen.items()}
    return Reached(texts, refers, frozenset(walk.asked))


class _Walk:
    """A fixpoint: a part waits until something accesses its name, a row until something says it."""

    def __init__(self, source: Source, words: Set[str]) -> None:
        self.source, self.words, self.attributes, self.asked = source, set(words), set[str](), set[str]()
        self.seen: dict[Place, Definition] = {}
        self.waiting: dict[str, list[tuple[Place, Definition]]] = {}  # on an attribute or a word
        self.rows: dict[str, list[tuple[Place, Definition]]] = {}  # on a word
        self.todo: list[tuple[Place, Definition]] = []

    def name(self, dotted: str) -> None:
        """Reaches what a dotted name means."""
        place = self.source.target(dotted)
        if place is None:
            return
        definitions = self.source.modules[place[0]].definitions
        for each in [place[1], BODY] if place[1] else definitions:
            if each in definitions and each not in NAMING.get(place[0], ()):
                self.add((place[0], each), definitions[each])

    def add(self, place: Place, definition: Definition) -> None:
        """Reaches a definition, or a part of one."""
        if place not in self.seen:
            self.seen[place] = definition
            self.todo.append((place, definition))

    def finish(self) -> None:
        """Until nothing more is reached."""
        while self.todo:
            self._look_into(*self.todo.pop())

    def _look_into(self, place: Place, definition: Definition) -> None:
        module, label = place
        for refers in definition.refers.values():
            self.name(refers)
        is_of_folder = ":" in label and module.rpartition(".")[0] in FOLDERS
        self._heard({*definition.attributes, *definition.words}, [] if is_of_folder else definition.said)
        is_open = definition.bases is not None and self.source.is_open(definition)
        for method, part in definition.methods.items():
            self._wait((module, f"{label}:{method}"), part, "" if is_open else method)
        for count, (called, keyword, part) in enumerate(definition.keywords):
            waits = self.source.takes_fields(called, keyword)
            self._wait((module, f"{label}:{keyword}@{count}"), part, keyword if waits else "")
        if ":" not in label:
            for words, row_place, row in self.source.rows(module, label):
                self.asked.update(words)
                if not words or self.words & set(words):
                    self._add_row(row_place, row)
                for word in words:
                    self.rows.setdefault(word, []).append((row_place, row))

    def _add_row(self, place: Place, row: Definition) -> None:
        self.add(place, row)
        body = self.source.modules[place[0]].definitions.get(BODY)
        if body:
            self.add((place[0], BODY), body)

    def _wait(self, place: Place, part: Definition, name: str) -> None:
        if not name or name in self.attributes:
            self.add(place, part)
        else:
            self.waiting.setdefault(name, []).append((place, part))

    def _heard(self, accessed: set[str], said: list[str]) -> None:
        """What waits for an attribute is reached by a string too (`getattr`); a row by what is handed to ours.

        A benchmark of the lab says which one it stands in for, and does not use it.
        """
        for name in accessed:
            for place, part in self.waiting.pop(name, []):
                self.add(place, part)
        for word in said:
            for place, row in self.rows.pop(word, []):
                self._add_row(place, row)
        self.attributes |= accessed
        self.words.update(said)

    def referred(self, definition: Definition) -> dict[str, str]:
        """The places of what a definition refers to, but for annotations and what names."""
        targets = {said: self.source.target(dotted) for said, dotted in definition.refers.items() if said[:2] != ": "}
        return {said: ":".join(place) for said, place in targets.items() if place in self.seen}
