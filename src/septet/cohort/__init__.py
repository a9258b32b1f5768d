"""Individually fair selection of exactly k candidates, offline and as a stream.

Needs numpy alone; numba (extra ``fast``) makes it fast, frames and files come through narwhals
and pyarrow (extra ``frames``).
"""

__all__: list[str] = []
