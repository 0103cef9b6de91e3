"""Locks, events, queues and streams in shared memory, for processes of any language.

Names and behaviour are those of threading, queue and multiprocessing:

    import shmkit

    jobs = shmkit.Queue("bank/jobs", maxsize=4)
    jobs.put(b"Python")

An object has a name, "segment/object", by which any process finds it; or none, and then it is for
this program: its threads, and the processes that it is passed to. A process that is killed leaves
nothing locked: see shmkit-python(7).
"""

try:
    from ._shmkit import *  # noqa: F401,F403
except ImportError as error:
    import sysconfig

    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise ImportError(
            "shmkit needs a Python with the GIL: the stable ABI, which it is built for, does not "
            "have free-threaded builds"
        ) from error
    raise
from . import _shmkit
from ._shared import Array, Value
from ._wait import wait

__all__ = [name for name in vars(_shmkit) if not name.startswith("_")]
__all__ += ["Array", "Value", "wait"]
