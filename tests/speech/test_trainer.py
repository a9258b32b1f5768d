"""Training: published losses, the two-batch step, resuming, stopping on what is not finite."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from septet._core.errors import CheckpointError
from septet.speech import (
    Mixtures,
    NetworkConfig,
    Packaged,
    PairWindows,
    Trainer,
    TrainingConfig,
    Voice,
    preset,
    train_enhancer,
)
from septet.speech._losses import adversarial_loss, chain_l1, discriminator_loss
from septet.training import DivergedError, checkpoint_digest, load_checkpoint

NETWORK = NetworkConfig(attention=(2,), channels=(8, 8, 16), window=256)
TRAINING = TrainingConfig(steps=6, seed=3)


def pairs(count=3, n=2000):
    rng = np.random.default_rng(0)
    tone = (6000 * np.sin(np.arange(n) / 7)).astype(np.int16)
    return [
        (f"pair{i}", tone, (tone + 900 * rng.normal(size=n)).astype(np.int16)) for i in range(count)
    ]


def windows(**options):
    return PairWindows(pairs(), window=256, batch_size=4, **options)


def test_losses_give_the_worked_numbers():
    real, fake = torch.tensor([0.9, 0.5]), torch.tensor([0.2, -0.1])
    assert discriminator_loss(real, [fake]).item() == pytest.approx(0.155)
    clean = torch.zeros(2, 1, 8)
    loss = adversarial_loss([fake]) + 100 * chain_l1([clean + 0.02], clean)
    assert loss.item() == pytest.approx(2.925)


def test_a_chain_weighs_its_last_stage_most():
    clean = torch.zeros(1, 1, 4)
    assert chain_l1([clean + 1, clean + 1, clean + 1], clean).item() == pytest.approx(1.75)


def test_windows_overlap_by_half_and_the_tail_is_dropped():
    ramp = np.arange(1000, dtype=np.int16)
    cut = PairWindows([("ramp", ramp, ramp)], window=256, batch_size=6)
    clean, noisy = cut.batch(0)
    starts = sorted(clean[:, 0, 0].mul(32767.5).round().int().tolist())
    assert starts == [0, 128, 256, 384, 512, 640]
    assert torch.equal(clean, noisy)


def test_mixtures_are_a_function_of_their_index_with_the_ratio_asked_for():
    rng = np.random.default_rng(0)
    voice = Voice.join("a", [rng.normal(size=20_000)])
    hiss = ("hiss", (3000 * rng.normal(size=9000)).astype(np.int16))
    mixed = Mixtures([voice], [hiss], window=4096, batch_size=4, snr_db=(6.0,))
    clean, noisy = mixed.batch(5)
    assert torch.equal(clean, mixed.batch(5)[0])
    assert not torch.equal(clean, mixed.batch(6)[0])
    ratio = 10 * torch.log10(clean.square().mean(-1) / (noisy - clean).square().mean(-1))
    # active samples are a little louder than all samples
    assert torch.allclose(ratio, torch.full_like(ratio, 6.0), atol=0.4)
    assert mixed.names(5) == ["a", "hiss"]


def test_varied_mixtures_keep_the_ratio_through_speeds_filters_and_second_noises():
    rng = np.random.default_rng(0)
    voice = Voice.join("a", [np.sin(np.arange(40_000) / 7)])
    noises = [(name, (3000 * rng.normal(size=9000)).astype(np.int16)) for name in ("hiss", "hum")]
    mixed = Mixtures(
        [voice], noises, window=4096, batch_size=8, snr_db=(6.0,), speeds=(0.8, 1.1), varied=True
    )
    heard, ratios = set(), []
    for i in range(6):
        clean, noisy = mixed.batch(i)
        ratios.append(10 * torch.log10(clean.square().mean(-1) / (noisy - clean).square().mean(-1)))
        heard |= set(mixed.names(i))
    assert torch.cat(ratios).sub(6).abs().max() < 0.3
    assert {"a", "hiss", "hum"} < heard  # and two at once
    assert any(" and " in name for name in heard)


def test_the_discriminator_and_the_generator_see_different_batches():
    drawn = []

    class Spy(PairWindows):
        def batch(self, index):
            drawn.append(index)
            return super().batch(index)

    trainer = Trainer(NETWORK, TRAINING, Spy(pairs(), window=256, batch_size=4))
    trainer.step(0)
    trainer.step(1)
    assert drawn == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"vbn_reference": "fixed"},
        {"adversarial": 0.0, "optimizer": "adam", "spectral": 1.0, "relative": True},
        {"average": 0.9, "schedule": "cosine", "clip_norm": 1.0, "adversarial_from": 3},
        {"bfloat16": True},
    ],
)
def test_an_interrupted_run_ends_where_the_uninterrupted_one_does(tmp_path, change):
    training = replace(TRAINING, **change)
    train_enhancer(NETWORK, training, windows(), folder=tmp_path / "whole")

    class StoppedError(Exception):
        pass

    def stop(record):
        if record["step"] == 4:
            raise StoppedError

    with pytest.raises(StoppedError):
        train_enhancer(
            NETWORK,
            training,
            windows(),
            folder=tmp_path / "cut",
            checkpoint_every=3,
            log_every=1,
            progress=stop,
        )
    train_enhancer(NETWORK, training, windows(), folder=tmp_path / "cut", log_every=10)
    states = [load_checkpoint(tmp_path / name / "checkpoint") for name in ("whole", "cut")]
    for part in ("generator", "generator_optimizer", "discriminator", "average"):
        if part in states[0]:
            same(states[0][part], states[1][part])
    assert checkpoint_digest(tmp_path / "whole" / "checkpoint")


def same(a, b):
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, list | tuple):
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    else:
        assert a == b


def test_training_lowers_the_l1():
    training = TrainingConfig(
        steps=40, optimizer="adam", lr=3e-3, adversarial=0, l1=1.0, relative=True
    )
    network = replace(
        NETWORK, output="residual", initialisation="kaiming", spectral_norm=False, latent="none"
    )
    _, history = train_enhancer(network, training, windows(), log_every=1)
    first = np.mean([r["l1"] for r in history[:5]])
    last = np.mean([r["l1"] for r in history[-5:]])
    assert last < 0.8 * first


def test_a_loss_that_is_not_finite_stops_with_the_names_and_the_last_checkpoint(tmp_path):
    class Poisoned(PairWindows):
        def batch(self, index):
            clean, noisy = super().batch(index)
            return clean, noisy * (float("nan") if index >= 8 else 1.0)

    with pytest.raises(DivergedError, match=r"pair\d.*checkpoint after step 4 is kept"):
        train_enhancer(
            NETWORK,
            TRAINING,
            Poisoned(pairs(), window=256, batch_size=4),
            folder=tmp_path,
            checkpoint_every=2,
        )


def test_a_batch_of_one_trains_the_discriminator_too():
    one = PairWindows(pairs(1), window=256, batch_size=1)
    measures = Trainer(NETWORK, TRAINING, one).step(0)
    assert all(np.isfinite(value) for value in measures.values())


def test_the_last_batch_of_an_epoch_is_as_large_as_the_others():
    cut = PairWindows(pairs(1), window=256, batch_size=4)
    assert len(cut) % 4  # the windows do not divide into batches
    assert {len(cut.batch(i)[0]) for i in range(2 * len(cut))} == {4}


def test_windows_of_another_length_are_refused():
    with pytest.raises(ValueError, match="windows of 256 samples, the batches have 512"):
        Trainer(NETWORK, TRAINING, PairWindows(pairs(), window=512))
    short = np.zeros(100, np.int16)
    with pytest.raises(ValueError, match="no pair is as long"):
        PairWindows([("short", short, short)])
    with pytest.raises(ValueError, match="odd: clean has shape"):
        PairWindows([("odd", short, short[:50])])


@pytest.mark.slow
def test_two_processes_train_as_one_does_with_twice_the_batch(tmp_path):
    script = Path(__file__).with_name("two_processes.py")
    states = []
    for count in ("1", "2"):
        folder = tmp_path / count
        subprocess.run([sys.executable, str(script), str(folder), count], check=True)
        states.append(load_checkpoint(folder / "checkpoint")["generator"])
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=1e-4, atol=1e-6)


def test_training_can_begin_with_other_weights(tmp_path):
    first, _ = train_enhancer(NETWORK, TRAINING, windows())
    nothing = replace(TRAINING, steps=0, seed=8, average=0.5)
    second, _ = train_enhancer(NETWORK, nothing, windows(), initial=first.generator)
    same(second.generator.state_dict(), first.generator.state_dict())
    same(second.result.state_dict(), first.generator.state_dict())


def test_voices_and_noises_to_validate_with_are_never_trained_on():
    rng = np.random.default_rng(0)
    voice = Voice("a", np.arange(30_000, dtype=np.int16))
    noises = tuple((f"n{k}", rng.integers(-9, 9, 500).astype(np.int16)) for k in range(12))
    material = Packaged(voices=(voice,), noises=noises, test=(), digests={})
    train, validation = preset("small").split(material)
    heard = {name for i in range(40) for name in train.names(i)}
    assert "n11" not in heard
    assert "n3" in heard
    assert set(validation.names(0)) == {"a", "n11"}
    clean, _ = validation.batch(0)
    assert clean.min() * 32768 >= 28_500 - 1  # the last twentieth


def test_an_opened_mask_lets_more_through():
    chosen = preset("small")
    net = chosen.network.generator(seed=0)
    opened = chosen.finished(net)
    x = torch.randn(1, 1, 16384)
    assert opened(x).square().mean() > net(x).square().mean()
    key = "nets.0.up.2.bias"
    torch.testing.assert_close(opened.state_dict()[key], net.state_dict()[key] + 1)


def test_any_torch_optimizer_can_train_both_networks_at_rates_of_its_own():
    made = []

    def make(module):
        groups = [
            {"params": [p for p in module.parameters() if p.ndim > 1], "lr": 1e-5},
            {"params": [p for p in module.parameters() if p.ndim <= 1], "lr": 1e-6},
        ]
        made.append(torch.optim.SGD(groups, momentum=0.9))
        return made[-1]

    training = replace(TRAINING, schedule="cosine", lr=7.0)
    trainer, _ = train_enhancer(NETWORK, training, windows(), optimizer=make)
    assert [trainer.optimizer, trainer.judge_optimizer] == made
    assert all(len(each.state) for each in made)
    named = Trainer(NETWORK, replace(training, optimizer="adam"), windows())
    named.step(0)
    trainer.step(0)
    factor = named.optimizer.param_groups[0]["lr"] / 7.0
    rates = [group["lr"] for group in trainer.optimizer.param_groups]
    assert rates == pytest.approx([1e-5 * factor, 1e-6 * factor])


def test_a_run_is_not_resumed_with_another_optimizer(tmp_path):
    def make(module):
        return torch.optim.SGD(module.parameters(), 1e-5)

    train_enhancer(NETWORK, TRAINING, windows(), folder=tmp_path, optimizer=make)
    train_enhancer(NETWORK, TRAINING, windows(), folder=tmp_path, optimizer=make)
    with pytest.raises(CheckpointError, match="optimizer = 'SGD'; now it is None"):
        train_enhancer(NETWORK, TRAINING, windows(), folder=tmp_path)


@pytest.mark.parametrize(
    ("other", "difference"),
    [({"batch_size": 3}, "batch_size = 2"), ({"pairs": pairs(1)}, "first batch of")],
)
def test_a_run_is_not_resumed_with_other_batches(tmp_path, other, difference):
    def batches(**options):
        return PairWindows(options.pop("pairs", pairs()), window=256, **{"batch_size": 2} | options)

    train_enhancer(NETWORK, TRAINING, batches(), folder=tmp_path)
    with pytest.raises(CheckpointError, match=difference):
        train_enhancer(NETWORK, TRAINING, batches(**other), folder=tmp_path)


@pytest.mark.parametrize("setting", [{"clip_norm": -1.0}, {"adversarial_from": -1}])
def test_impossible_settings_are_refused(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        TrainingConfig(**setting)
