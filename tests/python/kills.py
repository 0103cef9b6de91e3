#!/usr/bin/env python3
"""The kill table for Python: what the others do when a process is killed, shmkit's objects beside
multiprocessing's, as a table.

    python3 kills.py [TRIALS]          exit status 0: all of shmkit's have gone on as they should

Each case kills a victim with SIGKILL in a certain state, and then one or two survivors use the same
object. All trials of a case run at the same time, each with objects of its own. A survivor that has
not ended when its time is over hangs: that of multiprocessing is shorter, since its survivors hang
for ever, and some are to be told from the others within the time of a test.
"""
import ctypes
import multiprocessing
import os
import signal
import sys
import time
import traceback

import shmkit
from common import fork, until, sleeps

TRIALS = 20
SECONDS_OURS = 20.0
SECONDS_THEIRS = 1.5
LONG = bytes(100_000)  # more than a pipe holds


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Trial:
    """A victim and its survivors. module: shmkit or multiprocessing."""

    asleep = True  # the victim is killed when it sleeps; False: `delay` after it is ready
    delay = 0.0

    def __init__(self, module):
        self.module = module
        self.ready_read, self.ready_write = os.pipe()
        self.make(module)

    def start(self, body):
        process = fork.Process(target=self.run, args=(body,))
        process.start()
        return process

    def run(self, body):
        die_with_parent()
        try:
            well = body()
        except BaseException:  # not only to stderr: it counts
            traceback.print_exc()
            well = False
        # What multiprocessing does at the end of a process is not of interest.
        os._exit(0 if well else 1)

    def ready(self):
        os.write(self.ready_write, b".")

    def begin(self):
        self.before()
        self.process = self.start(self.victim)

    def before(self):
        pass

    def kill(self):
        os.read(self.ready_read, 1)
        if self.asleep:
            until(lambda: sleeps(self.process.pid))
        else:
            time.sleep(self.delay)
        self.process.kill()
        self.process.join()

    def go_on(self):
        self.begun = time.monotonic()
        self.survivors = [self.start(body) for body in self.others()]

    def others(self):
        return [self.survivor]

    def verdict(self, deadline):
        """"well", "hang" or "lost": it has ended, and found something else than it should."""
        result = "well"
        for process in self.survivors:
            process.join(max(0, deadline - time.monotonic()))
            if process.exitcode is None:
                result = "hang"
            elif process.exitcode != 0 and result == "well":
                result = "lost"
        self.took = time.monotonic() - self.begun
        return result

    def end(self):
        for process in self.survivors:
            process.kill()
            process.join()
        os.close(self.ready_read)
        os.close(self.ready_write)


class Getter(Trial):
    """waits for an item"""

    then = "an item is put, and another get takes it"

    def make(self, module):
        self.queue = module.Queue(5)

    def victim(self):
        self.ready()
        self.queue.get()

    def survivor(self):
        self.queue.put("item")
        return self.queue.get() == "item"


class Putter(Trial):
    """puts long items"""

    asleep = False
    then = "another one's item is got"

    def make(self, module):
        self.queue = module.Queue(1)

    def victim(self):
        self.ready()
        while True:
            self.queue.put(LONG)

    def survivor(self):
        putter = self.start(lambda: self.queue.put("last") or finish(self.queue))
        while (item := self.queue.get()) != "last":
            if item != LONG:
                return False
        putter.join()
        return True


class Holder(Trial):
    """holds a lock"""

    then = "another one acquires it"

    def make(self, module):
        self.lock = module.Lock()

    def victim(self):
        self.lock.acquire()
        self.ready()
        time.sleep(1000)

    def survivor(self):
        acquired(self.lock.acquire)
        self.lock.release()
        return True


class Waiter(Trial):
    """waits for a condition"""

    then = "another one notifies all"

    def make(self, module):
        self.changed = module.Condition()

    def victim(self):
        with self.changed:
            self.ready()
            self.changed.wait()

    def survivor(self):
        with self.changed:
            self.changed.notify_all()
        return True


