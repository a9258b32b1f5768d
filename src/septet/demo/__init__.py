"""A local web page with four of the methods to try: ``septet demo``.

Each tab is a module of its own: functions that do the work, which know nothing of the page, and
`tab`, which lays it out. The page is served to this machine only and asks nothing of any other.
Gradio is imported when a page is built, not with this package.
"""

from septet.demo._page import build, serve

__all__ = ["build", "serve"]
