import os
import sys
import textwrap
from pathlib import Path

import pytest

from septet.data import DataSet, _registry


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache, and no folder of the user's."""
    monkeypatch.setenv("SEPTET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SEPTET_DATA", raising=False)
    return tmp_path / "cache" / "data"


@pytest.fixture
def register(cache, monkeypatch):
    """Let the registry know the given data sets alone."""

    def put(*sets: DataSet) -> None:
        monkeypatch.setattr(_registry, "registry", lambda: {entry.name: entry for entry in sets})

    return put


class Shop:
    """Package managers that serve what the test puts on their shelves, and note every call.

    pip is the real one, told to look in a folder only; npm and apt-get are scripts.
    """

    SCRIPT = """\
        #!{python} -S
        import os, shutil, sys
        words = " ".join([os.path.basename(sys.argv[0]), *sys.argv[1:]])
        with open("{folder}/calls", "a") as log:
            log.write(words + "\\n")
        if words.endswith(" update"):
            sys.exit()
        if os.path.exists("{folder}/stale") and "Dir::State::lists=" not in words:
            sys.exit("E: Unable to locate package made")
        kind = ".deb" if words.startswith("apt-get") else ".tgz"
        found = [name for name in os.listdir("{folder}/shelves") if name.endswith(kind)]
        if not found:
            sys.exit("one line\\nanother line\\nno such package")
        for name in found:
            shutil.copy(os.path.join("{folder}/shelves", name), name)
        """

    def __init__(self, folder: Path) -> None:
        self.folder, self.shelves, self.programs = folder, folder / "shelves", folder / "programs"
        self.shelves.mkdir(parents=True)
        self.programs.mkdir()
        text = textwrap.dedent(self.SCRIPT).format(python=sys.executable, folder=folder)
        for name in ("npm", "apt-get"):
            (self.programs / name).write_text(text)
            (self.programs / name).chmod(0o755)

    def put(self, name: str, content: bytes) -> None:
        (self.shelves / name).write_bytes(content)

    def clear(self) -> None:
        for path in self.shelves.iterdir():
            path.unlink()

    def forget_package_lists(self) -> None:
        (self.folder / "stale").touch()

    def calls(self) -> list[str]:
        log = self.folder / "calls"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def shop(tmp_path, monkeypatch) -> Shop:
    shop = Shop(tmp_path / "shop")
    monkeypatch.setenv("PATH", f"{shop.programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shop.shelves))
    return shop
