"""A stream's certificate, checked by code that shares nothing with the engines."""

import json
import warnings

import numpy as np
import pytest
from cohort.stream_streams import orders

from septet._core.errors import SeptetWarning
from septet.cohort import FairStream, verify
from septet.cohort._scores import LATTICE
from septet.cohort._verify import CertificateError
from septet.cohort._verify_stream import verify_stream

NAMES = list(orders(4, np.random.default_rng(0)))


def closed(scores, k=5, **options):
    stream = FairStream(k, **{"seed": "x"} | options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SeptetWarning)
        stream.extend([f"p{i}" for i in range(len(scores))], scores)
        cohort = stream.close()
    return cohort, list(stream.record())


@pytest.fixture(scope="module")
def example():
    rng = np.random.default_rng(8)
    stream = FairStream(6, knots=7, slack=4, seed="x", reserve=2)
    for i, score in enumerate(rng.beta(2, 5, 60)):
        stream.push(f"p{i}", score)
        if i == 30:
            stream.reduce_k(4)
        if i % 9 == 4:
            stream.withdraw(f"p{i - 3}")
    return stream.close(), list(stream.record())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "terms",
    [{"knots": 1}, {"knots": 6, "slack": 0}, {"knots": [0.2, 0.37, 0.9]}, {"reserve": 3}],
)
def test_every_kind_of_stream_is_verified(name, terms, rng):
    scores = np.array(orders(150, rng)[name]) / LATTICE
    cohort, record = closed(scores, **terms)
    found = verify_stream(cohort.certificate.json(), record)
    assert found.selected == tuple(cohort.ids)
    assert found.reserve == tuple(cohort.reserve)
    assert (found.n, found.k, found.committed) == (150, 5, True)


@pytest.mark.parametrize(("n", "k"), [(0, 3), (2, 3), (3, 3), (9, 0), (1, 1)])
def test_short_streams_are_verified(n, k):
    cohort, record = closed(np.linspace(0.1, 0.9, n), k)
    assert len(verify_stream(cohort.certificate, record).selected) == min(n, k)


def test_a_long_stream_of_the_compiled_engine_is_verified(rng):
    cohort, record = closed(rng.random(20_000), 40, knots=30)
    assert cohort.certificate["probabilities"] is None
    assert verify_stream(cohort.certificate, record).selected == tuple(cohort.ids)


def test_reductions_withdrawals_and_reserve_are_verified_from_files(example, tmp_path):
    cohort, record = example
    certificate, log = tmp_path / "certificate.json", tmp_path / "record.jsonl"
    cohort.certificate.save(certificate)
    log.write_text("\n".join(record) + "\n", encoding="utf-8")
    assert verify_stream(certificate, log).selected == tuple(cohort.ids)
    assert verify(certificate, record) == verify_stream(certificate, log)


def test_white_space_and_key_order_do_not_matter(example):
    cohort, record = example
    spaced = json.dumps(dict(reversed(list(cohort.certificate.items()))), indent=3)
    loose = [line.replace(",", ", ") for line in record]
    assert verify_stream(spaced, loose).k == 4


def altered(value):
    if isinstance(value, bool) or value is None:
        return "x"
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return value[:-1] + ("0" if value[-1:] != "0" else "1")
    if isinstance(value, list):
        return value[:-1] if value else ["x"]
    key = sorted(value)[0]
    return {**value, key: altered(value[key])}


def resealed(fields):
    """The certificate a forger would write: its digest fits again."""
    from septet.cohort._certificate import Certificate

    return Certificate({key: value for key, value in fields.items() if key != "digest"})


def test_any_changed_field_is_rejected_even_with_a_fitting_digest(example):
    cohort, record = example
    for key, value in cohort.certificate.items():
        if key in ("digest", "software"):  # one is recomputed, the other is free text
            continue
        forged = resealed({**cohort.certificate, key: altered(value)})
        with pytest.raises(CertificateError):
            verify_stream(forged, record)
    with pytest.raises(CertificateError, match="digest does not fit"):
        verify_stream({**cohort.certificate, "software": "septet 99"}, record)


def test_every_term_counts(example):
    cohort, record = example
    terms = cohort.certificate["terms"]
    for key, value in terms.items():
        forged = resealed({**cohort.certificate, "terms": {**terms, key: altered(value)}})
        with pytest.raises(CertificateError):
            verify_stream(forged, record)
    with pytest.raises(CertificateError):
        verify_stream(resealed({**cohort.certificate, "terms": {**terms, "extra": 1}}), record)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r[:-1], "does not end with its one close"),
        (lambda r: [*r, '["close"]'], "does not end with its one close"),
        (lambda r: r[1:], "does not fit this record|never arrived"),
        (lambda r: [r[1], r[0], *r[2:]], "does not fit this record: .*record"),
        (lambda r: [r[0], *r], "'p0' twice"),
        (lambda r: ['["arrive","new",7]', *r], "does not fit this record"),
        (lambda r: ['["arrive","new",-1]', *r], "with the score -1"),
        (lambda r: ['["withdraw","nobody"]', *r], "'nobody' withdraw, who never arrived"),
        (lambda r: ['["reduce",9]', *r], "changes k from 6 to 9"),
        (lambda r: ['["promote","p0"]', *r], "unknown event"),
        (lambda r: ["nonsense", *r], "cannot be read"),
        (lambda r: ["[]", *r], "cannot be read|IndexError|close"),
        (lambda r: [], "does not end|cannot be read"),
    ],
)
def test_any_changed_record_is_rejected(example, change, message):
    cohort, record = example
    with pytest.raises(CertificateError, match=message):
        verify_stream(cohort.certificate, change(record))


def test_a_certificate_of_another_kind_is_refused(example):
    _, record = example
    for wrong in ({}, {"format": "septet-cohort-certificate-1"}, "[]", "{", b"\xff"):
        with pytest.raises(CertificateError):
            verify_stream(wrong, record)


def test_the_verifier_needs_the_standard_library_alone():
    import ast
    import sys
    from pathlib import Path

    from septet.cohort import _verify_stream

    tree = ast.parse(Path(_verify_stream.__file__).read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    ours = {name for name in modules if name.startswith("septet")}
    assert ours == {"septet.cohort._plain_coins", "septet.cohort._verify"}
    assert {name.partition(".")[0] for name in modules - ours} <= set(sys.stdlib_module_names)
