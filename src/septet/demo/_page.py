"""The page: four tabs, served to this machine only."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from septet._core import checks
from septet._core.errors import DataError
from septet._core.extras import needs
from septet.demo import _enhance, _novelty, _shortlist, _spikes

if TYPE_CHECKING:
    import gradio

HOST = "127.0.0.1"
# What the browser may load: this server's own files and what the page itself makes.
_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; connect-src 'self' data: blob: ws: wss:"
)
_FONT = ("ui-sans-serif", "system-ui", "sans-serif")
_MONO = ("ui-monospace", "Consolas", "monospace")


def build(folder: Path) -> "gradio.Blocks":
    """Return the page without serving it.

    Parameters
    ----------
    folder : Path
        Where results may be written.

    Returns
    -------
    gradio.Blocks
        With one tab for each module.

    Raises
    ------
    MissingExtraError
        If Gradio is not installed.
    """
    gr = _gradio()
    with gr.Blocks(title="Septet", analytics_enabled=False) as page:
        gr.Markdown("# Septet\nFour of the seven methods to try. Nothing leaves this machine.")
        for title, tab in (
            ("Enhance a recording", partial(_enhance.tab, folder)),
            ("Shortlist candidates", partial(_shortlist.tab, folder)),
            ("Spikes that learn", _spikes.tab),
            ("Find what is new", _novelty.tab),
        ):
            with gr.Tab(title):
                tab()
    return page


def serve(
    *,
    port: int | None = None,
    open_browser: bool = True,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the page on this machine until interrupted.

    Parameters
    ----------
    port : int, optional
        Port on 127.0.0.1; the first free one from 7860 on by default.
    open_browser : bool, default True
        Open the page in the browser.
    ready : callable, optional
        Called with the page's address once it can be opened.

    Raises
    ------
    DataError
        If the port is taken.
    MissingExtraError
        If Gradio is not installed.
    """
    gr = _gradio()
    if port is not None:
        checks.integer("port", port, low=1, high=65535)
    with _private_folder() as folder:
        page = build(folder)
        try:
            _, address, _ = page.launch(
                server_name=HOST,
                server_port=port,
                inbrowser=open_browser,
                share=False,
                quiet=True,
                ssr_mode=False,
                run_history=False,
                footer_links=[],
                prevent_thread_lock=True,
                theme=gr.themes.Base(font=_FONT, font_mono=_MONO),
                app_kwargs={"middleware": [_own_files_only()]},
            )
        except OSError as error:
            raise DataError(
                f"the page cannot be served on {HOST}, port {port or 'any'}: {error}"
            ) from error
        try:
            if ready is not None:
                ready(address)
            with suppress(KeyboardInterrupt):  # how a visit ends
                while True:
                    time.sleep(3600)
        finally:
            page.close(verbose=False)


@contextmanager
def _private_folder() -> Iterator[Path]:
    """Keep what is uploaded and made in a folder that goes when the page does."""
    wanted = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory(prefix="septet-demo-") as folder:
        wanted["GRADIO_TEMP_DIR"] = folder
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        try:
            yield Path(folder)
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _own_files_only() -> Any:
    """Return what tells the browser with every answer to load nothing from elsewhere."""
    from starlette.middleware import Middleware

    def around(app: Any) -> Any:
        async def answer(scope: Any, receive: Any, send: Any) -> None:
            async def send_with_policy(message: Any) -> None:
                if message["type"] == "http.response.start":
                    header = (b"content-security-policy", _POLICY.encode("ascii"))
                    message["headers"] = [*message.get("headers", ()), header]
                await send(message)

            await app(scope, receive, send_with_policy)

        return answer

    return Middleware(around)


def _gradio() -> Any:
    return needs("gradio", extra="demo", purpose="the local web page")
