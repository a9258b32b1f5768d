"""Trains a tiny network alone or with processes that it forks.

Usage: two_processes.py FOLDER N_FORKS. One process imports torch and its forks share that.
"""

import os
import socket
import sys

import numpy as np
import torch

from septet.speech import NetworkConfig, PairWindows, TrainingConfig, train_enhancer
from septet.training import world

NETWORK = NetworkConfig(attention=(2,), channels=(8, 8), spectral_norm=False, window=256)
TRAINING = TrainingConfig(steps=4, adversarial=0.0, optimizer="adam", lr=1e-3, seed=3)


def run(folder, size):
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    tone = (6000 * np.sin(np.arange(6000) / 7)).astype(np.int16)
    noisy = (tone + 900 * rng.normal(size=tone.size)).astype(np.int16)
    windows = PairWindows([("a", tone, noisy)], window=256, batch_size=4 // size)
    with world() as processes:
        train_enhancer(NETWORK, TRAINING, windows, folder=folder, world=processes)


def fork(folder, count):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    children = []
    for rank in range(count):
        children.append(os.fork())
        if children[-1] == 0:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            run(folder, count)
            os._exit(0)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


if __name__ == "__main__":
    if sys.argv[2] == "1":
        run(sys.argv[1], 1)
    else:
        sys.exit(max(fork(sys.argv[1], int(sys.argv[2]))))
