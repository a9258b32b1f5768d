import sys

import pytest

from septet._core.errors import MissingExtraError
from septet._core.extras import needs


def test_a_missing_extra_says_what_it_is_for_and_how_to_get_it():
    with pytest.raises(MissingExtraError) as caught:
        needs("no_such_module.part", extra="audio", purpose="resampling")
    assert str(caught.value) == 'resampling needs no_such_module: pip install "septet[audio]"'
    assert isinstance(caught.value, ImportError)


def test_an_installed_module_is_returned():
    assert needs("json.decoder", extra="x", purpose="y") is sys.modules["json.decoder"]


def test_a_fault_inside_an_installed_module_is_not_mistaken_for_its_absence(tmp_path, monkeypatch):
    (tmp_path / "septet_broken_probe.py").write_text("import septet_absent_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="septet_absent_dependency") as caught:
        needs("septet_broken_probe", extra="x", purpose="y")
    assert not isinstance(caught.value, MissingExtraError)
