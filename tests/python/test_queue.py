"""Queues: items, orders, shutdown, batches, views without a copy, leases, asyncio."""
import asyncio
import gc
import importlib.util
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import unittest

import shmkit
from common import TestCase, fork, until

HAS_NUMPY = importlib.util.find_spec("numpy") is not None
KINDS = shmkit.Queue, shmkit.LifoQueue, shmkit.PriorityQueue


class Items(TestCase):
    def test_bytes_travel_as_they_are(self):
        jobs = shmkit.Queue(f"{self.segment}/jobs", 10)
        jobs.put(b"Python")
        jobs.put("存款者甲".encode())
        said = subprocess.run(
            ["shmctl", "get", "--count", "2", jobs.name], capture_output=True, check=True
        ).stdout
        self.assertEqual(said, "Python\n存款者甲\n".encode())
        subprocess.run(["shmctl", "put", jobs.name, "from a shell"], check=True)
        self.assertEqual(jobs.get(), b"from a shell")

    def test_everything_else_is_pickled(self):
        jobs = shmkit.Queue()
        for item in (1, "Python", ("a", 2.5, None), {"x": [1, 2]}, bytearray(b"ab"), 1 << 200):
            jobs.put(item)
            got = jobs.get()
            self.assertEqual(got, item)
            self.assertIs(type(got), type(item))

    def test_bytes_are_never_taken_for_a_pickle(self):
        jobs = shmkit.Queue()
        jobs.put("seen")
        mark = b"\x93shk"
        items = b"", mark, mark + b"p", mark + b"p\x80\x05K\x01.", mark + b"b", b"\x93"
        for item in items:
            jobs.put(item)
        self.assertEqual(jobs.get(), "seen")
        for item in items:
            self.assertEqual(jobs.get(), item)

    def test_long_and_short_items_take_turns(self):
        jobs = shmkit.Queue()
        for size in (0, 1, 4096, 4097, 1 << 20, 5, 3_000_000, 0):
            item = os.urandom(size)
            jobs.put(item)
            self.assertEqual(jobs.get(), item)

    def test_codecs(self):
        for codec, item, raw in (
            ("bytes", b"ab", b"ab"),
            ("text", "存款", "存款".encode()),
            ("json", {"n": [1, None]}, None),
            (json, [1, 2], b"[1, 2]"),
        ):
            with self.subTest(codec=codec):
                name = f"{self.segment}/{getattr(codec, '__name__', codec)}-{raw is None}"
                coded = shmkit.Queue(name, codec=codec)
                plain = shmkit.Queue(name, codec="bytes")
                coded.put(item)
                seen = plain.get()
                if raw is not None:
                    self.assertEqual(seen, raw)
                plain.put(seen)
                self.assertEqual(coded.get(), item)
        with self.assertRaises(TypeError):
            shmkit.Queue(codec="bytes").put("text")

    def test_an_item_that_cannot_be_pickled_is_refused_in_the_put(self):
        jobs = shmkit.Queue(1)
        with self.assertRaises(Exception):
            jobs.put(lambda: 0)
        self.assertTrue(jobs.empty())
        jobs.put("next")
        self.assertEqual(jobs.get(), "next")

    def test_an_item_that_is_too_long_is_refused(self):
        jobs = shmkit.Queue(2, item_size=10)
        jobs.put(bytes(10))
        with self.assertRaises(OSError):
            jobs.put(bytes(11))

    def test_an_object_may_travel_in_an_item(self):
        jobs, answers = shmkit.Queue(), shmkit.Queue()
        jobs.put(("question", answers))
        question, back = jobs.get()
        back.put("answer to " + question)
        self.assertEqual(answers.get(timeout=10), "answer to question")

    def test_a_del_that_puts_does_not_disturb_a_put(self):
        jobs = shmkit.Queue()

        class Puts:
            def __init__(self):
                self.self = self  # in a circle: the collector finds it

            def __del__(self):
                jobs.put("from __del__")

        enabled = gc.isenabled()
        for _ in range(50):
            Puts()
            slot = jobs.reserve(8)
            junk = [[] for _ in range(2000)]  # would start the collector
            for x in junk:
                x.append(junk)
            slot[:] = b"reserved"
            jobs.commit()
        self.assertEqual(gc.isenabled(), enabled)
        gc.collect()
        found = [jobs.get() for _ in range(jobs.qsize())]
        self.assertEqual(found.count(b"reserved"), 50)


