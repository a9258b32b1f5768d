"""Optional third parties: imported where they are needed; the error says what to install."""

from importlib import import_module
from typing import Any

from septet._core.errors import MissingExtraError


def needs(module: str, *, extra: str, purpose: str) -> Any:
    """Import and return `module`, or say which extra brings it.

    Parameters
    ----------
    module : str
        Import name, such as ``"soxr"`` or ``"matplotlib.figure"``.
    extra : str
        The extra of this package that installs it.
    purpose : str
        What it is needed for; the message begins with it.

    Raises
    ------
    MissingExtraError
        If the module (not merely something inside it) cannot be found.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        top = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != top:
            raise
        raise MissingExtraError(
            f'{purpose} needs {top}: pip install "septet[{extra}]"', name=top
        ) from error
