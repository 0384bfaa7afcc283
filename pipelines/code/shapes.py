"""What is kept of a module's source: its definitions, and what each refers to."""

from dataclasses import dataclass, field

OURS = ("drift", "evaluation", "pipelines")
BODY, SCRIPT = "<body>", "<script>"
"""The statements that run when a module is imported, and those that run when it is started."""


@dataclass
class Definition:
    """A function, class, constant, or part of one.

    Attributes:
        text: the digest of its source without what changes no result and without its parts.
        refers: what it names of the project, dotted and absolute, by how it names it.
        attributes: the names that it accesses on anything.
        words: its strings.
        said: those of them that it hands to something of the project.
        methods: parts that are used by their names as attributes.
        keywords: (what is called, keyword, the code handed over).
        rows: (the words that name it, the row).
        bases: of a class, dotted where they are the project's.
        accepts: of a function with **, its named parameters; else None.
        decorators: dotted, of the project.
        has_init: of a class, whether it says itself what it is made from.
    """

    text: str = ""
    refers: dict[str, str] = field(default_factory=dict)
    attributes: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    methods: "dict[str, Definition]" = field(default_factory=dict)
    keywords: "list[tuple[str, str, Definition]]" = field(default_factory=list)
    rows: "list[tuple[list[str], Definition]]" = field(default_factory=list)
    bases: list[str] | None = None
    accepts: list[str] | None = None
    decorators: list[str] = field(default_factory=list)
    has_init: bool = False


@dataclass
class Module:
    """A module's definitions by name, and what its imports bring in, dotted."""

    definitions: dict[str, Definition]
    imports: dict[str, str]
