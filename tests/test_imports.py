"""What importing the library must not do."""

import os
import subprocess
import sys


def fresh(code: str, **extra: str) -> str:
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=os.environ | extra, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_top_level_loads_neither_torch_nor_scipy():
    code = "import sys, septet; print({'torch', 'scipy', 'numba'} & set(sys.modules))"
    assert fresh(code) == "set()"


def test_errors_can_be_caught_by_the_names_that_the_guides_give_them():
    code = "import septet\ntry: septet.data.load('mnist')\nexcept septet.DataError: print('caught')"
    assert fresh(code, SEPTET_CACHE="/nonexistent", SEPTET_DATA="") == "caught"


def test_importing_everything_opens_no_socket():
    code = """
import pkgutil, socket, sys
class Refused(socket.socket):  # a class, because ssl derives from it
    def __init__(self, *args, **kwargs): raise RuntimeError('a socket was opened')
socket.socket = Refused
import septet
for module in pkgutil.walk_packages(septet.__path__, 'septet.'):
    if not module.name.endswith('__main__'):
        __import__(module.name)
print('done')
"""
    assert fresh(code) == "done"


def test_importing_everything_leaves_global_random_state_alone():
    # scikit-learn draws from `random` when it is first imported, which is its own affair
    code = """
import random, sklearn.linear_model, numpy as np
before = random.getstate(), str(np.random.get_state())
import pkgutil, septet
for module in pkgutil.walk_packages(septet.__path__, 'septet.'):
    if not module.name.endswith('__main__'):
        __import__(module.name)
print(before == (random.getstate(), str(np.random.get_state())))
"""
    assert fresh(code) == "True"
