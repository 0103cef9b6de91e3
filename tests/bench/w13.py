#!/usr/bin/env python3
"""One measurement of W13: shmkit for Python, or multiprocessing, as a program would use it.

    w13.py shmkit|mp|futex WHAT [NUMBER] SECONDS     prints the figure
"""
import ctypes
import functools
import itertools
import multiprocessing as mp
import os
import sys
import time

CHUNK = 200  # operations between two looks at the clock
CAPACITY = 1024
ITEMS = 61  # different ones, again and again
WAVES = 5  # of which the first finds the pages of just forked processes not there yet


class Shmkit:
    """The objects of shmkit, without names: those of one program's processes."""

    def __init__(self):
        import shmkit

        self.lock = shmkit.Lock
        self.event = shmkit.Event
        self.module = shmkit

    def queue(self, item_size):
        # As a program writes it: a limit in items.
        return self.module.Queue(maxsize=CAPACITY)


class Multiprocessing:
    """multiprocessing's fastest ones: SimpleQueue has no feeder thread."""

    def __init__(self):
        self.lock = mp.Lock
        self.event = mp.Event

    def queue(self, item_size):
        return mp.SimpleQueue()


class Futex:
    """What waking can cost at least: one system call sleeps, one wakes them all."""

    class Event:
        WAIT, WAKE = 0, 1

        def __init__(self):
            call = {"x86_64": 202, "aarch64": 98}[os.uname().machine]
            self.word = mp.Value("i", 0, lock=False)
            syscall = ctypes.PyDLL(None).syscall  # with the GIL, of which these need no change
            self.futex = functools.partial(syscall, call, ctypes.byref(self.word))

        def set(self):
            self.word.value = 1
            self.futex(self.WAKE, 2**31 - 1, None, None, 0)

        def clear(self):
            self.word.value = 0

        def wait(self):
            while self.word.value == 0:
                self.futex(self.WAIT, 0, None, None, 0)

    def __init__(self):
        self.event = self.Event


def pin(role):
    cpus = [int(c) for c in os.environ.get("PEER_CPUS", "").split()]
    if cpus:
        os.sched_setaffinity(0, {cpus[role % len(cpus)]})


