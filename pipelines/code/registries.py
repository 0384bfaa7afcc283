"""What of the project's source is told apart from the rest of it: registries, and what names things and computes none.

What stands in a registry is used where something names it, and not because it is there: a row is reached where one of
its names is among the words of a call's parameters, of what the call is made from, or of the code that is reached. So
a new benchmark, merge method, family, scaling or kind of table leaves what others made as it is. A registry that is
not listed is reached whole. What names (`NAMING`) is never reached.
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

NAMING = {
    "drift.config": (
        # What a config is called: keys of a record, and what is hashed to tell two of them apart.
        "Identified", "identity_of", "_identity_fields",
        # What refuses a config. One that passes is passed on as it is, and one that does not makes nothing.
        "Range", "Count", "Natural", "NotNegative", "Positive", "Share", "LessThanOne", "SomeShare", "Strength",
        "faults", "_field_faults", "_stated", "_numbers", "ranges_of", "_refuse",
    ),
    "drift.errors": ("closest",),  # what an error suggests
    "pipelines.fingerprint": ("canonical", "fingerprint"),  # what an artifact is called, and how it says its parameters
}  # fmt: skip
"""By module what only names, identifies or refuses: no number comes out of it, so a change of it changes none.

It is reached by nearly everything. Only what computes nothing may stand here: what an artifact holds is not made again
where it changes.
"""
