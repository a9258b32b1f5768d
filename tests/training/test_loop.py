import math
import os
import signal
import threading

import pytest
import torch
from torch import nn

from septet._core.errors import CheckpointError
from septet.testing import assert_resume_is_exact, assert_same_seed_same_checkpoint
from septet.training import (
    DivergedError,
    Generators,
    SampleOrder,
    append_history,
    checkpoint_digest,
    gradient_step,
    load_checkpoint,
    read_history,
    train,
    warmup_cosine,
)

STEPS = 12


def make_run(folder, progress=None, *, steps=STEPS, poison=None, **kwargs):
    """A run with all that could break a resume: dropout, a noise stream, momentum, a schedule."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    generators = Generators(1)
    order = SampleOrder(7, seed=1)
    data = torch.linspace(-1, 1, 28).reshape(7, 4)

    def loss(i):
        rows = data[order.take(3 * i, 3)]
        noise = torch.rand(3, 4, generator=generators.torch("noise")) / 10
        value = (model(rows + noise) - rows.sum(1, keepdim=True)).square().mean()
        return value * math.nan if poison == i else value

    step = gradient_step(
        loss, optimizer, accumulate=2, clip_norm=1.0, schedule=lambda t: warmup_cosine(t, steps=99)
    )
    state = {"model": model, "optimizer": optimizer, "generators": generators}
    options = {"checkpoint_every": 4, "evaluate": lambda n: {"n": n}, "evaluate_every": 5} | kwargs
    return train(step, state, steps=steps, folder=folder, seed=1, progress=progress, **options)


def without_time(history):
    return [{k: v for k, v in record.items() if k != "seconds"} for record in history]


def test_one_seed_gives_one_checkpoint(tmp_path):
    assert_same_seed_same_checkpoint(make_run, tmp_path)


def test_a_run_broken_off_anywhere_ends_as_if_it_had_not_been(tmp_path):
    assert_resume_is_exact(make_run, tmp_path, stops=[2, 3, 4, 5, 9, 12])
    histories = [
        without_time(read_history(tmp_path / x / "history.jsonl")) for x in ("whole", "broken")
    ]
    assert histories[0] == histories[1]
    assert [record["step"] for record in histories[0]] == list(range(1, STEPS + 1))


@pytest.mark.parametrize("forgotten", ["generators", "seeded"])
def test_the_resume_suite_notices_state_that_was_not_saved(tmp_path, forgotten, monkeypatch):
    if forgotten == "generators":
        monkeypatch.setattr(Generators, "load_state_dict", lambda self, state: None)
    else:
        import contextlib

        monkeypatch.setattr("septet.training._loop.seeded", lambda *args: contextlib.nullcontext())
    with pytest.raises(AssertionError, match="another checkpoint"):
        assert_resume_is_exact(make_run, tmp_path, stops=[5])


def test_the_callers_global_random_state_is_left_alone(tmp_path):
    before = torch.get_rng_state()
    make_run(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_finished_run_is_not_run_again(tmp_path):
    first = make_run(tmp_path)
    again = make_run(tmp_path, progress=lambda record: pytest.fail("a step was run"))
    assert again == first


def test_a_finished_run_can_be_made_longer(tmp_path):
    make_run(tmp_path / "short", steps=6)
    make_run(tmp_path / "short", steps=STEPS, evaluate_every=3)
    make_run(tmp_path / "whole", evaluate_every=3)
    assert (
        load_checkpoint(tmp_path / "short" / "checkpoint")["model"]["0.weight"].tolist()
        == load_checkpoint(tmp_path / "whole" / "checkpoint")["model"]["0.weight"].tolist()
    )
    with pytest.raises(CheckpointError, match="holds a run of 12 steps; 6 were asked for"):
        make_run(tmp_path / "short", steps=6)


def test_a_fresh_run_starts_over(tmp_path):
    make_run(tmp_path, config={"lr": 1})
    history = make_run(tmp_path, config={"lr": 2}, fresh=True)
    assert len(history) == len(read_history(tmp_path / "history.jsonl")) == STEPS


def test_records_hold_the_measures_the_evaluations_and_the_time(tmp_path):
    history = make_run(tmp_path, log_every=4)
    assert [record["step"] for record in history] == [4, 5, 8, 10, 12]
    assert [record.get("evaluation") for record in history] == [
        None,
        {"n": 5},
        None,
        {"n": 10},
        {"n": 12},
    ]
    assert set(history[0]) == {"step", "loss", "lr", "gradient_norm", "seconds"}
    assert read_history(tmp_path / "history.jsonl") == history
    times = [record["seconds"] for record in history]
    assert times == sorted(times)


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(make_run(None)) == STEPS
    assert list(tmp_path.iterdir()) == []


def test_a_divergence_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path):
    make_run(tmp_path / "good", steps=8)
    with pytest.raises(
        DivergedError, match=r"step 10: the loss is nan\. The checkpoint after step 8 is"
    ):
        make_run(tmp_path / "bad", poison=19)
    assert checkpoint_digest(tmp_path / "bad" / "checkpoint") == checkpoint_digest(
        tmp_path / "good" / "checkpoint"
    )
    assert read_history(tmp_path / "bad" / "history.jsonl")[-1]["event"] == "diverged"
    make_run(tmp_path / "bad")  # and it can go on
    make_run(tmp_path / "whole")
    assert checkpoint_digest(tmp_path / "bad" / "checkpoint") == checkpoint_digest(
        tmp_path / "whole" / "checkpoint"
    )


def test_a_step_that_reports_a_bad_loss_stops_the_run_too(tmp_path):
    with pytest.raises(DivergedError, match=r"step 1: the loss is inf\. No checkpoint was saved"):
        train(lambda t: {"loss": math.inf}, {}, steps=3, folder=tmp_path)


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    model = nn.Linear(1, 1)

    def step(t):
        if t == 3:
            model.weight.data.fill_(math.inf)
        return {"loss": 0.0}

    with pytest.raises(
        DivergedError, match=r"step 4: model\.weight holds NaN or infinity.*after step 2"
    ):
        train(step, {"model": model}, steps=9, folder=tmp_path, checkpoint_every=2)
    assert load_checkpoint(tmp_path / "checkpoint")["step"] == 2


def test_an_interrupt_lets_the_step_end_saves_and_can_be_resumed(tmp_path):
    def press(record):
        if record["step"] == 6:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="stopped after step 6; run again to go on"):
        make_run(tmp_path / "stopped", press)
    assert signal.getsignal(signal.SIGINT) is before
    assert load_checkpoint(tmp_path / "stopped" / "checkpoint")["step"] == 6
    make_run(tmp_path / "stopped")
    make_run(tmp_path / "whole")
    assert checkpoint_digest(tmp_path / "stopped" / "checkpoint") == checkpoint_digest(
        tmp_path / "whole" / "checkpoint"
    )


def test_an_interrupt_in_the_last_moment_is_not_lost(tmp_path, monkeypatch):
    import septet.training._loop as loop

    def save_and_press(*args):
        os.kill(os.getpid(), signal.SIGINT)
        return save(*args)

    save = loop.save_checkpoint
    monkeypatch.setattr(loop, "save_checkpoint", save_and_press)
    with pytest.raises(KeyboardInterrupt, match="complete"):
        make_run(tmp_path, checkpoint_every=None)
    assert load_checkpoint(tmp_path / "checkpoint")["step"] == STEPS


def test_a_second_interrupt_stops_at_once(tmp_path):
    def press_twice(t):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the second interrupt did not get through")

    with pytest.raises(KeyboardInterrupt):
        train(press_twice, {}, steps=2)


def test_training_works_outside_the_main_thread(tmp_path):
    done = []
    thread = threading.Thread(target=lambda: done.extend(make_run(tmp_path)))
    thread.start()
    thread.join()
    assert len(done) == STEPS


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path):
    config = {"lr": 0.1, "shape": (1, 2), "nested": {"a": [1.5]}}
    make_run(tmp_path, config=config)
    make_run(tmp_path, config=config)
    with pytest.raises(CheckpointError, match=r"a run with lr = 0\.1; now it is 0\.2"):
        make_run(tmp_path, config=config | {"lr": 0.2})


def test_a_checkpoint_of_another_model_is_refused_by_tensor(tmp_path):
    step = {"loss": 1.0}
    train(lambda t: step, {"model": nn.Linear(2, 3)}, steps=1, folder=tmp_path)
    with pytest.raises(CheckpointError, match=r"'model/weight' is F32 \[3, 2\]"):
        train(lambda t: step, {"model": nn.Linear(4, 3)}, steps=1, folder=tmp_path)
    with pytest.raises(CheckpointError, match="do not both hold 'extra'"):
        train(
            lambda t: step,
            {"model": nn.Linear(2, 3), "extra": Generators(0)},
            steps=1,
            folder=tmp_path,
        )


def test_a_history_that_lost_records_is_refused(tmp_path):
    make_run(tmp_path)
    path = tmp_path / "history.jsonl"
    path.write_bytes(path.read_bytes().split(b"\n", 1)[0] + b"\n")
    with pytest.raises(CheckpointError, match="holds 1 records"):
        make_run(tmp_path)


def test_what_an_unfinished_run_wrote_after_its_checkpoint_is_cut(tmp_path):
    make_run(tmp_path, steps=8)
    append_history(tmp_path / "history.jsonl", {"step": 9, "loss": 1.0})
    with (tmp_path / "history.jsonl").open("ab") as file:
        file.write(b'{"step": 10, "lo')
    make_run(tmp_path)
    steps = [record["step"] for record in read_history(tmp_path / "history.jsonl")]
    assert steps == list(range(1, STEPS + 1))


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"steps": -1}, ValueError, "steps must be at least 0; got -1"),
        ({"steps": 1.0}, TypeError, r"steps must be an integer; got 1\.0"),
        ({"checkpoint_every": 0}, ValueError, "checkpoint_every must be at least 1"),
        ({"evaluate_every": 0}, ValueError, "evaluate_every must be at least 1"),
        ({"log_every": 0}, ValueError, "log_every must be at least 1"),
    ],
)
def test_bad_arguments_are_named_before_anything_is_written(tmp_path, kwargs, error, message):
    with pytest.raises(error, match=message):
        make_run(tmp_path / "new", **kwargs)
    assert not (tmp_path / "new").exists()


def test_a_state_must_not_take_the_names_of_the_loop(tmp_path):
    with pytest.raises(ValueError, match="must not use the name 'step'"):
        train(lambda t: {}, {"step": Generators(0)}, steps=1)