class Orders(TestCase):
    def test_priority_is_the_first_element(self):
        jobs = shmkit.PriorityQueue()
        for item in ((3, "c"), (1, "a"), (2, "b"), (1, "a, too"), [0, "list"]):
            jobs.put(item)
        got = [jobs.get()[1] for _ in range(5)]
        self.assertEqual(got, ["list", "a", "a, too", "b", "c"])

    def test_priority_of_an_item_that_has_none(self):
        with self.assertRaises(TypeError):
            shmkit.PriorityQueue().put("Python")
        with self.assertRaises(OverflowError):
            shmkit.PriorityQueue().put(1 << 64)

    def test_key_and_floats(self):
        jobs = shmkit.PriorityQueue(key=len)
        for word in ("Python", "C", "Swift"):
            jobs.put(word)
        self.assertEqual([jobs.get() for _ in range(3)], ["C", "Swift", "Python"])
        times = shmkit.PriorityQueue(numbers="float")
        for t in (0.5, -1.25, 3, float("-inf")):
            times.put((t, "x"))
        self.assertEqual([times.get()[0] for _ in range(4)], [float("-inf"), -1.25, 0.5, 3])

    def test_maxsize_0_or_less_is_no_limit(self):
        for kind in KINDS:
            for size in (0, -1):
                jobs = kind(size)
                for i in range(300):
                    jobs.put(i)
                self.assertFalse(jobs.full())
                self.assertEqual(jobs.qsize(), 300)


class Shutdown(TestCase):
    """As queue.Queue's of 3.13."""

    def test_puts_end_at_once_and_gets_when_it_is_empty(self):
        for kind in KINDS:
            for immediate in (False, True):
                with self.subTest(kind=kind, immediate=immediate):
                    jobs = kind(4)
                    jobs.put(1)
                    jobs.put(2)
                    jobs.shutdown(immediate)
                    jobs.shutdown(immediate)
                    self.assertTrue(jobs.is_shutdown)
                    with self.assertRaises(shmkit.ShutDown):
                        jobs.put(3)
                    with self.assertRaises(shmkit.ShutDown):
                        jobs.put_nowait(3)
                    if not immediate:
                        self.assertEqual({jobs.get(), jobs.get_nowait()}, {1, 2})
                    self.assertEqual(jobs.qsize(), 0)
                    with self.assertRaises(shmkit.ShutDown):
                        jobs.get()
                    with self.assertRaises(shmkit.ShutDown):
                        jobs.get_nowait()

    def test_those_that_wait_are_woken(self):
        for immediate in (False, True):
            empty, full, tasks = shmkit.Queue(1), shmkit.Queue(1), shmkit.Queue(1)
            full.put(0)
            tasks.put(0)
            ended = []

            def wait(call, *arguments):
                try:
                    call(*arguments)
                    ended.append("returned")
                except shmkit.ShutDown:
                    ended.append("told")

            team = [threading.Thread(target=wait, args=(empty.get,)) for _ in range(3)]
            team += [threading.Thread(target=wait, args=(full.put, 1)) for _ in range(3)]
            for thread in team:
                thread.start()
            time.sleep(0.1)
            self.assertEqual(ended, [])
            for q in (empty, full):
                q.shutdown(immediate)
            for thread in team:
                thread.join(30)
                self.assertFalse(thread.is_alive())
            self.assertEqual(ended, ["told"] * 6)

    def test_join_waits_for_the_tasks_that_are_left(self):
        jobs = shmkit.Queue()
        jobs.put(1)
        jobs.put(2)
        jobs.get()
        jobs.shutdown(immediate=True)
        jobs.task_done()
        jobs.join()
        self.assertEqual(jobs.unfinished_tasks, 0)

    def test_another_process_is_told(self):
        jobs = shmkit.Queue()

        def drain():
            try:
                while True:
                    jobs.get()
            except shmkit.ShutDown:
                return

        child = self.child(drain)
        jobs.put("item")
        jobs.shutdown()
        self.joins(child)

    def test_shut_down_is_an_exception_of_queue_where_there_is_one(self):
        self.assertIs(shmkit.Empty, queue.Empty)
        self.assertIs(shmkit.Full, queue.Full)
        self.assertIs(shmkit.ShutDown, getattr(queue, "ShutDown", shmkit.ShutDown))


