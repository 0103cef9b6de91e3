#!/usr/bin/env python3
"""CPython's own tests of these objects, with shmkit's in their place, by thin adapters.

    python3 cpython.py threads [UNITTEST-ARGUMENT...]     test.lock_tests, test.test_queue
    python3 cpython.py fork | spawn | forkserver [...]    test._test_multiprocessing
    python3 cpython.py page FILE          does the page have the table of those that cannot pass?

Debian has these tests in libpython3.11-testsuite. Those that cannot pass are in DIFFERENCES, each
with its reason; the page shmkit-python(7) has the same table. They are run, too, and have to fail,
except those of NOT_OURS, which would show nothing.
"""
import re
import multiprocessing
import queue
import sys
import threading
import types
import unittest

import shmkit

try:
    from test import _test_multiprocessing, lock_tests, test_queue
except ImportError as error:
    sys.exit(f"SKIPPED: {error} (Debian package: libpython3.11-testsuite)")

HOLDER = "the thread that acquired a lock releases it, so that its death is noticed"
FEEDER = "there is no feeder thread: a put that cannot pickle its item raises"
FIXED = "the capacity of a queue is fixed when it is made"
DIFFERENCES = {
    "LockTests.test_different_thread": HOLDER,
    "LockTests.test_reacquire": HOLDER,
    "LockTests.test_at_fork_reinit": "a child of fork has no need to make it anew",
    "EventTests.test_at_fork_reinit": "a child of fork has no need to make it anew",
    "ConditionTests.test_acquire": "the lock of a Condition is one of shmkit",
    "QueueTest.test_shrinking_queue": FIXED,
    "LifoQueueTest.test_shrinking_queue": FIXED,
    "PriorityQueueTest.test_shrinking_queue": FIXED,
    "FailingQueueTest.test_failing_queue": "a put does not call a method _put() of a subclass",
    "BaseSimpleQueueTest.test_references": "a queue has copies, not references; it pickles",
    "TestQueue.test_queue_feeder_donot_stop_onexc": FEEDER,
    "TestQueue.test_queue_feeder_on_queue_feeder_error": FEEDER,
    "TestQueue.test_no_import_lock_contention": "it imports multiprocessing and tests that",
    "TestSimpleQueue.test_closed": "there is no pipe to look at",
    "TestSemaphore.test_timeout": "a timeout with blocking=False is a ValueError, as in threading",
    "TestEvent.test_repr": "a repr has the name of the module, as in threading",
}

# How long parties wait for threads and processes that have still to start: the tests say 2 and 30,
# and on a machine with many more running processes than CPUs those of spawn come later. A barrier
# breaks then, whichever module it is of.
BARRIER_SECONDS = 10.0, 300.0

# Of these the objects are multiprocessing's own, whatever stands in its place.
NOT_OURS = {
    "TestQueue.test_queue_feeder_on_queue_feeder_error",
    "TestQueue.test_no_import_lock_contention",
}

# The objects by the names that the tests know them by. What a test takes from these modules beside
# them is the original.
OBJECTS = {
    name: getattr(shmkit, name)
    for name in (
        "Lock RLock Condition Event Semaphore BoundedSemaphore Barrier Value Array "
        "Queue LifoQueue PriorityQueue JoinableQueue SimpleQueue"
    ).split()
}
OBJECTS["RawValue"] = lambda *arguments: shmkit.Value(*arguments, lock=False)
OBJECTS["RawArray"] = lambda *arguments: shmkit.Array(*arguments, lock=False)


class Stand(types.ModuleType):
    """A module in which the objects of shmkit stand for its own."""

    def __init__(self, module):
        super().__init__(module.__name__)
        self.__dict__.update(vars(module), **OBJECTS)


def expected_to_fail(base, test):
    def run(self):
        getattr(base, test)(self)

    return unittest.expectedFailure(run)


def adapt(base, *mixins, **attributes):
    """A class of tests here: `base`, where those in DIFFERENCES are to fail."""
    name = base.__name__.lstrip("_")
    adapted = type(name, (base, *mixins, unittest.TestCase), attributes)
    adapted.__module__ = __name__
    for difference, reason in DIFFERENCES.items():
        group, _, test = difference.partition(".")
        if group == name:
            run = expected_to_fail(base, test)
            if difference in NOT_OURS:
                run = unittest.skip(reason)(run)
            setattr(adapted, test, run)
    globals()[name] = adapted  # where a child of spawn looks for it
    return adapted


