"""The local page in a browser: every tab is used once, and nothing comes from anywhere else."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

pytestmark = pytest.mark.slow

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
PATIENCE = 600  # seconds, for a busy machine


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Process and address of a running ``septet demo``, and where it may write."""
    pytest.importorskip("gradio", reason="the extra demo is not installed")
    port, folder = free_port(), tmp_path_factory.mktemp("demo")
    words = ["demo", "--port", str(port), "--no-browser", "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "septet.cli", *words],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=partial(
            signal.signal, signal.SIGINT, signal.SIG_DFL
        ),  # ignored in the background
        env={**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"},
    ) as process:
        said = "".join(iter(process.stdout.readline, "}\n")) + "}"
        address = json.loads(said)["address"]
        assert address == f"http://127.0.0.1:{port}/"
        yield process, address, folder
        process.kill()


@pytest.fixture
def page(served):
    """A browser tab with the page, and the requests that it made."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if BROWSER is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.set_default_timeout(1000 * PATIENCE)
        tab.asked, tab.faults = [], []
        tab.on("request", lambda request: tab.asked.append(request.url))
        tab.on("pageerror", lambda error: tab.faults.append(str(error)))
        tab.goto(served[1])
        yield tab
        own = (served[1], served[1].replace("http:", "ws:"), "data:", "blob:")
        assert [url for url in tab.asked if not url.startswith(own)] == []
        assert tab.faults == []
        browser.close()


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def choose(page, name):
    page.get_by_role("tab", name=name, exact=True).click()


def shown(page, label):
    """The picture under a label, once it is drawn."""
    picture = page.locator(".block", has_text=label).locator("img").first
    picture.wait_for()
    return picture


def test_the_server_can_be_reached_from_this_machine_only(served):
    address = served[1]
    with urllib.request.urlopen(address) as answer:
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        page = answer.read().decode()
    assert "fonts.googleapis" not in page
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    port = f"{urlsplit(address).port:04X}"
    listening = [row[1] for row in rows if row[3] == "0A" and row[1].endswith(port)]
    assert listening == [f"0100007F:{port}"]


def test_a_recording_is_enhanced(page):
    press(page, "Make up a voice in hiss")
    players = page.get_by_role("button", name="Play")
    players.first.wait_for()
    press(page, "Enhance")
    shown(page, "Before and after")
    players.nth(1).wait_for()


def test_a_shortlist_is_chosen(page):
    choose(page, "Shortlist candidates")
    press(page, "Make up 200 candidates")
    page.wait_for_function("document.querySelector('[aria-label=\"Column of scores\"]').value")
    press(page, "Choose")
    page.get_by_text("20 of 200 chosen").wait_for()
    shown(page, "Chance against score")
    page.get_by_text("certificate", exact=True).first.wait_for()


def test_a_mistake_is_told_on_the_page(page):
    choose(page, "Shortlist candidates")
    press(page, "Choose")
    page.get_by_text("Choose a table of candidates first").wait_for()


def test_spikes_are_learned(page):
    choose(page, "Spikes that learn")
    press(page, "Learn")
    page.get_by_text("50 desired spikes").wait_for()
    shown(page, "First pattern: inputs, potential, targets")


def test_novel_digits_are_found(page):
    choose(page, "Find what is new")
    press(page, "Find the others")
    page.get_by_text("are called novel").wait_for()
    shown(page, "Scores")


def test_a_table_is_uploaded_and_scored(page, tmp_path, rng):
    choose(page, "Find what is new")
    choose(page, "A table of your own")
    for name, rows in (("normal.csv", rng.poisson(20, (60, 4))), ("new.csv", [[99, 0, 0, 0]])):
        np.savetxt(tmp_path / name, rows, "%d", ",", header="a,b,c,d", comments="")
    for i, (label, name) in enumerate(
        [("Normal samples (CSV)", "normal.csv"), ("New samples (CSV)", "new.csv")]
    ):
        block = page.locator(".block", has_text=label).last
        block.locator("input[type=file]").set_input_files(tmp_path / name)
        page.locator(".file-preview").nth(i).wait_for()
    press(page, "Score")
    page.get_by_text("1 of 1 samples are called novel").wait_for()


def test_it_ends_quietly_and_leaves_nothing_behind(served):
    process, _, folder = served
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    assert list(folder.glob("septet-demo-*")) == []
