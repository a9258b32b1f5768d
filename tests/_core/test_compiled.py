import pytest
from numba.core import caching

from septet._core.compiled import njit
from septet._core.errors import SeptetWarning


def test_without_a_folder_for_compiled_code_it_is_compiled_all_the_same(monkeypatch):
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    with pytest.warns(SeptetWarning, match="set NUMBA_CACHE_DIR"):

        @njit(nogil=True)
        def double(x):
            return 2 * x

    assert double(3) == 6
