"""Thread and current_thread as in threading, and each thread is a process of its own.

    python3 account.py             starts the program's actors, each as a process of its own
    python3 account.py 存款者甲    is that actor alone: in another terminal, or after a kill

An actor is the same program, started again with the actor's name. Actors have no memory and no
descriptor in common; they find their objects by name.
"""
import atexit
import itertools
import signal
import subprocess
import sys

import shmkit

_numbers = itertools.count(1)
_started = []

# Ctrl-C ends an actor as it ends the programs in C. A line is written when it is complete, and at
# once, so that the lines of several actors in one pipe are whole and in their order.
signal.signal(signal.SIGINT, signal.SIG_DFL)
sys.stdout.reconfigure(encoding="utf-8", line_buffering=True, write_through=False)


class Thread:
    def __init__(self, name=None, target=None, args=()):
        self.name = name or f"Process-{next(_numbers)}"
        self._target = target
        self._args = args

    def getName(self):
        return self.name

    def start(self):
        if len(sys.argv) == 1:
            _started.append(subprocess.Popen([sys.executable, sys.argv[0], self.name]))
        elif sys.argv[1] == self.name:
            global _current
            _current = self
            shmkit.set_member_name(self.name)
            self._target(*self._args)
            sys.exit()


_current = Thread("Main")


def current_thread():
    return _current


currentThread = current_thread


# A program ends after its threads.
@atexit.register
def _join():
    for actor in _started:
        actor.wait()