class Batches(TestCase):
    def test_many(self):
        jobs = shmkit.Queue(100)
        jobs.put_many([b"a", "b", 3])
        self.assertEqual(jobs.get_many(10), [b"a", "b", 3])


class Views(TestCase):
    def test_reserve_and_commit(self):
        jobs = shmkit.Queue(4, item_size=64)
        slot = jobs.reserve(16)
        self.assertIsInstance(slot, memoryview)
        self.assertFalse(slot.readonly)
        slot[:5] = b"hello"
        jobs.commit(5)
        self.assertEqual(jobs.get(), b"hello")
        with self.assertRaises(ValueError):
            slot[0] = 1
        jobs.reserve(8)
        jobs.cancel()
        self.assertTrue(jobs.empty())
        with self.assertRaises(shmkit.NotHeld):
            jobs.commit()

    def test_commit_is_refused_while_a_view_is_alive(self):
        jobs = shmkit.Queue(4, item_size=64)
        slot = jobs.reserve(8)
        slot[:4] = b"1234"
        part = slot[4:]
        with self.assertRaises(BufferError):
            jobs.commit()
        with self.assertRaises(BufferError):
            jobs.cancel()
        part[:] = b"5678"  # the reservation is open, and the part as good as before
        part.release()
        jobs.commit()
        self.assertEqual(jobs.get(), b"12345678")

    def test_peek_and_consume(self):
        jobs = shmkit.Queue(4)
        jobs.put(b"first")
        seen = jobs.peek()
        self.assertEqual(bytes(seen), b"first")
        self.assertTrue(seen.readonly)
        jobs.unpeek()
        with self.assertRaises(ValueError):
            seen[0]
        seen = jobs.peek()
        part = seen[1:]
        with self.assertRaises(BufferError):
            jobs.consume()
        del part
        jobs.consume()
        self.assertTrue(jobs.empty())

    @unittest.skipUnless(HAS_NUMPY, "numpy is not there (Debian package: python3-numpy)")
    def test_numpy_wraps_without_a_copy(self):
        import numpy as np

        jobs = shmkit.Queue(4, item_size=1024)
        array = np.frombuffer(jobs.reserve(80), dtype="f8")
        array[:] = np.arange(10)
        with self.assertRaises(BufferError):
            jobs.commit()
        del array
        jobs.commit()
        array = np.frombuffer(jobs.peek(), dtype="f8")
        self.assertEqual(array.sum(), 45)
        with self.assertRaises(ValueError):
            array[0] = 1
        with self.assertRaises(BufferError):
            jobs.close()
        del array
        jobs.consume()
        jobs.close()

    def test_a_killed_reservation_leaves_nothing(self):
        jobs = shmkit.Queue(4, item_size=64)

        def die():
            jobs.reserve(8)[:] = b"halfdone"
            os.kill(os.getpid(), signal.SIGKILL)

        self.child(die).join(30)
        jobs.put(b"whole", timeout=30)
        self.assertEqual(jobs.get(timeout=30), b"whole")


class Leases(TestCase):
    def test_an_item_is_acknowledged_or_comes_back(self):
        jobs = shmkit.Queue(4)
        jobs.put("job")
        lease = jobs.lease()
        self.assertEqual((lease.item, lease.attempts), ("job", 1))
        lease.nack()
        again = jobs.lease(timeout=10)
        self.assertEqual((again.item, again.attempts), ("job", 2))
        again.ack()
        with self.assertRaises(shmkit.Empty):
            jobs.get(False)
        with self.assertRaises(FileNotFoundError):
            again.ack()

    def test_an_exception_gives_it_back(self):
        jobs = shmkit.Queue(4)
        jobs.put("job")
        with self.assertRaises(ZeroDivisionError):
            with jobs.lease():
                1 / 0
        with jobs.lease(timeout=10) as lease:
            self.assertEqual(getattr(lease, "item", lease), "job")
        self.assertTrue(jobs.empty())

    def test_a_killed_worker_gives_it_back(self):
        jobs = shmkit.Queue(4)
        jobs.put("job")

        def die():
            lease = jobs.lease()
            os.kill(os.getpid(), signal.SIGKILL)
            return lease

        self.child(die).join(30)
        self.assertEqual(jobs.get(timeout=30), "job")


