"""Streams and their readers, the newest value, and waiting for any of several objects."""
import asyncio
import importlib.util
import multiprocessing
import os
import subprocess
import threading
import time
import unittest

import shmkit
from common import TestCase

HAS_NUMPY = importlib.util.find_spec("numpy") is not None


class Streams(TestCase):
    def test_samples_come_in_order(self):
        stream = shmkit.Stream("d")
        reader = stream.reader()
        stream.write(0.5)
        stream.write([1.0, 1.5])
        self.assertEqual(list(reader.read(10)), [0.5, 1.0, 1.5])
        self.assertEqual(list(reader.read(10, timeout=0)), [])
        self.assertEqual(stream.position, 3)
        self.assertEqual(list(stream.reader("oldest").read(2)), [0.5, 1.0])

    def test_what_is_overwritten_is_counted(self):
        stream = shmkit.Stream("q", history=16)
        reader = stream.reader()
        for i in range(100):
            stream.write(i)
        got = list(reader.read(1000))
        self.assertEqual(got[-1], 99)
        self.assertEqual(reader.dropped + len(got), 100)

    def test_the_latest_without_moving_on(self):
        stream = shmkit.Stream("i", history=64)
        reader = stream.reader()
        self.assertEqual(len(reader.latest(5)), 0)
        stream.write(range(10))
        self.assertEqual(list(reader.latest(3)), [7, 8, 9])
        self.assertEqual(list(reader.read(2)), [0, 1])

    def test_channels_and_time_stamps(self):
        stream = shmkit.Stream("f", 2, rate=250, stamped=True)
        reader = stream.reader()
        stream.write([[1, 2], [3, 4]], stamps=[10, 20])
        samples, stamps = reader.read_stamped(10)
        self.assertEqual(samples.tolist(), [[1, 2], [3, 4]])
        self.assertEqual(list(stamps), [10, 20])
        self.assertEqual((stream.channels, stream.rate, stream.stamped), (2, 250, True))

    def test_the_sampler_in_c_writes_the_same_stream(self):
        name = f"{self.segment}/eeg"
        stream = shmkit.Stream(name, "d")
        reader = stream.reader()
        subprocess.run(
            [os.environ["SHMKIT_DEMOS"] + "/sampler", name, "--stdin"],
            input="1.5\n-2\n",
            text=True,
            check=True,
            stderr=subprocess.DEVNULL,
        )
        self.assertEqual(list(reader.read(10)), [1.5, -2])
        stream.write(3.25)
        said = subprocess.run(
            ["shmctl", "stream", "read", "--latest", "2", name], capture_output=True, text=True
        )
        self.assertEqual(said.stdout.split(), ["-2", "3.25"], said.stderr)

    @unittest.skipUnless(HAS_NUMPY, "numpy is not there (Debian package: python3-numpy)")
    def test_numpy_wraps_samples_without_a_copy(self):
        import numpy as np

        stream = shmkit.Stream("d", 2)
        reader = stream.reader()
        stream.write(np.arange(6, dtype="d").reshape(3, 2))
        view = reader.read(10)
        array = np.asarray(view)
        self.assertEqual(array.shape, (3, 2))
        self.assertTrue(np.shares_memory(array, np.asarray(view)))
        del view, reader
        stream.close()
        self.assertEqual(array.sum(), 15)

    def test_a_writer_that_ends_and_one_that_dies(self):
        name = f"{self.segment}/eeg"

        def write(dies):
            stream = shmkit.Stream(name, "d", role="writer")
            stream.write(1.0)
            if dies:
                os.kill(os.getpid(), 9)
            stream.close()

        stream = shmkit.Stream(name, "d", role="reader")
        reader = stream.reader()
        self.child(write, False).join(30)
        self.assertEqual(list(reader.read(5, timeout=30)), [1.0])
        with self.assertRaises(EOFError):
            reader.read(5, timeout=30)
        reader = stream.reader()
        self.child(write, True).join(30)
        self.assertEqual(list(reader.read(5, timeout=30)), [1.0])
        with self.assertRaises(shmkit.Orphaned):
            reader.read(5, timeout=30)

    def test_asyncio(self):
        async def main():
            stream = shmkit.Stream("d")
            reader = stream.reader()
            waiting = asyncio.create_task(reader.aread())
            await asyncio.sleep(0.01)
            stream.write(4.5)
            self.assertEqual(list(await asyncio.wait_for(waiting, 30)), [4.5])

        asyncio.run(main())


class Newest(TestCase):
    def test_it_is_replaced_whole(self):
        newest = shmkit.Newest(f"{self.segment}/rate", 64)
        first = newest.set({"rate": 1.5})
        self.assertEqual(newest.get(), {"rate": 1.5})
        self.assertIsNone(newest.compare_and_set(first + 1, "no"))
        second = newest.compare_and_set(first, "yes")
        self.assertEqual(newest.get_versioned(), ("yes", second))
        thread = threading.Timer(0.05, newest.set, ("newer",))
        thread.start()
        self.assertEqual(newest.wait(second, timeout=30), second + 1)
        thread.join()


class Wait(TestCase):
    def test_the_ready_ones_are_told(self):
        empty, full, event = shmkit.Queue(), shmkit.Queue(), shmkit.Event()
        self.assertEqual(shmkit.wait([empty, full, event], 0), [])
        full.put(1)
        self.assertEqual(shmkit.wait([empty, full, event], 30), [full])
        threading.Timer(0.05, event.set).start()
        self.assertEqual(shmkit.wait([empty, event], 30), [event])

    def test_those_of_several_segments_and_pipes(self):
        here = shmkit.Queue()
        there = shmkit.Queue(f"{self.segment}/there")
        ours, theirs = multiprocessing.Pipe()
        objects = [here, there, ours]
        self.assertEqual(shmkit.wait(objects, 0.01), [])
        theirs.send(1)
        self.assertEqual(shmkit.wait(objects, 30), [ours])
        ours.recv()
        there.put(1)
        self.assertEqual(shmkit.wait(objects, 30), [there])

    def test_other_objects_are_refused(self):
        with self.assertRaises((TypeError, ValueError)):
            shmkit.wait([7.5], 0)

    def test_it_can_be_polled(self):
        import select

        jobs = shmkit.Queue()
        fd = shmkit.ready_fd([jobs])
        self.addCleanup(os.close, fd)
        self.assertEqual(select.select([fd], [], [], 0)[0], [])
        jobs.put(1)
        self.assertEqual(select.select([fd], [], [], 30)[0], [fd])


if __name__ == "__main__":
    unittest.main()
