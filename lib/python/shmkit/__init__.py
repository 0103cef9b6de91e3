"""Locks, events, queues and streams in shared memory, for processes of any language.

Names and behaviour are those of threading, queue and multiprocessing:

    import shmkit

    jobs = shmkit.Queue("bank/jobs", maxsize=4)
    jobs.put(b"Python")

An object has a name, "segment/object", by which any process finds it; or none, and then it is for
this program: its threads, and the processes that it is passed to. A process that is killed leaves
nothing locked: see shmkit-python(7).
"""

import sys as _sys

# Before the extension is loaded: 3.13t looks for files of the stable ABI, too, though its objects
# are laid out otherwise.
if "t" in _sys.abiflags:
    raise ImportError(
        "shmkit needs a Python with the GIL: the stable ABI, which it is built for, does not have "
        "free-threaded builds"
    )

from . import _shmkit
from ._shmkit import *  # noqa: F401,F403
from ._shared import Array, Value
from ._wait import wait

__all__ = [name for name in vars(_shmkit) if not name.startswith("_")]
__all__ += ["Array", "Value", "wait"]
