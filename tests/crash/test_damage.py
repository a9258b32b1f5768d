"""One file of every kind that the library writes, damaged at random: an error or equal values."""

import shutil
from dataclasses import asdict
from functools import partial
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from septet import cohort, robust, spiking
from septet._core.errors import CheckpointError, DataError
from septet.cohort import _stream_run
from septet.optim import AdamSNSM, param_groups
from septet.recipes._run import Run
from septet.speech import NetworkConfig
from septet.speech._storage import load_generator, save_generator
from septet.testing import assert_damage_is_caught
from septet.training import Generators, load_checkpoint, save_checkpoint

MANY = 10_000


# -- the kinds: what writes one, and what reads it ------------------------------------------------


def write_training(folder):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Linear(4, 2)).bfloat16()
    optimizer = AdamSNSM(param_groups(model, lr=0.01, rank=2), projection="random")
    for _ in range(2):
        model(torch.ones(3, 6, dtype=torch.bfloat16)).sum().backward()
        optimizer.step()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": 2}
    state["generators"] = Generators(0).state_dict()
    save_checkpoint(folder, state)


def write_speech(folder):
    network = NetworkConfig(attention=(), channels=(4, 4), window=64)
    save_generator(
        folder / "net.safetensors", network.generator(seed=0), network, half=True, notes={"seed": 0}
    )


def read_speech(folder):
    generator, network, notes = load_generator(folder / "net.safetensors")
    return {"net": generator.state_dict(), "network": network.to_dict(), "notes": notes}


def write_novelty(folder):
    X = np.random.default_rng(0).poisson(9, (40, 6))
    detector = spiking.SpikingNoveltyDetector(2, epochs=1, random_state=0)
    detector.fit(X).save(folder / "detector.safetensors")


def read_novelty(folder):
    detector = spiking.SpikingNoveltyDetector.load(folder / "detector.safetensors")
    return {key: item for key, item in vars(detector).items() if key != "rule"} | {
        "rule": None if detector.rule is None else asdict(detector.rule)
    }


def write_layer(suffix):
    def write(folder):
        weights = np.random.default_rng(0).normal(size=(2, 5))
        spiking.save_layer(folder / f"layer{suffix}", spiking.LIF(tau_m=15.0), weights)

    return write


def read_layer(suffix):
    def read(folder):
        lif, weights = spiking.load_layer(folder / f"layer{suffix}")
        return {"lif": asdict(lif), "weights": weights}

    return read


def write_head(folder):
    head = robust.LinearHead([[-1.0, 0.5], [1.0, 0.25]], classes=["cat", "dog"]).fit()
    robust.save_head(head, folder, {"features": ["length", "width"], "tau": 0.5})


def read_head(folder):
    head, facts = robust.load_head(folder)
    return {"coef": head.coef_, "intercept": head.intercept_, "facts": facts}


def stage(folder, function):
    """Run one stage whose result lies in the folder itself, without a history."""
    quiet = SimpleNamespace(folder=folder, checkpoint=folder, say=lambda _: None)
    quiet.record = lambda **_: None
    quiet.keep = partial(Run.keep, quiet)
    return Run.stage(quiet, "fit", function)


def write_stage(folder):
    stage(folder, lambda: {"rows": [{"seed": 0, "area": 0.25}, {"seed": 1, "area": 0.5}]})


def read_stage(folder):
    def refuse():
        raise DataError("computed anew")  # which is right where the file is gone

    return {"value": stage(folder, refuse)}


def write_stream(folder):
    stream = cohort.FairStream(5, knots=4, slack=3, seed="s", store=folder / "season.db")
    for i in range(90):
        stream.push(f"C{i:02}", (i * 37 % 101) / 101)
    stream.detach()


def read_stream(folder):
    with TemporaryDirectory() as scratch:  # a copy, which is closed
        if not (folder / "season.db").exists():
            raise DataError("there is no store")
        stream = cohort.FairStream.open(shutil.copy(folder / "season.db", scratch))
        try:
            waiting = list(stream.pending)
            chosen = stream.close()
        finally:
            stream.detach()
    return {"waiting": waiting, "ids": list(chosen.ids), "certificate": dict(chosen.certificate)}


def write_certificate(folder):
    chosen = cohort.pick(SCORES, 7, seed="s", reserve=3)
    chosen.certificate.save(folder / "certificate.json")


def read_certificate(folder):
    return asdict(cohort.verify(folder / "certificate.json", SCORES))


SCORES = np.random.default_rng(0).beta(2, 5, 30).round(3).tolist()
KINDS = {
    "training": (write_training, load_checkpoint, CheckpointError),
    "speech": (write_speech, read_speech, (CheckpointError, DataError)),
    "novelty": (write_novelty, read_novelty, (CheckpointError, DataError)),
    "layer-json": (write_layer(".json"), read_layer(".json"), (CheckpointError, DataError)),
    "layer-nir": (write_layer(".nir"), read_layer(".nir"), (CheckpointError, DataError)),
    "head": (write_head, read_head, CheckpointError),
    "stage": (write_stage, read_stage, (CheckpointError, DataError)),
    "stream": (write_stream, read_stream, (CheckpointError, DataError)),
    "certificate": (
        write_certificate,
        read_certificate,
        (cohort.CertificateError, FileNotFoundError),
    ),
}


def check(kind, folder, monkeypatch, n, seed):
    monkeypatch.setattr(_stream_run, "_SNAPSHOT", 32)
    write, read, error = KINDS[kind]
    write(folder)
    assert_damage_is_caught(folder, load=read, error=error, n=n, seed=seed)


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_caught(kind, tmp_path, monkeypatch):
    check(kind, tmp_path, monkeypatch, 150, 0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_caught_ten_thousand_times(kind, tmp_path, monkeypatch):
    check(kind, tmp_path, monkeypatch, MANY, 1)
