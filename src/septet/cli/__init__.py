"""The `septet` command: parse, call one public function, print.

``GROUPS`` and ``septet.cli._house`` are the whole table of commands. A group is a module with
``COMMANDS``: verb to function. Modules here import nothing heavy at the top, so that ``--help`` is
instant.
"""

import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from inspect import Parameter, signature
from io import TextIOWrapper
from typing import Annotated, Any, get_origin

import septet
from septet._core.checks import did_you_mean
from septet._core.errors import DataError, SeptetError, SeptetWarning

GROUPS = {
    "optim": "train with a fraction of the optimizer's memory",
    "robust": "raise the accuracy of the worst group",
    "spiking": "learn and simulate spiking neurons, watch convergence, find novelty",
    "audio": "classify audio from several views",
    "speech": "enhance and score speech",
    "cohort": "choose exactly k people fairly, and prove it",
    "data": "find, fetch and verify data sets",
}
OK, MISSED, USAGE, DATA, INTERRUPTED = 0, 1, 2, 3, 130
Command = Callable[..., int]
_formatted = warnings.formatwarning


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 is success, 1 a claim that was missed, 2 a usage error, 3 data or checkpoints that are
    missing, damaged or do not fit, and 130 an interruption. ``SEPTET_DEBUG=1`` shows the traceback
    of any error.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    _speak_utf8()
    usual, warnings.formatwarning = warnings.formatwarning, _warned
    try:
        code = _dispatch(words)
        if sys.stdout is not None:  # as it is where standard output was closed from the start
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader went away, as `head` does: nothing is wrong and nobody is listening.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        said = "Interrupted: a command that keeps checkpoints goes on from here if given again."
        print(f"\n{said}", file=sys.stderr)
        return INTERRUPTED
    except (SeptetError, ValueError, TypeError, OverflowError, OSError) as error:
        if os.environ.get("SEPTET_DEBUG"):
            raise
        print(f"septet: {error}", file=sys.stderr)
        return (
            DATA
            if isinstance(error, DataError | OSError) and not isinstance(error, ImportError)
            else USAGE
        )
    finally:
        warnings.formatwarning = usual
    return code


def _speak_utf8() -> None:
    """Let results be UTF-8 in pipes and files, and no terminal refuse a letter that it lacks."""
    if isinstance(sys.stdout, TextIOWrapper):
        if sys.stdout.isatty():
            sys.stdout.reconfigure(errors="backslashreplace")
        else:  # names of files that are no UTF-8 go out as they came in
            sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")


def _warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """What a warning says; those that are not ours tell where they come from."""
    if issubclass(category, SeptetWarning):
        return f"septet: {message}\n"
    return _formatted(message, category, filename, lineno, line)


def commands(group: str) -> Mapping[str, Command]:
    """Verbs of a group; empty where the method is not there yet."""
    module = f"septet.cli._{group}"
    return import_module(module).COMMANDS if find_spec(module) else {}


def _dispatch(words: list[str]) -> int:
    house = commands("house")
    if not words or words[0] in {"-h", "--help", "help"}:
        print(_overview(house) if words else _welcome())
        return OK
    if words[0] == "--version":
        print(septet.__version__)
        return OK
    head, *rest = words
    if head in house:
        return _call(f"septet {head}", house[head], rest)
    if head in GROUPS and (verbs := commands(head)):
        if not rest or rest[0] in {"-h", "--help"}:
            print(f"septet {head}: {GROUPS[head]}\n\n{_listing(verbs)}")
            return OK
        if rest[0] in verbs:
            return _call(f"septet {head} {rest[0]}", verbs[rest[0]], rest[1:])
        return _unknown(f"septet {head}", rest[0], list(verbs))
    return _unknown("septet", head, [*house, *filter(commands, GROUPS)])


def _call(prog: str, function: Command, rest: list[str]) -> int:
    import tyro

    try:
        if list(signature(function).parameters) == ["words"]:  # it parses for itself
            return function(rest)
        return tyro.cli(
            _with_names(function),
            prog=prog,
            args=rest,
            config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
        )
    except SystemExit as stop:  # how the parser ends: 0 after --help, 2 after a wrong word
        return stop.code if isinstance(stop.code, int) else USAGE


def _with_names(function: Command) -> Command:
    """Return the function with positional arguments that help shows by name, not by type."""
    import tyro

    mark = tyro.conf.Positional[int].__metadata__[0]  # pyrefly: ignore[missing-attribute]
    parameters = signature(function).parameters

    def shown(name: str, hint: Any) -> Any:
        if mark not in getattr(hint, "__metadata__", ()):
            return hint
        word = name.upper()
        if get_origin(hint.__origin__) is tuple:
            word = f"[{word} ...]"
        elif parameters[name].default is not Parameter.empty:
            word = f"[{word}]"
        return Annotated[hint, tyro.conf.arg(metavar=word)]

    @wraps(function)
    def named(*args: Any, **options: Any) -> int:
        return function(*args, **options)

    del named.__wrapped__  # pyrefly: ignore[missing-attribute]  # or the parser looks through it
    named.__annotations__ = {k: shown(k, v) for k, v in function.__annotations__.items()}
    named.__signature__ = signature(function)  # pyrefly: ignore[missing-attribute]
    return named


def _unknown(prog: str, word: str, known: list[str]) -> int:
    hint = did_you_mean(word, known)
    print(f"{prog}: no command {word!r}.{hint} {prog} --help lists them.", file=sys.stderr)
    return USAGE


def _overview(house: Mapping[str, Command]) -> str:
    groups = "\n".join(f"  {name:<10} {what}" for name, what in GROUPS.items() if commands(name))
    return (
        "septet: seven published learning methods as software their fields can use\n\n"
        f"{_listing(house)}\n\n{groups}\n\n"
        "septet COMMAND --help tells more; most commands print JSON with --json."
    )


def _listing(verbs: Mapping[str, Command]) -> str:
    return "\n".join(
        f"  {name:<10} {(function.__doc__ or '').strip().partition(chr(10))[0]}"
        for name, function in verbs.items()
    )


def _welcome() -> str:
    from septet import recipes

    lines = ["Septet: seven published learning methods. One command each to begin with:", ""]
    for name in recipes.names():
        recipe = recipes.load(name)
        lines += [f"  {recipe.title}", f"    {recipe.command}"]
    return "\n".join([*lines, "", "septet --help lists everything."])
