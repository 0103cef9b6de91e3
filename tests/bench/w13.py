#!/usr/bin/env python3
"""One measurement of W13: shmkit for Python, or multiprocessing, as a program would use it.

    w13.py shmkit|mp WHAT [NUMBER] SECONDS     prints the figure
"""
import itertools
import multiprocessing as mp
import os
import sys
import time

CHUNK = 200  # operations between two looks at the clock
CAPACITY = 1024
ITEMS = 61  # different ones, again and again


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


def wait_and_stamp(event, ready, stamps, i, end):
    ready[i] = 1
    event.wait()
    stamps[i] = time.monotonic_ns()
    os.read(end, 1)  # those that are awake do not end beside the others


def wake(objects, n):
    """ns from set() until the last of n processes is awake: median of several times."""
    times = []
    for _ in range(3):
        event = objects.event()
        ready = mp.Array("b", n, lock=False)
        stamps = mp.Array("q", n, lock=False)
        end, ending = os.pipe()
        team = [
            mp.Process(target=wait_and_stamp, args=(event, ready, stamps, i, end), daemon=True)
            for i in range(n)
        ]
        for process in team:
            process.start()
        while sum(ready) < n:
            time.sleep(0.01)
        time.sleep(0.2)  # they have said that they will sleep; now they do
        begin = time.monotonic_ns()
        event.set()
        while not all(stamps):
            time.sleep(0.002)
        times.append(max(stamps) - begin)
        os.write(ending, bytes(n))
        for process in team:
            process.join()
        os.close(end)
        os.close(ending)
    return median(times)


def main():
    whose, what, *numbers = sys.argv[1:]
    mp.set_start_method("fork")
    objects = Shmkit() if whose == "shmkit" else Multiprocessing()
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
