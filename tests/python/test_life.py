"""Lives of processes: fork, spawn and forkserver; threads beside a fork; what is left behind."""
import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import shmkit
from common import TestCase, sleeps, state, until

SYNC = {
    "Lock": (shmkit.Lock, ()),
    "RLock": (shmkit.RLock, ()),
    "Condition": (shmkit.Condition, ()),
    "Event": (shmkit.Event, ()),
    "Semaphore": (shmkit.Semaphore, (1,)),
    "BoundedSemaphore": (shmkit.BoundedSemaphore, (1,)),
    "Barrier": (shmkit.Barrier, (2,)),
    "Queue": (shmkit.Queue, (4,)),
    "LifoQueue": (shmkit.LifoQueue, (4,)),
    "PriorityQueue": (shmkit.PriorityQueue, (4,)),
    "JoinableQueue": (shmkit.JoinableQueue, (4,)),
    "SimpleQueue": (shmkit.SimpleQueue, ()),
}


def use(name, thing):
    """What a child does with each of them: what use_too() waits for."""
    if name in ("Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore"):
        with thing:
            pass
    elif name == "Event":
        thing.set()
    elif name == "Barrier":
        thing.wait(60)
    else:
        thing.put((1, "item"))


def use_too(name, thing):
    if name in ("Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore"):
        assert thing.acquire(timeout=60)
        thing.release()
    elif name == "Event":
        assert thing.wait(60)
    elif name == "Barrier":
        thing.wait(60)
    else:
        assert thing.get() == (1, "item")


def use_all(things):
    for name, thing in things.items():
        use(name, thing)


class Pickled(TestCase):
    def share(self, how, named):
        context = multiprocessing.get_context(how)
        things = {
            name: make(*arguments, name=f"{self.segment}/{name}" if named else None)
            for name, (make, arguments) in SYNC.items()
        }
        child = context.Process(target=use_all, args=(things,))
        child.start()
        for name, thing in things.items():
            use_too(name, thing)
        self.joins(child, 60)

    def test_without_names(self):
        for how in "fork", "spawn", "forkserver":
            with self.subTest(how=how):
                self.share(how, named=False)

    def test_by_name(self):
        for how in "fork", "spawn", "forkserver":
            with self.subTest(how=how):
                self.share(how, named=True)
                shmkit.unlink(self.segment)

    def test_a_named_one_is_pickled_for_any_program(self):
        event = shmkit.Event(f"{self.segment}/go")
        program = "import pickle, sys; pickle.load(sys.stdin.buffer).set()"
        subprocess.run([sys.executable, "-c", program], input=pickle.dumps(event), check=True)
        self.assertTrue(event.is_set())


def segments():
    """Files of shared memory that this process has mapped, by what the kernel calls them."""
    with open("/proc/self/maps", encoding="utf-8") as file:
        return {line.split(maxsplit=5)[5].strip() for line in file if "shm" in line}


class Unnamed(TestCase):
    def test_nothing_is_in_dev_shm(self):
        before = set(os.listdir("/dev/shm"))
        kept = [shmkit.Lock(), shmkit.Queue(4), shmkit.Event()]
        self.assertEqual(set(os.listdir("/dev/shm")) - before, set())
        del kept

    def test_its_descriptor_is_none_that_a_program_closes(self):
        """Below 100 others come and go; a write to a stderr that is the segment would damage it."""
        program = (
            "import os, shmkit\n"
            "for fd in range(3): os.close(fd)\n"
            "before = set(os.listdir('/proc/self/fd'))\n"
            "lock = shmkit.Lock()\n"
            "new = {int(fd) for fd in set(os.listdir('/proc/self/fd')) - before}\n"
            "for fd in range(3): new.discard(fd)\n"
            "with lock: os._exit(0 if new and min(new) >= 100 else 1)\n"
        )
        self.assertEqual(subprocess.run([sys.executable, "-c", program]).returncode, 0)

    def test_it_goes_with_a_killed_program(self):
        def use_of_memory():
            gone = os.statvfs("/dev/shm")
            return (gone.f_blocks - gone.f_bfree) * gone.f_frsize

        program = (
            "import shmkit, os, signal; q = shmkit.Queue(); "
            "[q.put(bytes(1000000)) for _ in range(40)]; print(1, flush=True); signal.pause()"
        )
        before = use_of_memory()
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
            child.stdout.readline()
            child.kill()
        until(lambda: use_of_memory() < before + 20_000_000)

    def test_names_in_it_do_not_run_out(self):
        for _ in range(3000):
            shmkit.Event().close()


