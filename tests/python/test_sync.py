"""What shmkit's locks, conditions, events, semaphores and barriers do beyond threading's."""
import functools
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import unittest
import weakref

import shmkit
from common import TestCase, sleeps, until


def die_holding(lock):
    lock.acquire()
    os.kill(os.getpid(), signal.SIGKILL)


class Orphaned(TestCase):
    def killed(self, target, *args):
        child = self.child(target, *args)
        child.join(30)
        self.assertEqual(child.exitcode, -signal.SIGKILL)

    def test_acquire_raises_and_the_caller_holds_the_lock(self):
        for make in shmkit.Lock, shmkit.RLock, shmkit.Condition:
            with self.subTest(make=make):
                lock = make()
                self.killed(die_holding, lock)
                with self.assertRaises(shmkit.Orphaned):
                    lock.acquire()
                lock.release()
                self.assertIs(lock.acquire(), True)
                lock.release()

    def test_acquire_returns_a_value_by_choice(self):
        for make in shmkit.Lock, shmkit.RLock, shmkit.Condition:
            with self.subTest(make=make):
                lock = make(orphaned="return")
                self.killed(die_holding, lock)
                value = lock.acquire()
                self.assertIs(value, shmkit.ORPHANED)
                self.assertTrue(value)
                lock.release()
                self.assertIs(lock.acquire(), True)
                lock.release()

    def test_with_gives_the_value_by_choice(self):
        lock = shmkit.Lock(orphaned="return")
        self.killed(die_holding, lock)
        with lock as how:
            self.assertIs(how, shmkit.ORPHANED)
        with lock as how:
            self.assertIs(how, True)

    def test_with_raises_and_the_next_one_can_acquire(self):
        # Raised by __enter__, __exit__ is not called: the lock would stay held by this thread.
        lock = shmkit.Lock()
        self.killed(die_holding, lock)
        with self.assertRaises(shmkit.Orphaned):
            with lock:
                self.fail("it went in")
        self.assertTrue(lock.locked())
        lock.release()
        with lock:
            pass

    def test_a_condition_takes_all_levels_back_from_the_dead(self):
        for make in shmkit.Condition, threading.Condition:
            for choice in "raise", "return":
                with self.subTest(make=make, choice=choice):
                    lock = shmkit.RLock(orphaned=choice)
                    if make is shmkit.Condition:
                        changed = make(lock, orphaned=choice)
                    else:
                        changed = make(lock)
                    lock.acquire()
                    lock.acquire()
                    child = self.child(die_holding, lock)  # as soon as a wait releases it
                    told = False
                    while not told:
                        alive = child.is_alive()
                        try:
                            how = changed.wait(0.1)
                            # threading's does not hand on what the lock returns
                            ends = make is threading.Condition and not alive
                            told = choice == "return" and (ends or how is shmkit.ORPHANED)
                        except shmkit.Orphaned:
                            told = choice == "raise"
                        self.assertTrue(told or alive)
                    self.assertEqual(lock._recursion_count(), 2)
                    lock.release()
                    lock.release()
                    self.assertFalse(lock.locked())

    def test_other_choices_are_refused(self):
        with self.assertRaises(ValueError):
            shmkit.Lock(orphaned="ignore")


class Names(TestCase):
    def test_the_same_name_is_the_same_lock(self):
        one = shmkit.Lock(f"{self.segment}/lock")
        other = shmkit.Lock(name=f"{self.segment}/lock")
        self.assertEqual(one.name, f"{self.segment}/lock")
        with one:
            self.assertTrue(other.locked())
        self.assertFalse(other.locked())

    def test_after_unlink_a_name_is_another_object(self):
        first = shmkit.Lock(f"{self.segment}/lock")
        first.acquire()
        shmkit.unlink(self.segment)
        second = shmkit.Lock(f"{self.segment}/lock")
        self.assertFalse(second.locked())
        first.release()
        with self.assertRaises(shmkit.Unlinked):
            first.acquire()

    def test_bad_names_are_refused(self):
        for name in "a\0b/c", "a/b\0c", "/", "a/", "/b", "." * 300 + "/x":
            with self.subTest(name=name[:20]), self.assertRaises((ValueError, OSError)):
                shmkit.Lock(name=name)
        with self.assertRaises(TypeError):
            shmkit.Lock(name=7)

    def test_create_false_opens_what_is_there(self):
        name = f"{self.segment}/lock"
        with self.assertRaises(FileNotFoundError):
            shmkit.Lock(name, create=False)
        lock = shmkit.Lock(name)
        self.assertEqual(shmkit.Lock(name, create=False).name, lock.name)

    def test_an_object_of_another_kind_is_refused(self):
        lock = shmkit.Lock(f"{self.segment}/x")
        with self.assertRaises(OSError):
            shmkit.Event(f"{self.segment}/x")
        lock.close()

    def test_the_shell_sees_it(self):
        lock = shmkit.Lock(f"{self.segment}/till")
        said = subprocess.run(["shmctl", "ls", self.segment], capture_output=True, text=True)
        self.assertIn("till", said.stdout)
        lock.close()