def median(numbers):
    numbers = sorted(numbers)
    return numbers[len(numbers) // 2]


def timed(chunk, seconds):
    """Nanoseconds of one operation: the median of the chunks."""
    chunk()
    times = []
    end = time.monotonic_ns() + seconds * 1e9
    before = time.monotonic_ns()
    while before < end:
        chunk()
        after = time.monotonic_ns()
        times.append((after - before) / CHUNK)
        before = after
    return median(times)


def acquire_release(objects, seconds):
    lock = objects.lock()

    def chunk():
        for _ in itertools.repeat(None, CHUNK):
            lock.acquire()
            lock.release()

    return timed(chunk, seconds)


def with_lock(objects, seconds):
    lock = objects.lock()

    def chunk():
        for _ in itertools.repeat(None, CHUNK):
            with lock:
                pass

    return timed(chunk, seconds)


def put_get(objects, seconds):
    """Pairs a second."""
    queue = objects.queue(64)
    item = bytes(64)

    def chunk():
        for _ in itertools.repeat(None, CHUNK):
            queue.put(item)
            queue.get()

    return 1e9 / timed(chunk, seconds)


def some_bytes(size):
    return [n.to_bytes(8, "little") * (size // 8) for n in range(ITEMS)]


def some_tuples():
    return [(n, "Python", n / 4) for n in range(ITEMS)]


def produce(queue, items, stop):
    pin(1)
    while not stop.value:
        for item in items:
            queue.put(item)
    queue.put(None)


def one_way(objects, items, size, seconds):
    """Items a second from one process to another; each is compared with what it should be."""
    queue = objects.queue(size)
    stop = mp.Value("b", 0, lock=False)
    process = mp.Process(target=produce, args=(queue, items, stop), daemon=True)
    pin(0)
    process.start()
    get = queue.get
    count = 0
    for item in items:  # both have begun
        if get() != item:
            sys.exit("an item is another one")
    begin = time.monotonic_ns()
    end = begin + seconds * 1e9
    while time.monotonic_ns() < end:
        for item in items:
            if get() != item:
                sys.exit("an item is another one")
        count += ITEMS
    took = time.monotonic_ns() - begin
    stop.value = 1
    while get() is not None:
        pass
    process.join()
    return count / took * 1e9


def answer(there, back):
    pin(1)
    while (item := there.get()) is not None:
        back.put(item)
    back.put(None)


def round_trip(objects, seconds):
    """ns of a round trip of eight bytes: median, p99."""
    there, back = objects.queue(8), objects.queue(8)
    process = mp.Process(target=answer, args=(there, back), daemon=True)
    pin(0)
    process.start()
    times = []
    there.put(bytes(8))
    back.get()
    begin = before = time.monotonic_ns()
    while before - begin < seconds * 1e9:
        item = before.to_bytes(8, "little")
        there.put(item)
        if back.get() != item:
            sys.exit("another answer has come back")
        after = time.monotonic_ns()
        times.append(after - before)
        before = after
    there.put(None)
    back.get()
    process.join()
    return median(times), sorted(times)[len(times) * 99 // 100]


class Waves:
    """n processes that sleep, are woken all at once, and sleep again, as in W5."""

    def __init__(self, objects, n):
        self.n = n
        self.events = [objects.event(), objects.event()]  # of the even waves, and of the odd
        self.ready = mp.Array("b", n, lock=False)
        self.stamps = mp.Array("q", n, lock=False)
        self.end, self.ending = os.pipe()

    def sleeper(self, i):
        for wave in range(WAVES):
            event = self.events[wave % 2]
            self.ready[i] = wave + 1
            event.wait()
            self.stamps[i] = time.monotonic_ns()
            os.read(self.end, 1)  # it does not go on beside those that are still to wake

    def until(self, condition):
        while not condition():
            time.sleep(0.002)

    def wake(self, wave):
        """ns from set() until the last is awake."""
        self.until(lambda: min(self.ready) > wave)
        time.sleep(0.2)  # they have said that they will sleep; now they do
        before = time.monotonic_ns()
        self.events[wave % 2].set()
        self.until(lambda: min(self.stamps) > before)
        took = max(self.stamps) - before
        self.events[wave % 2].clear()
        os.write(self.ending, bytes(self.n))
        return took


def wake(objects, n):
    """Median of the waves, the first of all."""
    waves = Waves(objects, n)
    team = [mp.Process(target=waves.sleeper, args=(i,), daemon=True) for i in range(n)]
    for process in team:
        process.start()
    times = [waves.wake(wave) for wave in range(WAVES)]
    for process in team:
        process.join()
    return median(times), times[0]


def main():
    whose, what, *numbers = sys.argv[1:]
    mp.set_start_method("fork")
    objects = {"shmkit": Shmkit, "mp": Multiprocessing, "futex": Futex}[whose]()
    seconds = float(numbers[-1])
    if what == "acquire":
        figures = acquire_release(objects, seconds)
    elif what == "with":
        figures = with_lock(objects, seconds)
    elif what == "put-get":
        figures = put_get(objects, seconds)
    elif what == "bytes":
        size = int(numbers[0])
        figures = one_way(objects, some_bytes(size), size, seconds)
    elif what == "tuple":
        figures = one_way(objects, some_tuples(), 0, seconds)
    elif what == "trip":
        figures = round_trip(objects, seconds)
    elif what == "wake":
        figures = wake(objects, int(numbers[0]))
    else:
        sys.exit(f"w13.py: what is {what}?")
    print(*figures if isinstance(figures, tuple) else (figures,))


main()
