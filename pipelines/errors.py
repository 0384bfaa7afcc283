"""The errors of the pipeline: all are DriftErrors, so the command line prints each as one message."""

from drift.errors import DriftError


class ConfigError(DriftError):
    """A config names an unknown key or choice, or holds a value of another type; lists every such fault."""


class NoSuchKeyError(ConfigError):
    """An override names a key that the choice made in its group does not have; `key` is its name."""

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message, key)
        self.key = key

    def __str__(self) -> str:
        return str(self.args[0])


class PreflightError(DriftError):
    """This machine lacks what a run wants; lists all of it, each with what to do."""


class RehearsalError(DriftError):
    """The rehearsal found what the full run would have met; names it."""


class StoreError(DriftError):
    """The store can't be used as it is; a person must look at it."""


class DamageError(StoreError):
    """An artifact is not what was sealed."""

    def __str__(self) -> str:
        return f"{self.args[0]}; a run sets it aside and makes it again"


class OutdatedError(DamageError):
    """An artifact is whole, and was made from another input than lies in the store now."""

    def __str__(self) -> str:
        return f"{self.args[0]}; a run makes it again"


class StageError(DriftError):
    """A stage stopped; the message is the stage's own, with the place of its log."""