class Closing(TestCase):
    def test_closed_objects_say_so(self):
        for make in shmkit.Lock, shmkit.RLock, shmkit.Condition:
            lock = make()
            lock.close()
            lock.close()
            with self.assertRaises(shmkit.Closed):
                lock.acquire()
        for make in shmkit.Event, shmkit.Semaphore:
            closed = make()
            closed.close()
            with self.assertRaises(shmkit.Closed):
                closed.wait() if make is shmkit.Event else closed.acquire()

    def test_a_lock_that_is_held_is_not_closed(self):
        lock = shmkit.Lock()
        with lock:
            with self.assertRaises(RuntimeError):
                lock.close()
        lock.close()

    def test_an_event_that_a_thread_waits_in_is_not_closed(self):
        event = shmkit.Event()
        thread = threading.Thread(target=event.wait)
        thread.start()
        time.sleep(0.05)
        with self.assertRaises(RuntimeError):
            event.close()
        event.set()
        thread.join()
        event.close()

    def test_weak_references_and_the_collector(self):
        event = shmkit.Event()
        gone = weakref.ref(event)
        del event
        gc.collect()
        self.assertIsNone(gone())


class Threads(TestCase):
    def test_a_wait_lets_other_threads_run(self):
        event = shmkit.Event()
        thread = threading.Thread(target=event.wait)
        thread.start()
        self.assertEqual(sum(range(1000)), 499500)
        event.set()
        thread.join(10)
        self.assertFalse(thread.is_alive())

    def test_only_the_holder_releases(self):
        lock = shmkit.Lock()
        lock.acquire()
        said = []

        def release():
            try:
                lock.release()
            except (RuntimeError, ValueError) as error:
                said.append(error)

        thread = threading.Thread(target=release)
        thread.start()
        thread.join()
        self.assertIsInstance(said[0], shmkit.NotHeld)
        lock.release()

    def test_a_deadlock_of_two_threads_is_told(self):
        one, two = shmkit.Lock(), shmkit.Lock()
        both = threading.Barrier(2)
        told = []

        def take(first, second):
            with first:
                both.wait()
                try:
                    with second:
                        pass
                except shmkit.Deadlock:
                    told.append(True)

        team = [threading.Thread(target=take, args=pair) for pair in ((one, two), (two, one))]
        for thread in team:
            thread.start()
        for thread in team:
            thread.join(30)
            self.assertFalse(thread.is_alive())
        self.assertEqual(told, [True])


class Barriers(TestCase):
    def meet(self, make, timeout_of_first, timeout_of_last, action):
        """Two parties: what the waits of the first and of the last to arrive gave."""
        barrier = make(2, action)
        said = []

        def come(timeout):
            try:
                said.append(barrier.wait(timeout))
            except threading.BrokenBarrierError:
                said.append("broken")

        first = threading.Thread(target=come, args=(timeout_of_first,))
        first.start()
        until(lambda: barrier.n_waiting == 1)
        come(timeout_of_last)
        first.join()
        return sorted(said, key=str)

    def test_the_last_to_arrive_needs_no_time(self):
        for make in threading.Barrier, shmkit.Barrier:
            for action in None, lambda: None:
                with self.subTest(make=make, action=action):
                    self.assertEqual(self.meet(make, 30, 0, action), [0, 1])

    def test_the_time_of_an_action_breaks_no_barrier(self):
        for make in threading.Barrier, shmkit.Barrier:
            with self.subTest(make=make):
                action = functools.partial(time.sleep, 2)
                self.assertEqual(self.meet(make, 1.5, 1.5, action), [0, 1])

    def test_what_an_action_raises_breaks_it(self):
        def action():
            raise LookupError

        for make in threading.Barrier, shmkit.Barrier:
            with self.subTest(make=make), self.assertRaises(LookupError):
                self.meet(make, 30, 30, action)


