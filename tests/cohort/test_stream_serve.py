"""The stream as a service: JSON lines in, JSON lines out."""

import io
import json

import pytest

from septet.cohort import FairStream, serve


class Out(io.StringIO):
    """Remembers what had been flushed."""

    flushed = ""

    def flush(self):
        self.flushed = self.getvalue()


def served(*lines, k=2, **options):
    out = Out()
    stream = FairStream(k, **{"seed": 1} | options)
    errors = serve(stream, lines, out)
    assert out.flushed == out.getvalue()
    answers = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(answers) == len(lines)
    assert errors == sum("error" in answer for answer in answers)
    return stream, answers


def test_each_request_gets_one_answer():
    lines = [json.dumps({"id": f"p{i}", "score": i / 9}) for i in range(10)]
    stream, answers = served(
        *lines, '{"reduce_k": 1}', '{"withdraw": "p9"}', '{"close": true}', k=3, slack=0
    )
    assert answers[0] == {"id": "p0", "status": "pending", "rejected": [], "pending": 1}
    told = [who for answer in answers[:11] for who in answer["rejected"]]
    assert answers[10]["k"] == 1
    assert answers[10]["pending"] == 10 - len(told)
    assert answers[11]["id"] == "p9"
    end = answers[12]
    assert end["cohort"] == stream.close().ids
    assert end["certificate"] == dict(stream.close().certificate)
    assert end["reserve"] == []


def test_every_answer_is_flushed_before_the_next_request_is_read():
    out, seen = Out(), []

    def requests():
        for i in range(3):
            yield json.dumps({"id": i, "score": 0.5})
            seen.append(out.flushed.count("\n"))

    serve(FairStream(2, seed=1), requests(), out)
    assert seen == [1, 2, 3]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "line 2: the line is empty"),
        ("{", "line 2: this is not JSON"),
        ("[" * 100_000, "line 2: this is"),
        ("[1]", "line 2: a request is a JSON object; got list"),
        ('{"id": "b"}', "line 2: a request has the keys of one of"),
        ('{"id": "b", "scor": 0.5}', "Did you mean 'score'"),
        ('{"id": "b", "score": 0.5, "close": true}', "line 2: a request has the keys"),
        ('{"id": "b", "id": "c", "score": 0.5}', "line 2: a key occurs twice"),
        ('{"id": "b", "score": "0.5"}', "line 2: score must be a number; got '0.5'"),
        ('{"id": "b", "score": true}', "line 2: score must be a number; got True"),
        ('{"id": "b", "score": NaN}', "line 2: 1 of 1 scores are missing or infinite"),
        ('{"id": "b", "score": 50}', "line 2: .*these look like percentages"),
        ('{"id": null, "score": 0.5}', "line 2: ids must be all strings or all integers"),
        ('{"id": ["b"], "score": 0.5}', "line 2: ids must be"),
        ('{"id": 7, "score": 0.5}', "line 2: ids must be .*in a stream of str ids"),
        ('{"id": "a", "score": 0.6}', "line 2: 'a' has arrived with the score 0.5 already"),
        ('{"withdraw": "b"}', "line 2: nobody with the id 'b' has arrived"),
        ('{"reduce_k": 3}', "line 2: k can only be reduced"),
        ('{"reduce_k": 1.0}', "line 2: k must be an integer"),
        ('{"close": "yes"}', "line 2: close must be true"),
        (b'{"id": "\xff", "score": 0.5}', "line 2: 'utf-8' codec can't decode"),
    ],
)
def test_a_line_that_is_no_request_is_answered_with_its_number_and_changes_nothing(line, message):
    import re

    ahead, behind = '{"id": "a", "score": 0.5}', '{"id": "z", "score": 0.5}'
    stream, answers = served(ahead, line, behind)
    assert re.search(message, answers[1]["error"])
    assert answers[1]["line"] == 2
    assert answers[2]["status"] == "pending"
    assert len(list(stream.record())) == 2


def test_a_request_may_come_twice():
    lines = [json.dumps({"id": i, "score": i / 9}) for i in range(10)]
    tail = ['{"reduce_k": 1}', '{"withdraw": 9}', '{"close": true}']
    _, once = served(*lines, *tail, k=3, slack=0)
    _, twice = served(*lines, *lines, *tail, *tail, k=3, slack=0)
    assert twice[-1] == once[-1]
    for first, second in zip(twice[:10], twice[10:20], strict=True):
        assert first["rejected"] == second["rejected"]


def test_after_the_close_arrivals_are_errors():
    _, answers = served('{"id": 1, "score": 0.5}', '{"close": true}', '{"id": 2, "score": 1}', k=1)
    assert "the stream is closed" in answers[2]["error"]


def test_names_stay_as_they_are_written():
    out = Out()
    serve(FairStream(1, seed=1), [b'{"id": "Zo\xc3\xab", "score": 0.5}'], out)
    assert '"id": "Zoë"' in out.getvalue()
