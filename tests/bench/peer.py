#!/usr/bin/env python3
"""Python's multiprocessing as a peer of make bench. Prints the figures of one measurement."""
import multiprocessing as mp
import os
import sys
import time


def pin(cpus, role):
    if cpus:
        os.sched_setaffinity(0, {cpus[role % len(cpus)]})


def produce(queue, size, stop, cpus, role):
    pin(cpus, role)
    longest = 0
    n = 0
    before = time.monotonic()
    while not stop.value:
        queue.put((role, n, bytes([n % 251]) * size))
        after = time.monotonic()
        longest = max(longest, after - before)
        before = after
        n += 1
    queue.put((role, -1, longest))


def throughput(size, capacity, producers, seconds, cpus):
    """Items a second, longest wait of a put in ms, mean run of one producer's items."""
    queue = mp.Queue(capacity)
    stop = mp.Value("b", 0, lock=False)
    pin(cpus, 0)
    team = [
        mp.Process(target=produce, args=(queue, size, stop, cpus, i + 1), daemon=True)
        for i in range(producers)
    ]
    for process in team:
        process.start()
    expected = {}
    count = runs = 0
    longest = 0
    last = None
    queue.get()
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        role, n, item = queue.get()
        if n != expected.get(role, n):
            sys.exit("an item has come out of turn")
        expected[role] = n + 1
        if item != bytes([n % 251]) * size:
            sys.exit("an item has come in pieces")
        count += 1
        runs += role != last
        last = role
    took = time.monotonic() - begin
    stop.value = 1
    ended = 0
    while ended < producers:
        _, n, item = queue.get()
        if n == -1:
            ended += 1
            longest = max(longest, item)
    for process in team:
        process.join()
    print(count / took, longest * 1e3, count / max(runs, 1))


def answer(there, back, cpus):
    pin(cpus, 1)
    while True:
        item = there.get()
        back.put(item)
        if item is None:
            return


def round_trip(seconds, cpus):
    """Median, p99, p99.9 of a round trip in ns."""
    there, back = mp.SimpleQueue(), mp.SimpleQueue()
    pin(cpus, 0)
    process = mp.Process(target=answer, args=(there, back, cpus), daemon=True)
    process.start()
    there.put(0)
    back.get()
    times = []
    begin = before = time.monotonic_ns()
    while before - begin < seconds * 1e9:
        there.put(before)
        if back.get() != before:
            sys.exit("another answer has come back")
        after = time.monotonic_ns()
        times.append(after - before)
        before = after
    there.put(None)
    process.join()
    print_times(times)


def cond_answer(cond, flag, cpus):
    pin(cpus, 1)
    while True:
        with cond:
            cond.wait_for(lambda: flag.value != 0)
            if flag.value < 0:
                return
            flag.value = 0
            cond.notify()


def cond_round_trip(seconds, cpus):
    cond, flag = mp.Condition(), mp.Value("b", 0, lock=False)
    pin(cpus, 0)
    process = mp.Process(target=cond_answer, args=(cond, flag, cpus), daemon=True)
    process.start()
    times = []
    begin = before = time.monotonic_ns()
    while before - begin < seconds * 1e9:
        with cond:
            flag.value = 1
            cond.notify()
            cond.wait_for(lambda: flag.value == 0)
        after = time.monotonic_ns()
        times.append(after - before)
        before = after
    with cond:
        flag.value = -1
        cond.notify()
    process.join()
    print_times(times[1:] or times)


def print_times(times):
    times.sort()
    print(*(times[min(len(times) - 1, int(len(times) * p))] for p in (0.5, 0.99, 0.999)))


def wait_and_stamp(event, ready, stamps, i):
    with ready.get_lock():
        ready.value += 1
    event.wait()
    stamps[i] = time.monotonic()


def wake(n, cpus):
    """From set() until the last of n is awake, in us."""
    event, ready = mp.Event(), mp.Value("i", 0)
    stamps = mp.Array("d", n, lock=False)
    team = [
        mp.Process(target=wait_and_stamp, args=(event, ready, stamps, i), daemon=True)
        for i in range(n)
    ]
    for process in team:
        process.start()
    while ready.value < n:
        time.sleep(0.01)
    time.sleep(0.1)
    begin = time.monotonic()
    event.set()
    for process in team:
        process.join()
    print((max(stamps) - begin) * 1e6)


def main():
    what, *numbers = sys.argv[1:]
    cpus = [int(c) for c in os.environ.get("PEER_CPUS", "").split()]
    mp.set_start_method("fork")
    if what == "throughput":
        size, capacity, producers, seconds = numbers
        throughput(int(size), int(capacity), int(producers), float(seconds), cpus)
    elif what == "queue":
        round_trip(float(numbers[0]), cpus)
    elif what == "condition":
        cond_round_trip(float(numbers[0]), cpus)
    elif what == "wake":
        wake(int(numbers[0]), cpus)


main()
