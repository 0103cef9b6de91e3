"""Value and Array: objects of ctypes in shared memory, as multiprocessing has them."""

import ctypes

from . import _shmkit

_classes = {}


def _reduce(raw):
    return _rebuild, raw._shmkit


def _rebuild(item_type, length, region):
    return _over(item_type, length, region)


def _class_of(whole):
    """A class that is pickled by its region. A plain object of ctypes is pickled with its bytes:
    the other process would have a copy."""
    if whole not in _classes:
        _classes[whole] = type(whole.__name__, (whole,), {"__reduce__": _reduce})
    return _classes[whole]


def _over(item_type, length, region):
    whole = item_type if length is None else item_type * length
    raw = _class_of(whole).from_buffer(region)
    raw._shmkit = (item_type, length, region)
    return raw


def _type_of(typecode_or_type):
    from multiprocessing import sharedctypes

    return sharedctypes.typecode_to_type.get(typecode_or_type, typecode_or_type)


def _lock_for(name, lock, orphaned, create):
    """The lock that protects it: the program's; or an RLock, "segment/object.lock" of a named one,
    which its making needs in any case."""
    if hasattr(lock, "acquire"):
        return lock
    if lock not in (True, False, None):
        raise AttributeError(f"{lock!r} has no method 'acquire'")
    if name is not None:
        return _shmkit.RLock(f"{name}.lock", create=create, orphaned=orphaned)
    return None if lock is False else _shmkit.RLock(orphaned=orphaned)


def _open(name, size, create):
    """The region, and whether it is new."""
    if name is None:
        return _shmkit.Region(size), True
    try:
        return _shmkit.Region(name, size, create=False), False
    except _shmkit.NotFound:
        if not create:
            raise
    return _shmkit.Region(name, size), True


def _acquire(guard):
    try:
        guard.acquire()
    except _shmkit.Orphaned:  # this thread holds it, and nothing is made
        guard.release()
        raise


def _make(name, item_type, length, lock, orphaned, create, initialize):
    size = ctypes.sizeof(item_type) * (1 if length is None else length)
    guard = _lock_for(name, lock, orphaned, create)
    if guard is not None:
        _acquire(guard)
    try:
        region, is_new = _open(name, max(size, 1), create)
        raw = _over(item_type, length, region)
        if is_new:
            initialize(raw)
    finally:
        if guard is not None:
            guard.release()
    if lock is False:
        return raw
    from multiprocessing import sharedctypes

    return sharedctypes.synchronized(raw, guard)


def _take_name(args, name):
    if args and isinstance(args[0], str) and "/" in args[0]:
        if name is not None:
            raise TypeError("the name is given twice")
        return args[1:], args[0]
    return args, name


def Value(*args, lock=True, name=None, create=True, orphaned="return"):
    """Value(typecode_or_type, *args, lock=True, name=None, create=True, orphaned="return")

    A number, or a structure of ctypes, in shared memory, as multiprocessing.Value: with the
    attribute `value`, and get_lock(), get_obj(), acquire(), release(), `with`.

        balance = shmkit.Value("bank/balance", "d", 0.0)
        with balance.get_lock():
            balance.value += 800

    typecode_or_type: of array, or a type of ctypes. args: its first value; where a named one
    exists already, it keeps what it has. name: "segment/object", a Region there and an RLock
    "segment/object.lock"; None: for this program and the processes that it is passed to.
    lock: True; a lock; or False: the object of ctypes itself, without a lock.
    orphaned: as with RLock. "return": after a holder's death the next access goes on; "raise":
    Orphaned is raised, and the lock is held.
    Raises Error (EPROTOTYPE) if it exists with another size; NotFound.
    Killed in a change: the bytes stay as they were at that moment.
    """
    args, name = _take_name(args, name)
    if not args:
        raise TypeError("Value() needs a typecode or a type of ctypes")
    item_type, *values = args

    def initialize(raw):
        raw.__init__(*values)

    return _make(name, _type_of(item_type), None, lock, orphaned, create, initialize)


def Array(*args, lock=True, name=None, create=True, orphaned="return"):
    """Array(typecode_or_type, size_or_initializer, *, lock=True, name=None, create=True,
          orphaned="return")

    An array of ctypes in shared memory, as multiprocessing.Array: indexes, ranges, len(), of
    characters `value` and `raw`; get_lock(), get_obj(), acquire(), release(), `with`.

    size_or_initializer: how many elements, which are zero at first; or a sequence of them.
    The others, and what is raised: as with Value.
    """
    args, name = _take_name(args, name)
    if len(args) != 2:
        raise TypeError("Array() needs a typecode or a type of ctypes, and a size or a sequence")
    item_type, initial = args
    if isinstance(initial, int):
        length, values = initial, ()
        if length < 0:
            raise ValueError("the size of an Array is not negative")
    else:
        length, values = len(initial), initial

    def initialize(raw):
        raw.__init__(*values)

    return _make(name, _type_of(item_type), length, lock, orphaned, create, initialize)
