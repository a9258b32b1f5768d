"""Finding recipes and reading their settings: TOML in, frozen dataclass out, closed key sets."""

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from septet._core import checks
from septet._core.errors import DataError
from septet.recipes._claims import Claim

SCALES = ("smoke", "laptop", "full", "paper")
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Scale:
    """What one scale of a recipe needs and which settings it changes."""

    name: str
    seconds: float
    """Expected wall time on two cores."""
    memory_mb: float
    """Expected peak memory."""
    data: tuple[str, ...]
    """Data sets, by their names in `septet.data`."""
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Recipe:
    """One experiment, by its name such as ``"cohort"`` or ``"optim.llama"``."""

    name: str
    title: str
    summary: str
    command: str
    """A command that shows within a minute what the method does."""
    scales: Mapping[str, Scale]
    claims: tuple[Claim, ...]

    @cached_property
    def module(self) -> ModuleType:
        """The recipe's code; importing it may need the extras of its method."""
        return import_module(f"septet.recipes.{self.name.replace('.', '_')}.run")

    def scale(self, name: str) -> Scale:
        """Return one scale, or say which there are."""
        if name not in self.scales:
            raise ValueError(
                f"scale must be one of {', '.join(self.scales)} for {self.name}; got {name!r}."
            )
        return self.scales[name]

    def config(self, scale: str) -> Any:
        """Build the complete settings at `scale`."""
        where = f"recipe {self.name}, scale {scale}"
        return build(self.module.Config, self.scale(scale).settings, where)


def names() -> list[str]:
    """Names of all recipes, sorted."""
    folders = (path.parent.name for path in _FOLDER.glob("*/config.toml"))
    return sorted(folder.replace("_", ".") for folder in folders)


def load(name: str) -> Recipe:
    """Read a recipe's settings and claims; its code is imported only when used.

    Raises
    ------
    ValueError
        If there is no such recipe; the message suggests the nearest.
    DataError
        If its files do not say what they must.
    """
    folder = _FOLDER / checks.choice("recipe", name, names()).replace(".", "_")
    table = tomllib.loads((folder / "config.toml").read_text("utf-8"))
    claims = tomllib.loads((folder / "claims.toml").read_text("utf-8"))
    try:
        scales = {
            scale: Scale(
                scale,
                float(entry["seconds"]),
                float(entry["memory_mb"]),
                tuple(entry.get("data", ())),
                entry.get("settings", {}),
            )
            for scale, entry in table["scales"].items()
        }
        head = {key: str(table[key]) for key in ("title", "summary", "command")}
    except KeyError as error:
        raise DataError(f"{folder.name}/config.toml lacks {error}.") from None
    where = f"{folder.name}/claims.toml"
    read = tuple(Claim.read(entry, where) for entry in claims.get("claim", ()))
    return Recipe(name, **head, scales=scales, claims=read)


def build(cls: type, table: Mapping[str, Any], where: str) -> Any:
    """Build a frozen dataclass from a table; unknown keys and wrong types are refused by name."""
    hints = get_type_hints(cls)
    fields = {f.name for f in dataclasses.fields(cls)}
    for key in table:
        if key not in fields:
            hint = checks.did_you_mean(key, fields)
            raise DataError(f"{where}: unknown setting {key!r}.{hint}")
    return cls(**{key: _coerce(hints[key], table[key], f"{where}: {key}") for key in table})


def _coerce(hint: Any, value: Any, where: str) -> Any:
    """Return a TOML value as the type a field declares, or name what was wrong."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value, where)
    options = get_args(hint)
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise DataError(f"{where} must be a list; got {value!r}.")
        kinds = options[:1] * len(value) if options[1:] == (...,) else options
        if len(kinds) != len(value):
            raise DataError(f"{where} must have {len(kinds)} entries; got {value!r}.")
        return tuple(map(_coerce, kinds, value, [where] * len(value)))
    if get_origin(hint) is Literal and value not in options:
        raise DataError(f"{where} must be one of {', '.join(map(repr, options))}; got {value!r}.")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and type(value) is not hint:
        raise DataError(f"{where} must be {hint.__name__}; got {value!r}.")
    return value
