"""Value, Array and Region: bytes that processes share."""
import ctypes
import gc
import importlib.util
import multiprocessing
import os
import signal
import subprocess
import unittest

import shmkit
from common import TestCase

HAS_NUMPY = importlib.util.find_spec("numpy") is not None


def add(value, times):
    for _ in range(times):
        with value.get_lock():
            value.value += 1


class Values(TestCase):
    def test_several_processes_count(self):
        count = shmkit.Value("q", 0)
        team = [self.child(add, count, 500) for _ in range(4)]
        for child in team:
            self.joins(child)
        self.assertEqual(count.value, 2000)

    def test_it_has_a_name(self):
        one = shmkit.Value(f"{self.segment}/balance", "d", 1.5)
        other = shmkit.Value(f"{self.segment}/balance", "d", 99)
        self.assertEqual(other.value, 1.5)
        one.value = -2.0
        self.assertEqual(other.value, -2.0)
        said = subprocess.run(
            ["shmctl", "region", "get", "--format", "double", f"{self.segment}/balance"],
            capture_output=True,
            text=True,
        )
        self.assertEqual(said.stdout.strip(), "-2", said.stderr)

    def test_another_size_is_refused(self):
        shmkit.Value(f"{self.segment}/x", "b", 1)
        with self.assertRaises(OSError):
            shmkit.Value(f"{self.segment}/x", "q", 1)

    def test_a_killed_holder_does_not_block_it(self):
        count = shmkit.Value("i", 5)

        def die():
            count.get_lock().acquire()
            os.kill(os.getpid(), signal.SIGKILL)

        self.child(die).join(30)
        self.assertEqual(count.value, 5)
        told = shmkit.Value("i", 5, orphaned="raise")

        def die_with_this():
            told.get_lock().acquire()
            os.kill(os.getpid(), signal.SIGKILL)

        self.child(die_with_this).join(30)
        with self.assertRaises(shmkit.Orphaned):
            told.get_lock().acquire()
        told.get_lock().release()

    def test_structures(self):
        class Account(ctypes.Structure):
            _fields_ = [("balance", ctypes.c_int64), ("paid_in", ctypes.c_bool)]

        account = shmkit.Value(Account, 800, True, lock=False)

        def draw():
            account.balance -= 800
            account.paid_in = False

        self.joins(self.child(draw))
        self.assertEqual((account.balance, account.paid_in), (0, False))

    def test_arrays(self):
        numbers = shmkit.Array(f"{self.segment}/numbers", "i", [1, 2, 3])
        same = shmkit.Array(f"{self.segment}/numbers", "i", 3)
        numbers[1:] = [7, 8]
        self.assertEqual(list(same), [1, 7, 8])
        text = shmkit.Array("c", b"Python")
        self.assertEqual(text.value, b"Python")


class Regions(TestCase):
    def test_a_writable_buffer(self):
        region = shmkit.Region(f"{self.segment}/bytes", 16)
        self.assertEqual(bytes(region.buf), bytes(16))
        region.buf[:3] = b"abc"
        with shmkit.Region(f"{self.segment}/bytes") as again:
            self.assertEqual(bytes(again.buf[:3]), b"abc")
            self.assertEqual((len(again), again.size), (16, 16))
        self.assertEqual(memoryview(region)[0], ord("a"))

    def test_close_is_refused_while_a_view_is_alive(self):
        region = shmkit.Region(16)
        part = region.buf[4:]
        with self.assertRaises(BufferError):
            region.close()
        del part
        view = region.buf
        del view
        gc.collect()
        region.close()
        with self.assertRaises((shmkit.Closed, ValueError, BufferError)):
            region.buf[0]

    def test_a_view_outlives_the_object(self):
        region = shmkit.Region(16)
        view = memoryview(region)
        del region
        gc.collect()
        view[:] = bytes(range(16))
        self.assertEqual(view[15], 15)

    @unittest.skipUnless(HAS_NUMPY, "numpy is not there (Debian package: python3-numpy)")
    def test_numpy_in_another_process(self):
        import numpy as np

        region = shmkit.Region(80)
        array = np.frombuffer(region.buf, dtype="d")

        def fill():
            np.frombuffer(region, dtype="d")[:] = 2.5

        self.joins(self.child(fill))
        self.assertEqual(array.sum(), 25)

    def test_it_is_pickled_under_each_start_method(self):
        for how in "fork", "spawn", "forkserver":
            with self.subTest(how=how):
                region = shmkit.Region(4)
                child = multiprocessing.get_context(how).Process(target=write, args=(region,))
                child.start()
                self.joins(child, 60)
                self.assertEqual(bytes(region.buf), b"done")


def write(region):
    region.buf[:] = b"done"


if __name__ == "__main__":
    unittest.main()
