"""A stream as a service: one JSON line in, one JSON line out."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, TextIO

from septet._core import checks
from septet.cohort._stream import FairStream

_REQUESTS = (("id", "score"), ("withdraw",), ("reduce_k",), ("close",))


def serve(stream: FairStream, lines_in: Iterable[str | bytes], lines_out: TextIO) -> int:
    """Answer requests until they end; every answer is written and flushed at once.

    ====================================  ===========================================
    request                               answer
    ====================================  ===========================================
    ``{"id": "Ada", "score": 0.7}``       id, status, rejected, pending
    ``{"withdraw": "Ada"}``               id, status, rejected, pending
    ``{"reduce_k": 9}``                   k, rejected, pending
    ``{"close": true}``                   cohort, reserve, certificate
    anything else                         error, line; the stream is unchanged
    ====================================  ===========================================

    A request that is sent again, after a crash perhaps, changes nothing and gets the same answer,
    but for status and pending, which are those of now.

    Parameters
    ----------
    stream : FairStream
    lines_in : iterable of str or bytes
        UTF-8 if bytes.
    lines_out : text stream

    Returns
    -------
    int
        Number of lines that were answered with an error.

    Examples
    --------
    >>> import sys
    >>> stream = FairStream(1, seed="an example")
    >>> requests = ['{"id": "Ada", "score": 0.5}', '{"id": "Bo", "score": 7}']
    >>> errors = serve(stream, requests[:1], sys.stdout)
    {"id": "Ada", "status": "pending", "rejected": [], "pending": 1}
    """
    errors = 0
    for number, line in enumerate(lines_in, start=1):
        try:
            answer = _answer(stream, _request(line))
        except (TypeError, ValueError) as error:
            answer = {"error": f"line {number}: {error}", "line": number}
            errors += 1
        lines_out.write(json.dumps(answer, ensure_ascii=False) + "\n")
        lines_out.flush()
    return errors


def _request(line: str | bytes) -> dict[str, Any]:
    """Return one line as an object of one of the known forms."""
    text = line.decode("utf-8") if isinstance(line, bytes) else line
    if not text.strip():
        raise ValueError("the line is empty; a request is one JSON object.")
    try:
        request = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise ValueError(f"this is not JSON: {error}.") from None
    except RecursionError:
        raise ValueError("this is nested too deeply.") from None
    if not isinstance(request, dict):
        raise ValueError(f"a request is a JSON object; got {type(request).__name__}.")
    if tuple(sorted(request)) not in _REQUESTS:
        known = [key for form in _REQUESTS for key in form]
        hint = "".join(checks.did_you_mean(key, known) for key in request if key not in known)
        forms = ", ".join("{" + ", ".join(form) + "}" for form in _REQUESTS)
        raise ValueError(f"a request has the keys of one of {forms}; got {list(request)}.{hint}")
    return request


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key occurs twice.")
    return dict(pairs)


def _answer(stream: FairStream, request: dict[str, Any]) -> dict[str, Any]:
    if "withdraw" in request:
        return asdict(stream.withdraw(request["withdraw"]))
    if "reduce_k" in request:
        rejected = stream.reduce_k(request["reduce_k"])
        return {"k": stream.k, "rejected": rejected, "pending": len(stream.pending)}
    if "close" in request:
        if request["close"] is not True:
            raise ValueError(f"close must be true; got {request['close']!r}.")
        cohort = stream.close()
        return {
            "cohort": cohort.ids,
            "reserve": cohort.reserve,
            "certificate": dict(cohort.certificate),
        }
    if type(request["score"]) not in (int, float):
        raise TypeError(f"score must be a number; got {request['score']!r}.")
    return asdict(stream.push(request["id"], request["score"]))
