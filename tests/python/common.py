"""What the tests have in common."""
import contextlib
import faulthandler
import multiprocessing
import os
import signal
import sys
import time
import unittest

# A test that hangs tells where, and ends.
SECONDS = 100
faulthandler.dump_traceback_later(SECONDS, exit=True)

fork = multiprocessing.get_context("fork")


def until(condition, seconds=30):
    """Wait until condition() is true, and return what it gave."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for {condition}")
        time.sleep(0.005)
    return value


def state(pid):
    """The letter in /proc/PID/stat: S is asleep. None: there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(") ")[2][0]
    except FileNotFoundError:
        return None


def sleeps(pid):
    """Whether it is asleep, at five looks in a row."""
    for _ in range(5):
        if state(pid) != "S":
            return False
        time.sleep(0.004)
    return True


class Process(fork.Process):
    """A child by fork(2), which ends with the test."""

    def kill_asleep(self):
        until(lambda: sleeps(self.pid))
        self.kill()
        self.join()


class TestCase(unittest.TestCase):
    def setUp(self):
        # Names of this test, in segments of its own.
        self.segment = f"test-python-{os.getpid()}-{self._testMethodName[:40]}"

    def tearDown(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"/dev/shm/{self.segment}")

    def child(self, target, *args):
        """Start target(*args) in a child."""
        process = Process(target=target, args=args, daemon=True)
        process.start()
        self.addCleanup(end, process)
        return process

    def joins(self, process, seconds=30):
        process.join(seconds)
        self.assertEqual(process.exitcode, 0, "the child has not ended well")


def end(process):
    if process.is_alive():
        process.kill()
    process.join()
