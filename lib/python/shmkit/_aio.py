"""Waiting in asyncio.

A task that waits has a future. For each event loop and segment there is a hub: it has the objects
that tasks wait for, and a descriptor of ready_fd() that is readable when one of them is ready. So
one thread of the library waits for all of them, up to 64 a descriptor.

    wait        a future is added to the object's entry, and the object to the hub's descriptor:
                that is made anew, once in a turn of the loop however many objects are added
    readable    the first future of each object that is ready is done (all of them, where nothing
                is taken: of an event); its task tries again, and waits again if another was faster
    read        after these tasks: read before, the descriptor would become readable again for what
                they are about to take
    no future   an object that is ready though no task waits for it would keep the descriptor
                readable. It gets one of its own, which is watched only while a task waits

A descriptor is readable as long as an object is ready. So nothing is lost between a try and a wait.
The tasks take what they wait for, not the hub: nothing is lost with a task that is cancelled.
"""

import asyncio
import collections
import os
import struct
import weakref

from . import _shmkit

_OWN_MOST = 16  # descriptors, and threads, of single objects of a hub
_SET_MOST = 64  # objects of a descriptor: SHK_READY_MAX


class _Entry:
    """An object that tasks wait for, to be read ("r"), written ("w") or all done ("d")."""

    def __init__(self, thing, want):
        self.thing = thing
        self.want = want
        self.key = (id(thing), want)
        self.futures = collections.deque()
        # one task takes an item or a permit; an event, samples, a version or a join are for all
        takes = hasattr(thing, "get_nowait") or hasattr(thing, "acquire")
        self.one_by_one = takes and want != "d"

    def wake(self, everyone=False):
        while self.futures:
            future = self.futures.popleft()
            if not future.done():
                future.set_result(True)
                if self.one_by_one and not everyone:
                    return

    def fail(self, error):
        while self.futures:
            future = self.futures.popleft()
            if not future.done():
                future.set_exception(error)


class _Descriptor:
    """A descriptor of ready_fd(), and the keys of what it is of."""

    def __init__(self, hub, entries):
        self.hub = weakref.ref(hub)
        self.keys = [entry.key for entry in entries]
        # an object that has gone takes its key along, which is its address
        me = weakref.ref(self)
        self.things = [weakref.ref(e.thing, lambda _: _Descriptor.on_gone(me())) for e in entries]
        self.fd = _shmkit.ready_fd([(entry.thing, entry.want) for entry in entries])
        self.watched = False
        self.woken = None  # the keys of what was woken, until the descriptor is read

    def watch(self):
        hub = self.hub()
        if not self.watched and self.fd >= 0 and hub:
            hub.loop().add_reader(self.fd, self.on_readable)
            self.watched = True

    def unwatch(self):
        hub = self.hub()
        loop = hub.loop() if hub else None
        if self.watched and loop and not loop.is_closed():
            loop.remove_reader(self.fd)
        self.watched = False

    def on_readable(self):
        hub = self.hub()
        if hub and self.woken is None:
            self.woken = hub.wake_ready(self.keys)
            hub.loop().call_soon(self.read)

    def read(self):
        woken, self.woken = self.woken, None
        hub = self.hub()
        if hub is None or self.fd < 0:
            return
        try:
            message = os.read(self.fd, 4)
        except BlockingIOError:
            return
        if message:
            key = self.keys[struct.unpack("=I", message)[0]]
            if key not in woken:
                hub.on_ready(self, key)
        else:
            hub.on_end(self)

    def on_gone(self):
        """In any thread. self: None if it has gone, too."""
        hub = self.hub() if self else None
        loop = hub.loop() if hub else None
        if loop and not loop.is_closed():
            loop.call_soon_threadsafe(hub.drop, self)

    def close(self):
        self.unwatch()
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def __del__(self):
        if getattr(self, "fd", -1) >= 0:
            self.close()


class _Hub:
    def __init__(self, loop):
        self.loop = weakref.ref(loop)
        self.entries = {}  # that have futures
        self.shared = []
        self.own = {}  # key: descriptor; None: to be made when a task waits for it
        self.is_rebuilding = False

    def add(self, thing, want):
        key = (id(thing), want)
        entry = self.entries.get(key)
        if entry is None:
            entry = self.entries[key] = _Entry(thing, want)
        future = self.loop().create_future()
        entry.futures.append(future)
        self.watch(entry)
        return entry, future

    def remove(self, entry, future):
        if future in entry.futures:
            entry.futures.remove(future)
        if entry.futures or self.entries.get(entry.key) is not entry:
            return
        del self.entries[entry.key]
        descriptor = self.own.get(entry.key)
        if descriptor:
            descriptor.unwatch()
        for descriptor in self.shared:
            if not any(key in self.entries for key in descriptor.keys):
                descriptor.unwatch()

    def watch(self, entry):
        if entry.key in self.own:
            if self.own[entry.key] is None:
                self.own[entry.key] = self.open([entry])
            if self.own[entry.key]:
                self.own[entry.key].watch()
            return
        for descriptor in self.shared:
            if entry.key in descriptor.keys:
                descriptor.watch()
                return
        self.rebuild_soon()

    def open(self, entries):
        try:
            return _Descriptor(self, entries)
        except OSError as error:
            for entry in entries:
                entry.fail(error)
            return None

    def rebuild_soon(self):
        if not self.is_rebuilding:
            self.is_rebuilding = True
            self.loop().call_soon(self.rebuild)

    def rebuild(self):
        self.is_rebuilding = False
        for descriptor in self.shared:
            descriptor.close()
        self.shared = []
        entries = [entry for key, entry in self.entries.items() if key not in self.own]
        for i in range(0, len(entries), _SET_MOST):
            self.share(entries[i : i + _SET_MOST])

    def share(self, entries):
        try:
            descriptors = [_Descriptor(self, entries)]
        except OSError:
            # one of them has been unlinked or closed: its task is told, the others go on
            descriptors = [self.open([entry]) for entry in entries]
        for descriptor in descriptors:
            if descriptor:
                descriptor.watch()
                self.shared.append(descriptor)

    def wake_ready(self, keys):
        entries = [self.entries[key] for key in keys if key in self.entries]
        try:
            ready = _shmkit._wait_here([(entry.thing, entry.want) for entry in entries], 0)
        except (OSError, RuntimeError):
            return ()  # one of them is closed or unlinked: the descriptor says so
        woken = {(id(thing), want) for thing, want in ready}
        for key in woken:
            self.entries[key].wake()
        return woken

    def on_ready(self, descriptor, key):
        """It was ready when the descriptor became readable, and no task was woken for it."""
        entry = self.entries.get(key)
        if entry:
            if not entry.one_by_one:
                entry.wake()  # an event that was set, and cleared at once
        elif key in self.own:
            descriptor.unwatch()
        else:
            if len(self.own) < _OWN_MOST:
                self.own[key] = None
            self.rebuild_soon()

    def drop(self, descriptor):
        descriptor.close()
        if descriptor in self.shared:
            self.shared.remove(descriptor)
            self.rebuild_soon()
        for key in descriptor.keys:
            if self.own.get(key) is descriptor:
                del self.own[key]

    def on_end(self, descriptor):
        """An object was unlinked, or the segment closed: all tasks try again, and are told."""
        self.drop(descriptor)
        for key in descriptor.keys:
            if key in self.entries:
                self.entries[key].wake(everyone=True)


