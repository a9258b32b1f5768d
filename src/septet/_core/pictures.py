"""What every drawing function does around its drawing: its own figure or given axes, and a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from septet._core.extras import needs
from septet._core.files import PathLike, replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_figure(size: tuple[float, float]) -> "Figure":
    """Return an empty figure of `size` inches that no window shows.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    pictures: Any = needs("matplotlib.figure", extra="report", purpose="drawing")
    return pictures.Figure(size, layout="constrained")


def axes_or_new(ax: "Axes | None", size: tuple[float, float]) -> "Axes":
    """Return the axes that were given, or those of a new figure of `size` inches."""
    return new_figure(size).add_subplot() if ax is None else ax


def figure_of(ax: "Axes") -> "Figure":
    """Return the whole figure that axes belong to, also if they are within a part of it."""
    figure: Figure = ax.get_figure(root=True)  # pyrefly: ignore[bad-assignment]
    return figure


def save_figure(figure: "Figure", path: PathLike) -> None:
    """Write a figure whole or not at all; the suffix says in which format.

    Raises
    ------
    ValueError
        If the suffix names no format that matplotlib can write.
    """
    path = Path(path)
    known = figure.canvas.get_supported_filetypes()
    if (kind := path.suffix.lstrip(".").lower()) not in known:
        raise ValueError(f"a plot must end in one of {', '.join(sorted(known))}; got {path}.")
    with replacing(path) as file:
        figure.savefig(file, format=kind)
