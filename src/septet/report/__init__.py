"""Run folders in, one self-contained HTML file out: inline SVG, no script, light and dark."""

from septet.report._html import write_index, write_report

__all__ = ["write_index", "write_report"]
