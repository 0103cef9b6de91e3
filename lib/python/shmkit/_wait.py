"""Waiting for any of several objects, and following a stream."""

import os
import struct
import time

from . import _shmkit

_MOST = 64  # objects of a set: SHK_READY_MAX


def follow(reader, n=1024, timeout=None):
    while True:
        try:
            samples = reader.read(n, timeout)
        except EOFError:
            return
        if len(samples) == 0:
            return
        yield samples


def wait(objects, timeout=None):
    """Wait until an object is ready; return a list of those that are, as
    multiprocessing.connection.wait() does.

    objects: queues that have an item, or as (queue, "w") room, or as (queue, "d") all tasks done;
    events that are set; semaphores that have a permit; readers; Newest. Also what
    multiprocessing.connection.wait() takes: connections, sockets, the sentinel of a process,
    descriptors.
    timeout: seconds; None: no limit. An empty list: the time is over.

    Nothing is taken, and another may be faster: get it without waiting, and be ready for Empty.
    With objects of several segments, more than 64, or others, a descriptor is made for each call.
    Raises Unlinked, Closed; TypeError for an object that cannot be waited for.
    """
    objects = list(objects)
    groups, others = {}, []
    for thing in objects:
        segment = _shmkit._segment_of(thing)
        if segment is None:
            others.append(thing)
        else:
            groups.setdefault(segment, []).append(thing)
    if not others and len(groups) <= 1 and len(objects) <= _MOST:
        return _shmkit._wait_here(objects, timeout)
    return _wait_anywhere(objects, groups, others, timeout)


def _wait_anywhere(objects, groups, others, timeout):
    from multiprocessing import connection

    sets = [g[i : i + _MOST] for g in groups.values() for i in range(0, len(g), _MOST)]
    deadline = None if timeout is None else time.monotonic() + timeout
    ready = _ready_now(sets, others)
    descriptors = []
    try:
        while not ready and (deadline is None or time.monotonic() < deadline):
            if not descriptors:
                descriptors += [_shmkit.ready_fd(part) for part in sets]
            left = None if deadline is None else max(0, deadline - time.monotonic())
            found = connection.wait(descriptors + others, left)
            ready = _ready_now(sets, others)
            for fd, part in zip(descriptors, sets):
                if fd in found:
                    ready += _told(fd, part)
    finally:
        for fd in descriptors:
            os.close(fd)
    ids = {id(thing) for thing in ready}
    return [thing for thing in objects if id(thing) in ids]


def _ready_now(sets, others):
    from multiprocessing import connection

    ready = [thing for part in sets for thing in _shmkit._wait_here(part, 0)]
    return ready + (connection.wait(others, 0) if others else [])


def _told(fd, part):
    """What the descriptor says was ready, if that is not for one to take: an event may have been
    cleared at once."""
    try:
        message = os.read(fd, 4)
    except BlockingIOError:
        return []
    if not message:
        _shmkit._wait_here(part, 0)  # raises what has happened
        return []
    thing = part[struct.unpack("=I", message)[0]]
    return [thing] if hasattr(thing, "is_set") else []
