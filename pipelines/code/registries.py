"""The registries of the project: what stands in one is used where something names it, and not because it is there.

A row is reached where one of its names is among the words of a call's parameters, of what the call is made from, or of
the code that is reached. So a new benchmark, merge method, family, scaling or kind of table leaves what others made as
it is. A registry that is not listed is reached whole.
"""

REGISTRIES = (
    "drift.families.FAMILIES",
    "drift.merging.config._ROWS",
    "drift.merging.config._WITHOUT_BASE",
    "drift.scaling.SCALINGS",
    "drift.scaling.WITHOUT_DOT",
    "drift.scaling.WITHOUT_GRADIENT",
    "evaluation.engines.config._ENGINES",
    "pipelines.lab.families.LAB_FAMILIES",
    "pipelines.lab.text_families.TEXT",
    "pipelines.report.kinds.KINDS",
)
"""Constants whose rows are in their value: of a mapping by key, else by themselves or the first word of their call."""

DECORATED = {"drift.merging.methods.recipe": "drift.merging.methods.RECIPES"}
"""Decorators that put a function, by its name, into a registry."""

FOLDERS = {"evaluation.benchmarks": "BENCHMARKS"}
"""Packages whose modules each have rows in a constant of this name; `base` has none."""
