"""The certificate of a selection: every number that somebody needs to redo and check it."""

import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from septet import __version__
from septet._core.files import PathLike, replacing
from septet.cohort._coins import seed_text
from septet.cohort._marginals import Marginals, lattice_scores
from septet.cohort._scores import LATTICE, Ints
from septet.cohort._shift import exact_sum

FORMAT = "septet-cohort-certificate-1"
LISTED = 10_000  # up to so many candidates, all probabilities are listed


class Certificate(Mapping[str, Any]):
    """A mapping of plain JSON values with one canonical form and its digest.

    Parameters
    ----------
    fields : mapping
        Strings, integers, booleans, None, and lists and mappings of such; everything but
        ``"digest"``, which is added.

    Examples
    --------
    >>> certificate = Certificate({"k": 2, "n": 5})
    >>> print(certificate.json())
    {"digest":"e2d022dd7f4aff4ae1dde273045fc186fe70f9abb9cc8fcb76abe546bfa77242","k":2,"n":5}
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = dict(fields)

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(canonical_json(self._fields).encode("utf-8")).hexdigest()

    def json(self) -> str:
        """Return the canonical JSON: sorted keys, no spaces, UTF-8 text."""
        return canonical_json(self._fields | {"digest": self._digest})

    def save(self, path: PathLike) -> None:
        """Write the canonical JSON and a line feed to a file, whole or not at all."""
        with replacing(path) as file:
            file.write(self.json().encode("utf-8") + b"\n")

    def __getitem__(self, key: str) -> Any:
        return self._digest if key == "digest" else self._fields[key]

    def __iter__(self) -> Iterator[str]:
        return iter([*self._fields, "digest"])

    def __len__(self) -> int:
        return len(self._fields) + 1

    def __repr__(self) -> str:
        return f"Certificate(k={self.get('k')}, n={self.get('n')}, digest={self['digest'][:16]}...)"


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys, no spaces and no escapes that are not needed."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def fraction_text(value: Fraction | float | None) -> str | None:
    """Return an exact fraction as "numerator/denominator" in lowest terms; None stays None."""
    if isinstance(value, float):
        raise TypeError("a certificate needs exact probabilities, not floating-point ones.")
    return None if value is None else f"{value.numerator}/{value.denominator}"


def seed_commitment(seed: str | int) -> str:
    """Return what to publish before a draw so that the seed can be revealed after it.

    The SHA-256 of the seed's UTF-8 text, as 64 hexadecimal digits. Choose the seed with `new_seed`:
    one that can be guessed can be found from its commitment.

    Examples
    --------
    >>> seed_commitment("a long secret")[:16]
    '69898f54c6762252'
    """
    return hashlib.sha256(seed_text(seed).encode("utf-8")).hexdigest()


def new_seed() -> str:
    """Return a fresh seed of 256 random bits, as 64 hexadecimal digits.

    Examples
    --------
    >>> len(new_seed())
    64
    """
    return secrets.token_hex(32)


def check_commitment(seed: str, commit: str | None) -> None:
    """Raise unless `seed` is the one that was committed to.

    Raises
    ------
    ValueError
        If `commit` is not the seed's commitment.
    """
    if commit is not None and commit != seed_commitment(seed):
        raise ValueError(
            "seed is not the one committed to: its SHA-256 is "
            f"{seed_commitment(seed)}, the commitment {commit!r}."
        )


def probability_facts(p: Marginals, both: Marginals | None = None) -> dict[str, Any]:
    """Return what a certificate says about probabilities in closed form.

    `both` are those of the cohort and its reserve list together, if there is one.
    """
    z = lattice_scores(p)
    return {
        "n": len(p),
        "k": p.k,
        "objective": p.objective,
        "shift": fraction_text(p.shift),
        "scale": fraction_text(p.scale),
        "reserve_shift": fraction_text(None if both is None else both.shift),
        "reserve_scale": fraction_text(None if both is None else both.scale),
        "active": p.active,
        "utility": fraction_text(p.utility),
        "ratio": fraction_text(p.ratio),
        # nothing to compute: p is the scores shifted and clipped, or scaled by at most 1
        "max_violation": "0/1",
        "uniform_utility": fraction_text(Fraction(p.k * exact_sum(z), LATTICE * len(p))),
        "top_k_utility": fraction_text(Fraction(_largest(z, p.k), LATTICE)),
    }


def listed_facts(p: Marginals, order: Ints | None) -> dict[str, Any]:
    """Return all probabilities, in canonical order, and the number of tight pairs.

    Both are None for a long roster, where they would be most of the certificate.
    """
    weights, total = p.numerators, p.denominator
    if len(p) > LISTED or weights is None or total is None:
        return {"probabilities": None, "tight_pairs": None}
    known: dict[int, str | None] = {}
    for x in weights.tolist():
        if x not in known:
            known[x] = fraction_text(Fraction(x, total))
    listed = weights if order is None else weights[order]
    return {
        "probabilities": [known[x] for x in listed.tolist()],
        "tight_pairs": len(p.tight_pairs),
    }


def software() -> str:
    """Return the name and version that go into a certificate."""
    return f"septet {__version__}"


def _largest(z: Ints, k: int) -> int:
    if k == 0:
        return 0
    return exact_sum(np.partition(z, z.size - k)[z.size - k :])
