"""What a run shows beside its figures; kept in the run folder, assembled by `septet.report`."""

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from septet._core.errors import MissingExtraError
from septet._core.extras import needs
from septet._core.files import replacing, write_json, write_text

# Drawn in this odd colour and replaced in the SVG, so that text follows the page's light or dark.
_INK = "#0a0b0c"
STYLE = {
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": _INK,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.frameon": False,
    "legend.labelcolor": _INK,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "septet",
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


@dataclass(frozen=True)
class Figure:
    """A drawing: `draw(figure)` fills an empty matplotlib figure of `size` inches."""

    title: str
    caption: str
    draw: Any
    size: tuple[float, float] = (7.0, 3.6)


@dataclass(frozen=True)
class Table:
    """Rows of numbers or words under named columns."""

    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Audio:
    """A recording that can be played in the report; `wav` is a whole WAV file."""

    title: str
    caption: str
    wav: bytes


Exhibit: TypeAlias = Figure | Table | Audio


def svg(exhibit: Figure) -> str:
    """Draw a figure as a fragment of SVG that inherits the text colour of the page around it."""
    needs("matplotlib", extra="report", purpose="drawing the report's figures")
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as MatplotlibFigure

    with mpl.rc_context({**mpl.rcParamsDefault, **STYLE}):
        figure = MatplotlibFigure(figsize=exhibit.size)
        FigureCanvasSVG(figure)
        exhibit.draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue().replace(_INK, "currentColor")
    return re.sub(r"^.*?(?=<svg)", "", text, count=1, flags=re.DOTALL)


def write_exhibits(exhibits: Iterable[Exhibit], folder: Path) -> None:
    """Write every exhibit below `folder`, listed in ``exhibits.json`` in their order."""
    folder.mkdir(parents=True, exist_ok=True)
    listed: list[dict[str, Any]] = []
    for i, exhibit in enumerate(exhibits):
        entry: dict[str, Any] = {"title": exhibit.title, "caption": exhibit.caption}
        if isinstance(exhibit, Table):
            entry |= {"kind": "table", "columns": list(exhibit.columns)}
            entry["rows"] = [list(row) for row in exhibit.rows]
        elif isinstance(exhibit, Audio):
            entry |= {"kind": "audio", "file": f"{i:02d}.wav"}
            with replacing(folder / entry["file"]) as file:
                file.write(exhibit.wav)
        else:
            entry |= {"kind": "figure", "file": f"{i:02d}.svg"}
            try:
                write_text(folder / entry["file"], svg(exhibit))
            except MissingExtraError as error:
                entry = {"kind": "missing", "title": exhibit.title, "caption": str(error)}
        listed.append(entry)
    write_json(folder / "exhibits.json", listed)
