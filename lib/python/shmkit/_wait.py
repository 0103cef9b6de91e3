"""Waiting for any of several objects, and following a stream."""

import os

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

    objects: queues that have an item, or as (queue, "w") room; events that are set; semaphores
    that have a permit; readers; Newest. Also what multiprocessing.connection.wait() takes:
    connections, sockets, the sentinel of a process, descriptors.
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

    sets = {}
    try:
        for group in groups.values():
            for i in range(0, len(group), _MOST):
                part = group[i : i + _MOST]
                sets[_shmkit.ready_fd(part)] = part
        found = connection.wait(list(sets) + others, timeout)
        ready = []
        for one in found:
            ready += _shmkit._wait_here(sets[one], 0) if one in sets else [one]
    finally:
        for fd in sets:
            os.close(fd)
    ids = {id(thing) for thing in ready}
    return [thing for thing in objects if id(thing) in ids]