class Signals(TestCase):
    """A handler that returns costs a waiter nothing; one that raises ends the wait."""

    def interrupting(self, seconds=0.1):
        pid = os.getpid()
        thread = threading.Timer(seconds, os.kill, (pid, signal.SIGUSR1))
        thread.start()
        self.addCleanup(thread.join)

    def setUp(self):
        super().setUp()
        self.handled = 0
        before = signal.signal(signal.SIGUSR1, self.handle)
        self.addCleanup(signal.signal, signal.SIGUSR1, before)
        self.raises = False

    def handle(self, *_):
        self.handled += 1
        if self.raises:
            raise KeyboardInterrupt

    def waits(self):
        lock = shmkit.Lock()
        holder = threading.Thread(target=lambda: (lock.acquire(), self.done.wait(), lock.release()))
        self.done = threading.Event()
        holder.start()
        until(lock.locked)
        self.addCleanup(holder.join)
        self.addCleanup(self.done.set)
        condition = shmkit.Condition()
        condition.acquire()
        self.addCleanup(condition.release)
        yield "lock", lambda timeout: lock.acquire(timeout=timeout)
        yield "condition", condition.wait
        yield "event", shmkit.Event().wait
        semaphore = shmkit.Semaphore(0)
        yield "semaphore", lambda timeout: semaphore.acquire(timeout=timeout)

    def test_a_handler_that_returns_does_not_end_a_wait(self):
        for what, wait in self.waits():
            with self.subTest(what=what):
                self.handled = 0
                self.interrupting()
                begin = time.monotonic()
                self.assertFalse(wait(0.4))
                self.assertGreaterEqual(time.monotonic() - begin, 0.4)
                self.assertEqual(self.handled, 1)

    def test_a_handler_that_raises_ends_it(self):
        self.raises = True
        for what, wait in self.waits():
            with self.subTest(what=what):
                self.interrupting()
                begin = time.monotonic()
                with self.assertRaises(KeyboardInterrupt):
                    wait(20)
                self.assertLess(time.monotonic() - begin, 10)

    def test_a_handler_that_returns_does_not_break_a_barrier(self):
        barrier = shmkit.Barrier(2)
        other = threading.Thread(target=lambda: (time.sleep(0.4), barrier.wait(30)))
        other.start()
        self.addCleanup(other.join)
        self.interrupting()
        barrier.wait(30)
        self.assertEqual(self.handled, 1)
        self.assertFalse(barrier.broken)

    def test_a_handler_that_raises_while_a_condition_takes_its_lock_back(self):
        for make in shmkit.Condition, threading.Condition:
            with self.subTest(make=make):
                self.raises = True
                lock = shmkit.RLock()
                changed = make(lock)
                taken = threading.Event()

                def hold():
                    with lock:
                        taken.set()
                        time.sleep(0.6)

                lock.acquire()
                lock.acquire()
                holder = threading.Thread(target=hold)
                holder.start()
                self.interrupting(0.4)  # when the wait is over, and the lock is the holder's
                with self.assertRaises(KeyboardInterrupt):
                    changed.wait(0.1)
                    self.fail("no signal came")
                self.assertTrue(taken.is_set())
                self.assertEqual(lock._recursion_count(), 2)
                lock.release()
                lock.release()
                holder.join()

    def test_ctrl_c_ends_a_program_that_waits(self):
        program = "import shmkit; print(1, flush=True); shmkit.Event().wait()"
        with subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as child:
            child.stdout.readline()
            until(lambda: sleeps(child.pid))
            child.send_signal(signal.SIGINT)
            _, said = child.communicate(timeout=30)
        self.assertIn("KeyboardInterrupt", said)


if __name__ == "__main__":
    unittest.main()