class Notifier(Trial):
    """has notified a condition's waiter"""

    then = "the waiter goes on"

    def make(self, module):
        self.changed = module.Condition()

    def before(self):
        self.waiting_read, self.waiting_write = os.pipe()
        self.waiter = self.start(self.wait)
        os.read(self.waiting_read, 1)

    def wait(self):
        with self.changed:
            os.write(self.waiting_write, b".")
            acquired(self.changed.wait)
        return True

    def victim(self):
        with self.changed:
            self.changed.notify()
            self.ready()
            time.sleep(1000)

    def go_on(self):
        self.begun = time.monotonic()
        self.survivors = [self.waiter]
        os.close(self.waiting_read)
        os.close(self.waiting_write)


class EventWaiter(Trial):
    """waits for an event"""

    then = "another one sets it"

    def make(self, module):
        self.event = module.Event()

    def victim(self):
        self.ready()
        self.event.wait()

    def survivor(self):
        self.event.set()
        return self.event.is_set()


class Setter(Trial):
    """sets and clears an event"""

    asleep = False
    then = "another one sets it, and a third one's wait ends"

    def make(self, module):
        self.event = module.Event()

    def victim(self):
        self.ready()
        while True:
            self.event.set()
            self.event.clear()

    def others(self):
        return [self.survivor, self.event.wait]

    def survivor(self):
        self.event.set()
        return self.event.is_set()


class Leaser(Trial):
    """works on an item"""

    then = "another one gets that item"

    def make(self, module):
        self.queue = module.Queue(5)
        self.ours = module is shmkit

    def victim(self):
        self.queue.put("item")
        if self.ours:
            lease = self.queue.lease()
            item = lease.item
        else:
            item = self.queue.get()
        self.ready()
        time.sleep(1000)
        return item

    def survivor(self):
        return self.queue.get() == "item"


CASES = Getter, Putter, Holder, Waiter, Notifier, EventWaiter, Setter, Leaser


def acquired(acquire):
    """Ours tell that the former holder has died; either way the lock is held."""
    try:
        acquire()
    except shmkit.Orphaned:
        pass


def finish(queue):
    """multiprocessing's queue puts in a thread: wait until it has."""
    if hasattr(queue, "join_thread"):
        queue.close()
        queue.join_thread()
    return True


def run_case(case, module, trials, seconds):
    """How often each verdict, and the longest time of those that went on, in seconds."""
    all_trials = [case(module) for _ in range(trials)]
    for i, trial in enumerate(all_trials):
        trial.delay = 0.02 + 0.003 * i
        trial.begin()
    for trial in all_trials:
        trial.kill()
    for trial in all_trials:
        trial.go_on()
    deadline = time.monotonic() + seconds
    verdicts = [trial.verdict(deadline) for trial in all_trials]
    longest = max(
        (trial.took for trial, verdict in zip(all_trials, verdicts) if verdict == "well"), default=0
    )
    for trial in all_trials:
        trial.end()
    return verdicts, longest


def said(verdicts):
    n = len(verdicts)
    well, hang, lost = (verdicts.count(v) for v in ("well", "hang", "lost"))
    if well == n:
        return f"{n}/{n} go on"
    parts = [f"{hang}/{n} hang"] if hang else []
    parts += [f"{lost}/{n} lost"] if lost else []
    return ", ".join(parts)


def main():
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS
    failed = []
    print(f"{'a process is killed that …':36} {'and then':50} {'shmkit':18} multiprocessing")
    for case in CASES:
        ours, longest = run_case(case, shmkit, trials, SECONDS_OURS)
        theirs, _ = run_case(case, multiprocessing, trials, SECONDS_THEIRS)
        print(
            f"{case.__doc__:36} {case.then:50} {said(ours):18} {said(theirs)}"
            f"   ({longest * 1e3:.0f} ms at most)",
            flush=True,
        )
        if ours.count("well") < trials:
            failed.append(case.__doc__)
    if failed:
        sys.exit("FAILED: " + "; ".join(failed))
    print("shmkit's have gone on in all trials")


if __name__ == "__main__":
    main()
