"""One family of errors: what was found, what was expected, what to do. The command line prints them as one line."""


class DriftError(Exception):
    """Base of every error that a user can cause and mend; anything else is a defect and keeps its traceback."""


class CheckpointError(DriftError):
    """A checkpoint folder, shard or tensor is missing, truncated or of another shape."""


class CoverageError(DriftError):
    """A prior and a model do not cover the same parameters."""


class FamilyError(DriftError):
    """A model family is unknown or does not fit the checkpoint."""


class TrainingError(DriftError):
    """Training can't go on: loss not finite, no examples, an example that is too long."""


class DataError(DriftError):
    """A data file lacks a column or an image, has no rows, or holds what its format forbids."""


def closest(key: str, choices: object) -> str:
    """The choices as a sentence, the one nearest to `key` first: for "unknown X" messages."""
    from difflib import get_close_matches

    known = sorted(str(c) for c in choices)  # type: ignore[attr-defined]
    near = get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}known: {', '.join(known)}"