class Processes(_test_multiprocessing.ProcessesMixin):
    locals().update({name: staticmethod(made) for name, made in OBJECTS.items()})


def with_words(module):
    """The tests put a word into a PriorityQueue, too, of which shmkit takes numbers alone."""

    class PriorityQueue(shmkit.PriorityQueue):
        def __init__(self, maxsize=0):
            super().__init__(maxsize, key=lambda item: item if isinstance(item, int) else 0)

    words = Stand(module)
    words.PriorityQueue = PriorityQueue
    return words


def of_threads():
    here = Stand(queue)
    yield adapt(lock_tests.LockTests, locktype=staticmethod(shmkit.Lock))
    yield adapt(lock_tests.RLockTests, locktype=staticmethod(shmkit.RLock))
    yield adapt(lock_tests.EventTests, eventtype=staticmethod(shmkit.Event))
    yield adapt(lock_tests.ConditionTests, condtype=staticmethod(shmkit.Condition))
    yield adapt(lock_tests.SemaphoreTests, semtype=staticmethod(shmkit.Semaphore))
    yield adapt(lock_tests.BoundedSemaphoreTests, semtype=staticmethod(shmkit.BoundedSemaphore))
    yield adapt(
        lock_tests.BarrierTests,
        barriertype=staticmethod(shmkit.Barrier),
        defaultTimeout=BARRIER_SECONDS[0],
    )
    yield adapt(test_queue.QueueTest, queue=here)
    yield adapt(test_queue.LifoQueueTest, queue=here)
    yield adapt(test_queue.PriorityQueueTest, queue=with_words(here))
    yield adapt(test_queue.FailingQueueTest, queue=here)
    yield adapt(test_queue.BaseSimpleQueueTest, queue=here, type2test=shmkit.SimpleQueue)


def no_sleepers(self, condition):
    """Instead of a look into multiprocessing's own semaphores."""
    with condition:
        condition.notify_all()


def of_processes():
    _test_multiprocessing.multiprocessing = Stand(multiprocessing)
    for name in "Queue Lock Semaphore Event Value Array".split():
        yield adapt(getattr(_test_multiprocessing, "_Test" + name), Processes)
    barrier = _test_multiprocessing._TestBarrier
    yield adapt(barrier, Processes, defaultTimeout=BARRIER_SECONDS[1])
    yield adapt(_test_multiprocessing._TestCondition, Processes, check_invariant=no_sleepers)
    yield adapt(_test_multiprocessing.TestSimpleQueue)


# At import, too: children of spawn and forkserver look for the classes.
TESTS = {"threads": list(of_threads()), "processes": list(of_processes())}


def differences_of_page(file):
    """What the page's list says between two comments: .It Li TEST, and lines of its reason."""
    found = {}
    with open(file, encoding="utf-8") as page:
        lines = page.read().partition('.\\" from tests/python/cpython.py\n')[2]
    for line in lines.partition('.\\" end\n')[0].splitlines():
        if line.startswith(".It Li "):
            test = line.removeprefix(".It Li ")
            found[test] = ""
        else:
            line = re.sub(r"^\.Fn (\w+)$", r"\1()", line)
            found[test] = f"{found[test]} {line}".strip()
    return found


def compare(file):
    page = differences_of_page(file)
    for test in DIFFERENCES.keys() | page.keys():
        if DIFFERENCES.get(test) != page.get(test):
            print(f"{test}: here: {DIFFERENCES.get(test)}; {file}: {page.get(test)}")
    sys.exit(DIFFERENCES != page)


def main():
    how, *arguments = sys.argv[1:]
    if how == "page":
        compare(*arguments)
    if how != "threads":
        multiprocessing.set_start_method(how, force=True)
    wanted = TESTS["threads" if how == "threads" else "processes"]
    for tests in TESTS.values():
        for adapted in tests:
            if adapted not in wanted:
                del globals()[adapted.__name__]
    unittest.main(argv=[f"cpython.py {how}", *arguments])


if __name__ == "__main__":
    main()