class Forks(TestCase):
    def test_a_child_does_not_hold_what_its_parent_holds(self):
        lock = shmkit.Lock()
        lock.acquire()
        child = self.child(self.try_both, lock)
        self.joins(child)
        lock.release()
        child = self.child(lambda: lock.acquire() and lock.release())
        self.joins(child)

    @staticmethod
    def try_both(lock):
        assert lock.locked()
        assert not lock.acquire(timeout=0.05)
        try:
            lock.release()
        except shmkit.NotHeld:
            return
        raise AssertionError("a child has released its parent's lock")

    def test_fork_beside_threads_that_wait_and_hold(self):
        event, lock, queue = shmkit.Event(), shmkit.Lock(), shmkit.Queue(1)
        go = threading.Event()
        held = threading.Event()

        def hold():
            with lock:
                held.set()
                go.wait()

        team = [
            threading.Thread(target=event.wait),
            threading.Thread(target=hold),
            threading.Thread(target=queue.get),
        ]
        for thread in team:
            thread.start()
        held.wait()
        for _ in range(20):
            child = self.child(self.in_the_child, event, lock)
            self.joins(child)
        go.set()
        event.set()
        queue.put("item")
        for thread in team:
            thread.join(30)
            self.assertFalse(thread.is_alive())

    @staticmethod
    def in_the_child(event, lock):
        assert not event.is_set()
        assert not lock.acquire(False)
        mine = shmkit.Queue(2)
        mine.put(b"x")
        assert mine.get() == b"x"
        thread = threading.Thread(target=mine.put, args=(b"y",))
        thread.start()
        assert mine.get() == b"y"
        thread.join()

    def test_a_grandchild_has_it_after_the_child_has_gone(self):
        event, queue = shmkit.Event(), shmkit.Queue(4)
        if os.fork() == 0:
            if os.fork() == 0:
                event.wait(60)
                queue.put("from the grandchild")
            os._exit(0)
        os.wait()
        event.set()
        self.assertEqual(queue.get(timeout=30), "from the grandchild")


class Interpreters(TestCase):
    def test_a_subinterpreter_is_refused(self):
        try:
            import _xxsubinterpreters as interpreters
        except ImportError:
            self.skipTest("this Python has no _xxsubinterpreters")
        interpreter = interpreters.create()
        self.addCleanup(interpreters.destroy, interpreter)
        with self.assertRaisesRegex(interpreters.RunFailedError, "subinterpreter"):
            program = f"import sys; sys.path = {sys.path}; import shmkit"
            interpreters.run_string(interpreter, program)

    def test_a_free_threaded_build_is_refused(self):
        """It has no stable ABI, and would load the extension all the same."""
        program = "import sys; sys.abiflags = 't'; import shmkit"
        done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("ImportError: shmkit needs a Python with the GIL", done.stderr)


def used_references():
    gc.collect()
    return sys.gettotalrefcount()


class Leaks(TestCase):
    """Objects are made, used and closed again and again: neither memory nor descriptors grow."""

    @staticmethod
    def views():
        jobs = shmkit.Queue(4, item_size=64)
        jobs.reserve(8)[:] = b"reserved"
        jobs.commit()
        bytes(jobs.peek())
        jobs.consume()
        jobs.put(["leased"])
        with jobs.lease():
            pass
        region = shmkit.Region(64)
        memoryview(region)[:4] = b"abcd"
        stream = shmkit.Stream("d", 2)
        reader = stream.reader()
        stream.write([[1, 2], [3, 4]])
        reader.latest(2)
        reader.read(2).tolist()
        newest = shmkit.Newest(64)
        newest.set("new")
        newest.get()
        value = shmkit.Value("i", 1)
        value.value += 1
        shmkit.wait([jobs], 0)
        try:
            jobs.put(1 << 70, timeout=-1)
        except ValueError:
            pass

    def rounds(self, n):
        for _ in range(n):
            self.views()
            for name, (make, arguments) in SYNC.items():
                thing = make(*arguments)
                if name != "Barrier":
                    use(name, thing)
                    use_too(name, thing)
                try:
                    thing.no_such_attribute
                except AttributeError:
                    pass
                if "Queue" in name and name != "SimpleQueue":
                    try:
                        thing.get(False)
                    except shmkit.Empty:
                        pass
                repr(thing)
                thing.close()
                del thing

    @unittest.skipUnless(hasattr(sys, "gettotalrefcount"), "not a debug build: own.sh has one")
    def test_references(self):
        self.rounds(20)
        before = used_references()
        self.rounds(100)
        grown = used_references() - before
        self.assertLess(grown, 50, "references grow with the rounds")

    def test_descriptors_and_memory(self):
        import tracemalloc

        self.rounds(10)
        descriptors = len(os.listdir("/proc/self/fd"))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        self.rounds(5)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        self.rounds(50)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        self.assertLess(after - before, 20_000)
        self.assertLessEqual(len(os.listdir("/proc/self/fd")), descriptors + 1)


if __name__ == "__main__":
    unittest.main()
