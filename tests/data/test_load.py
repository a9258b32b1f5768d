import sys

import numpy as np
import pytest
from data.made_up import entry, member
from sklearn.datasets import load_digits, load_sample_images

from septet import data
from septet.data import _clients


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A folder in the place of the system's root, for installed Debian packages."""
    root = tmp_path / "root"
    monkeypatch.setattr(_clients, "installed", lambda package: root)
    return root


def test_digits_are_those_of_scikit_learn(cache):
    digits, peer = data.load("digits"), load_digits()
    np.testing.assert_array_equal(digits.images, peer.images)
    np.testing.assert_array_equal(digits.labels, peer.target)
    assert digits.provenance.sources == {"digits.csv.gz": "installed"}
    assert digits.provenance.sha256 == data.describe("digits").members[0].sha256


def test_photographs_are_those_of_scikit_learn(cache):
    pictures, peer = data.load("photographs"), load_sample_images()
    np.testing.assert_array_equal(pictures.images["temple"], peer.images[0])
    np.testing.assert_array_equal(pictures.images["flower"], peer.images[1])


def test_the_dictionary_is_one_text(register, tmp_path, monkeypatch):
    words = "a -- the first letter; ä -- a vowel".encode()
    register(entry(member("gcide.txt", words), name="gcide"))
    (tmp_path / "gcide.txt").write_bytes(words)
    monkeypatch.setenv("SEPTET_DATA", str(tmp_path))
    text = data.load("gcide")
    assert text.data == words
    assert text.provenance.sources == {"gcide.txt": "user folder"}


def test_held_out_text_is_the_last_part():
    text = data.Text(bytes(range(200)), None)
    train, held_out = text.split()
    assert (len(train), len(held_out)) == (190, 10)
    assert train + held_out == text.data
    assert [len(part) for part in text.split(0.5)] == [100, 100]
    for share in (0, 1, -0.1):
        with pytest.raises(ValueError, match="held_out must be"):
            text.split(share)


def test_documents_are_joined_in_order_of_their_paths(cache, system):
    folder = system / "usr/share/doc/python3.11/html/_sources"
    for name, content in (("b.rst.txt", b"2"), ("a/z.rst.txt", b"1"), ("c.html", b"3")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    text = data.load("python-docs")
    assert text.data == b"12"
    assert text.provenance.sha256 == data.digest(folder, ("*.rst.txt",))
    before = text.provenance.sha256
    (folder / "b.rst.txt").write_bytes(b"20")
    assert data.load("python-docs").provenance.sha256 != before


def test_torch_is_read_without_being_imported(cache, tmp_path, monkeypatch):
    (tmp_path / "torch" / "nn").mkdir(parents=True)
    (tmp_path / "torch" / "__init__.py").write_bytes(b"raise SystemError\n")
    (tmp_path / "torch" / "nn" / "linear.py").write_bytes(b"class Linear: pass\n")
    (tmp_path / "torch" / "lib.so").write_bytes(b"binary")
    monkeypatch.syspath_prepend(tmp_path)
    loaded = "torch" in sys.modules
    held = sys.modules.pop("torch", None)
    try:
        text = data.load("torch-source")
    finally:
        if loaded:
            sys.modules["torch"] = held
    assert text.data == b"raise SystemError\nclass Linear: pass\n"


def test_recordings_are_handed_out_as_files(register, system):
    folder = system / "usr/share/made"
    for name in ("b.wav", "a/c.wav", "notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    size = len("b.wav") + len("a/c.wav")
    sha256 = data.digest(folder, ("*.wav",))
    sounds = data.Member(name="sounds", files=2, size=size, match=("*.wav",), sha256=sha256)
    package = data.Package(client="apt", name="made", path="usr/share/made")
    register(entry(sounds, packages=(package,)))
    recordings = data.load("made-up")
    assert recordings.paths == ("a/c.wav", "b.wav")
    assert (recordings.folder / recordings.paths[0]).read_bytes() == b"a/c.wav"
    assert recordings.provenance.sources == {"sounds": "installed"}
    with pytest.raises(TypeError, match="made-up has no options; got sample_rate"):
        data.load("made-up", sample_rate=16_000)
