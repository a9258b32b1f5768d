"""The errors of the library that are not about an argument's value or type."""


class SeptetError(Exception):
    """Base of all errors that are Septet's own."""


class DataError(SeptetError):
    """A data set or input file is missing, damaged or not what it claims to be."""


class CheckpointError(DataError):
    """A checkpoint is damaged, incomplete, of another version or does not fit."""


class InfeasibleError(SeptetError):
    """No solution satisfies what was asked; the message or an attribute says why."""


class MissingExtraError(SeptetError, ImportError):
    """An optional dependency is needed; the message names the extra that installs it."""


class SeptetWarning(UserWarning):
    """Something legitimate but noteworthy: the result stands and the message says what to know."""