class Roles(TestCase):
    def test_the_end_as_at_the_end_of_a_pipe(self):
        name = f"{self.segment}/jobs"
        consumer = shmkit.Queue(name, role="consumer")
        producer = shmkit.Queue(name, role="producer")
        producer.put("last")
        producer.close()
        self.assertEqual(consumer.get(timeout=30), "last")
        with self.assertRaises(shmkit.ShutDown):
            consumer.get(timeout=30)


class Asyncio(unittest.TestCase):
    def test_aput_and_aget(self):
        async def main():
            jobs = shmkit.Queue(1)

            async def produce():
                for i in range(20):
                    await jobs.aput(i)

            task = asyncio.create_task(produce())
            got = [await jobs.aget() for _ in range(20)]
            await task
            self.assertEqual(got, list(range(20)))

        asyncio.run(asyncio.wait_for(main(), 60))

    def test_the_loop_goes_on_meanwhile_without_a_thread(self):
        async def main():
            jobs = shmkit.Queue()
            ticks = 0
            waiting = asyncio.create_task(jobs.aget())
            for _ in range(20):
                await asyncio.sleep(0.005)
                ticks += 1
            threads = threading.active_count()
            jobs.put("item")
            self.assertEqual(await asyncio.wait_for(waiting, 30), "item")
            self.assertEqual((ticks, threads), (20, before))

        before = threading.active_count()
        asyncio.run(main())

    def test_another_process_puts(self):
        async def main(jobs):
            return [await asyncio.wait_for(jobs.aget(), 30) for _ in range(3)]

        jobs = shmkit.Queue()
        if os.fork() == 0:
            for i in range(3):
                time.sleep(0.02)
                jobs.put(i)
            os._exit(0)
        self.assertEqual(asyncio.run(main(jobs)), [0, 1, 2])
        os.wait()

    def test_a_join_waits_for_the_last_task_and_does_not_ask_meanwhile(self):
        class Asked(shmkit.JoinableQueue):
            times = 0

            def join(self, timeout=None):
                self.times += 1
                super().join(timeout)

        async def main():
            jobs = Asked()
            jobs.put("item")
            jobs.get()
            with self.assertRaises(TimeoutError):
                await jobs.ajoin(0.3)
            joins = [asyncio.create_task(jobs.ajoin()) for _ in range(3)]
            got = asyncio.create_task(jobs.aget())  # of the same queue, and the same descriptor
            await asyncio.sleep(0.3)
            self.assertLessEqual(jobs.times, 2 + 3)
            jobs.task_done()
            await asyncio.wait_for(asyncio.gather(*joins), 30)
            self.assertLessEqual(jobs.times, 2 + 2 * 3)
            jobs.put("another")
            self.assertEqual(await asyncio.wait_for(got, 30), "another")
            jobs.task_done()
            await jobs.ajoin()

        asyncio.run(main())

    def test_a_join_ends_with_a_worker_that_dies(self):
        async def main():
            waiting = asyncio.create_task(jobs.ajoin())
            await asyncio.sleep(0.05)
            os.kill(worker.pid, signal.SIGKILL)
            with self.assertRaises(shmkit.Orphaned):
                await asyncio.wait_for(waiting, 30)

        jobs, taken = shmkit.JoinableQueue(), shmkit.Event()
        jobs.put("item")
        worker = fork.Process(target=lambda: (jobs.get(), taken.set(), time.sleep(100)))
        worker.start()
        self.assertTrue(taken.wait(30))
        asyncio.run(main())
        worker.join()

    def test_wait_for_all_done(self):
        jobs = shmkit.JoinableQueue()
        jobs.put("item")
        self.assertEqual(shmkit.wait([(jobs, "d")], 0), [])
        jobs.get()
        self.assertEqual(shmkit.wait([jobs, (jobs, "d")], 0.01), [])
        jobs.task_done()
        self.assertEqual(shmkit.wait([jobs, (jobs, "d")], 10), [(jobs, "d")])
        with self.assertRaises(ValueError):
            shmkit.wait([(jobs, "x")], 0)

    def test_a_cancelled_get_takes_no_item(self):
        async def main():
            jobs = shmkit.Queue()
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(jobs.aget(), 0.05)
            jobs.put("kept")
            self.assertEqual(await asyncio.wait_for(jobs.aget(), 30), "kept")

        asyncio.run(main())


if __name__ == "__main__":
    unittest.main()
