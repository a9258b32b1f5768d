"""The optimizers inside the trainers that people use: Hugging Face's and Lightning's."""

import math
import warnings

import pytest
import torch
from torch import nn

from septet.optim import AdamSNSM, RMSpropSN, param_groups

OPTIONS = {"projection": "gram", "update_interval": 3, "refresh": "rotate"}


class Tagger(nn.Module):
    """Embeds a symbol and predicts the next one; returns what both trainers can read."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.inner = nn.Linear(8, 16)
        self.head = nn.Linear(16, 11, bias=False)

    def forward(self, symbols, labels=None):
        logits = self.head(torch.tanh(self.inner(self.embedding(symbols))))
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return {"loss": loss, "logits": logits}


def made():
    torch.manual_seed(0)
    return Tagger()


class Rows(torch.utils.data.Dataset):
    """Counting up modulo eleven, from different starts."""

    def __len__(self):
        return 24

    def __getitem__(self, i):
        symbols = (torch.arange(6) + i) % 11
        return {"symbols": symbols[:-1], "labels": symbols[1:]}


def weights(model):
    return [p.detach().clone() for p in model.parameters()]


@pytest.fixture
def trainer_for(tmp_path):
    transformers = pytest.importorskip("transformers")

    def build(model, folder, steps=6):
        groups = param_groups(model, lr=0.05, lr_dense=0.02, rank=2)
        arguments = transformers.TrainingArguments(
            output_dir=tmp_path / folder,
            max_steps=steps,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            max_grad_norm=1.0,
            lr_scheduler_type="linear",
            warmup_steps=2,
            save_steps=4,
            logging_steps=1,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            seed=0,
        )
        return transformers.Trainer(
            model=model,
            args=arguments,
            train_dataset=Rows(),
            optimizer_cls_and_kwargs=(AdamSNSM, {"params": groups, **OPTIONS}),
        )

    return build


def test_hugging_faces_trainer_trains_and_resumes_across_a_refresh_bit_for_bit(trainer_for):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the trainer's own, about pinned memory and the like
        straight = trainer_for(made(), "straight")
        straight.train()
        again = trainer_for(made(), "again")
        again.train(resume_from_checkpoint=str(straight.args.output_dir) + "/checkpoint-4")
    optimizer = straight.optimizer.optimizer
    assert isinstance(optimizer, AdamSNSM)
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 2]
    losses = [entry["loss"] for entry in straight.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0]
    assert all(
        torch.equal(a, b)
        for a, b in zip(weights(straight.model), weights(again.model), strict=True)
    )
    inner = straight.model.inner.weight
    assert optimizer.state[inner]["refreshed"] == 6  # so a refresh came after the checkpoint


def test_the_trainers_schedule_drives_both_rates(trainer_for):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = trainer_for(made(), "rates", steps=4)
        trainer.train()
    lean, dense = trainer.optimizer.param_groups
    assert (lean["initial_lr"], dense["initial_lr"]) == (0.05, 0.02)
    assert lean["lr"] == dense["lr"] == 0.0  # linear decay has ended


def lightning_module(pl):
    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = made()
            self.losses = []

        def training_step(self, batch, _):
            loss = self.model(**batch)["loss"]
            self.losses.append(float(loss.detach()))
            return loss

        def configure_optimizers(self):
            groups = param_groups(self.model, lr=0.05, lr_dense=0.02, rank=2)
            optimizer = AdamSNSM(groups, **OPTIONS)
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1 / (1 + t / 10))
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": schedule, "interval": "step"},
            }

    return Module()


@pytest.fixture
def lightning_run(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        pl = pytest.importorskip("lightning.pytorch")

    def run(steps, resume=None, keep=None):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about few workers and the like
            module = lightning_module(pl)
            trainer = pl.Trainer(
                max_steps=steps,
                accelerator="cpu",
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                gradient_clip_val=1.0,
                default_root_dir=tmp_path,
            )
            # One batch holds everything: Lightning's loader goes on elsewhere after a restart.
            rows = torch.utils.data.DataLoader(Rows(), batch_size=len(Rows()))
            trainer.fit(module, rows, ckpt_path=resume, weights_only=True)
            if keep:
                trainer.save_checkpoint(keep)
        return module

    return run


def test_lightning_trains_and_resumes_from_tensors_and_numbers_alone(lightning_run, tmp_path):
    straight = lightning_run(8)
    assert straight.losses[-1] < straight.losses[0]
    lightning_run(4, keep=tmp_path / "four.ckpt")
    again = lightning_run(8, resume=tmp_path / "four.ckpt")
    assert len(again.losses) == 4
    assert all(torch.equal(a, b) for a, b in zip(weights(straight), weights(again), strict=True))


def test_a_group_added_in_the_middle_of_a_run_starts_its_own_count():
    model = made()
    optimizer = AdamSNSM([model.head.weight], lr=0.05, rank=2, **OPTIONS)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    batch = {key: value[None] for key, value in Rows()[0].items()}
    for step in range(6):
        if step == 4:
            optimizer.add_param_group({"params": [model.inner.weight], "lr": 0.01, "rank": 3})
        optimizer.zero_grad()
        model(**batch)["loss"].backward()
        optimizer.step()
        schedule.step()
    counts = [optimizer.state[p]["step"] for p in (model.head.weight, model.inner.weight)]
    assert counts == [6, 2]
    assert optimizer.state[model.inner.weight]["basis"].shape == (8, 3)


def test_a_loss_scale_that_overflows_is_lowered_and_the_step_left_out():
    model = made()
    optimizer = RMSpropSN(param_groups(model, lr=0.01))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120)
    batch = {key: value[None] for key, value in Rows()[0].items()}
    before = weights(model)
    scaler.scale(model(**batch)["loss"] * 1e30).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0**119
    assert not optimizer.state
    assert all(torch.equal(a, b) for a, b in zip(before, weights(model), strict=True))
    assert math.isfinite(float(model(**batch)["loss"].detach()))
