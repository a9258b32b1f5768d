"""The shipped model beside every installed peer; attention and measures beside their plain forms.

Floors: at least 30 times less memory and twice less CPU for attention over 8192 frames, measures
five times faster than frame by frame, a real-time factor of at most 0.15 on one core, PESQ 0.25
above the noisy input's with STOI and SI-SDR up.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import sidebyside
import torch
from torch import nn
from torch.nn import functional as F

from septet.speech import (
    Denoiser,
    SelfAttention1d,
    arena,
    installed_peers,
    metrics,
    packaged_16k,
)
from septet.speech.metrics import _reference

LENGTH, CHANNELS, BATCH = 8192, 16, 4
N_TEST = 42


def main() -> list[dict[str, Any]]:
    """Run every comparison."""
    torch.set_num_threads(1)
    if "--attention-memory" in sys.argv:
        return [memory_of(sys.argv[-1])]
    return [*systems(), real_time(), *measures(), *attention()]


def systems() -> list[dict[str, Any]]:
    """Return the arena, and whether ours keeps its floors in it."""
    table, _ = arena(packaged_16k(n_test=N_TEST, train=False).test, peers=installed_peers())
    rows = [{"what": f"packaged-16k: {row.pop('system')}", **row} for row in table]
    noisy, ours, *peers = rows
    classical = [row for row in peers if "RNN" not in row["what"] and row["what"][14:] in CLASSICAL]
    ours |= {
        "floor": "PESQ 0.25 over noisy, STOI and SI-SDR up, PESQ over the classical peers",
        "met": bool(
            ours["pesq"] >= noisy["pesq"] + 0.25
            and ours["stoi"] > noisy["stoi"]
            and ours["si_sdr"] > noisy["si_sdr"]
            and all(ours["pesq"] > row["pesq"] for row in classical)
        ),
    }
    return rows


CLASSICAL = ("Wiener", "noisereduce, stationary", "noisereduce, non-stationary", "WebRTC")


def real_time() -> dict[str, Any]:
    """CPU seconds per second of a recording of one minute, one thread."""
    noise = 0.1 * np.random.default_rng(0).normal(size=60 * 16000)
    ours = Denoiser.from_pretrained()
    ours.enhance(noise[:32000], 16000)
    spent = []
    for _ in range(3):
        start = time.process_time()
        ours.enhance(noise, 16000)
        spent.append((time.process_time() - start) / 60)
    factor = float(np.median(spent))
    return {
        "what": "small, one minute, one thread",
        "real-time factor": factor,
        "n": 3,
        "floor": "real-time factor 0.15",
        "met": factor <= 0.15,
    }


def measures() -> list[dict[str, Any]]:
    """SSNR, LLR and WSS of five seconds, at once and frame by frame."""
    rng = np.random.default_rng(0)
    clean = rng.normal(size=5 * 16000)
    noisy = clean + 0.3 * rng.normal(size=clean.size)
    rows = []
    for name in ("ssnr", "llr", "wss"):
        ours, plain = getattr(metrics, name), getattr(_reference, f"reference_{name}")
        seconds = sidebyside.interleaved(
            {
                "septet": lambda ours=ours: ours(clean, noisy),
                "per frame": lambda plain=plain: plain(clean, noisy),
            },
            repeats=3,
        )
        rows.append(sidebyside.ratio(f"{name}, 5 s", seconds, "septet", "per frame", floor=5.0))
    return rows


class MapAttention(SelfAttention1d):
    """The same layer with its map built: softmax of a matrix product."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x` plus the gated attention over it."""
        p = self.memory_reduction
        q, k, v = self.query(x), F.max_pool1d(self.key(x), p), F.max_pool1d(self.value(x), p)
        weights = torch.softmax(q.transpose(1, 2) @ k, dim=-1)
        mixed = weights @ v.transpose(1, 2)
        return x + self.beta * self.output(mixed.transpose(1, 2))


WAYS = {"fused": SelfAttention1d, "map": MapAttention}


def attention() -> list[dict[str, Any]]:
    """CPU time in turns; memory of each in a process of its own."""
    layers = {name: layer(CHANNELS, value_reduction=2) for name, layer in WAYS.items()}
    layers["map"].load_state_dict(layers["fused"].state_dict())
    x = torch.randn(BATCH, CHANNELS, LENGTH)
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for repeat in range(4):
        for name, layer in layers.items():
            start = time.process_time()
            step(layer, x)
            if repeat:
                seconds[name].append(time.process_time() - start)
    what = f"attention over {LENGTH} frames, {CHANNELS} channels, batch {BATCH}"
    faster = sidebyside.ratio(f"{what}: CPU", seconds, "fused", "map", floor=2.0)
    used = {name: _memory_apart(name) for name in WAYS}
    times = used["map"] / used["fused"]
    return [
        faster,
        {
            "what": f"{what}: memory",
            "ours": "fused",
            "ours (MiB)": used["fused"],
            "peer": "map",
            "peer (MiB)": used["map"],
            "times less": times,
            "n": 1,
            "floor": 30.0,
            "met": times >= 30,
        },
    ]


def step(layer: nn.Module, x: torch.Tensor) -> None:
    """Forward and backward."""
    with torch.no_grad():
        layer.get_parameter("beta").fill_(0.5)
    inputs = x.clone().requires_grad_(True)
    layer(inputs).sum().backward()


def memory_of(name: str) -> dict[str, Any]:
    """Peak memory in MiB that a step adds to this process, after one over few frames."""
    layer = WAYS[name](CHANNELS, value_reduction=2)
    step(layer, torch.randn(1, CHANNELS, 64))
    x = torch.randn(BATCH, CHANNELS, LENGTH)
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak begins anew
    before = _peak()
    step(layer, x)
    return {"MiB": (_peak() - before) / 1024}


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _memory_apart(name: str) -> float:
    command = [sys.executable, __file__, "--json", "--attention-memory", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)[0]["MiB"])


if __name__ == "__main__":
    sidebyside.show(main())
