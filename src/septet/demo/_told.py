"""A visitor's mistake becomes a message on the page, not a traceback."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from septet._core.errors import SeptetError

P = ParamSpec("P")
R = TypeVar("R")


def told(function: Callable[P, R]) -> Callable[P, R]:
    """Return `function` with the library's errors turned into messages on the page."""

    @wraps(function)
    def answer(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (SeptetError, ValueError, TypeError, OSError) as error:
            import gradio as gr

            raise gr.Error(str(error), title="That did not work", print_exception=False) from error

    return answer