_hubs = weakref.WeakKeyDictionary()  # loop: {segment: hub}


def _hub(loop, thing):
    hubs = _hubs.setdefault(loop, {})
    segment = _shmkit._segment_of(thing)
    if segment not in hubs:
        hubs[segment] = _Hub(loop)
    return hubs[segment]


class _Waiter:
    """The waits of one call, with one deadline."""

    def __init__(self, thing, want, timeout):
        self.thing = thing
        self.want = want
        self.loop = asyncio.get_running_loop()
        self.deadline = None if timeout is None else self.loop.time() + timeout
        self.vain = 0

    def is_over(self):
        return self.deadline is not None and self.loop.time() >= self.deadline

    async def ready(self):
        """Wait until it is worth another try: False when the time is over."""
        if self.is_over():
            return False
        if self.vain > 2:
            # another thread keeps the side, in a peek or a reservation: it is ready, and not free
            await asyncio.sleep(min(0.001 * 2 ** min(self.vain - 3, 6), 0.05))
            if self.is_over():
                return False
        began = self.loop.time()
        hub = _hub(self.loop, self.thing)
        entry, future = hub.add(self.thing, self.want)
        timer = self.deadline and self.loop.call_at(
            self.deadline, lambda: future.done() or future.set_result(False)
        )
        try:
            woken = await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                entry.wake()  # the wake-up was this one's alone
            raise
        finally:
            if timer:
                timer.cancel()
            hub.remove(entry, future)
        self.vain = self.vain + 1 if self.loop.time() - began < 0.001 else 0
        return woken


def _check_timeout(timeout):
    if timeout is not None and not timeout >= 0:
        raise ValueError("a timeout is a number of seconds, not less than 0")


async def aget(queue, timeout=None):
    _check_timeout(timeout)
    waiter = None
    while True:
        try:
            return queue.get_nowait()
        except _shmkit.Empty:
            waiter = waiter or _Waiter(queue, "r", timeout)
            if waiter.is_over():
                raise
        await waiter.ready()


async def aput(queue, item, timeout=None, *, priority=None):
    _check_timeout(timeout)
    waiter = None
    while True:
        try:
            return queue.put_nowait(item, priority=priority)
        except _shmkit.Full:
            waiter = waiter or _Waiter(queue, "w", timeout)
            if waiter.is_over():
                raise
        await waiter.ready()


async def ajoin(queue, timeout=None):
    _check_timeout(timeout)
    waiter = None
    while True:
        try:
            return queue.join(0)
        except TimeoutError:
            waiter = waiter or _Waiter(queue, "d", timeout)
            if waiter.is_over():
                raise
        await waiter.ready()


async def await_set(event, timeout=None):
    """As event.wait(timeout)."""
    waiter = None
    while not event.is_set():
        waiter = waiter or _Waiter(event, "r", timeout)
        if await waiter.ready():
            return True  # it was set, and may have been cleared at once
        if waiter.is_over():
            return event.is_set()
    return True


async def aacquire(semaphore, timeout=None):
    """As semaphore.acquire(timeout=timeout)."""
    waiter = None
    while not (result := semaphore.acquire(False)):
        waiter = waiter or _Waiter(semaphore, "r", timeout)
        if waiter.is_over():
            return False
        await waiter.ready()
    return result


async def aread(reader, n=1024, timeout=None):
    waiter = None
    while True:
        samples = reader.read(n, 0)
        if len(samples) > 0:
            return samples
        waiter = waiter or _Waiter(reader, "r", timeout)
        if waiter.is_over():
            return samples
        await waiter.ready()


async def await_newer(newest, version=None, timeout=None):
    waiter = None
    if version is None:
        version = newest.version
    while not (newer := newest.wait(version, 0)):
        waiter = waiter or _Waiter(newest, "r", timeout)
        if waiter.is_over():
            return 0
        newest._mark()  # it is ready when there is a newer one than this handle has got
        await waiter.ready()
    return newer
