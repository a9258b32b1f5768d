"""Train a classifier on toy clips alone, then in two processes that this one forks.

Usage: two_processes.py FOLDER. Importing torch anew in each would take most of the time.
"""

import os
import socket
import sys
from pathlib import Path

import torch
from audio.toy import RATE, toy

from septet.audio import MultiViewClassifier


def learn(folder, accumulate):
    clips, labels, groups = toy(24)
    classifier = MultiViewClassifier(
        RATE,
        views=("mel", "wave"),
        size="tiny",
        steps=6,
        eval_every=2,
        batch_size=4,
        accumulate=accumulate,
        dropout=0.0,
    )
    classifier.fit(clips, labels, groups, folder=folder / "run")
    if torch.distributed.is_initialized():
        raise SystemExit("the processes were not let go")
    classifier.save(folder / f"model{os.environ.get('RANK', '')}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    root = Path(sys.argv[1])
    learn(root / "one", 2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    children = []
    for rank in range(2):
        children.append(os.fork())
        if children[-1] == 0:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            learn(root / "two", 1)
            os._exit(0)
    sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
