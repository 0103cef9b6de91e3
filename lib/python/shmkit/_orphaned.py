"""What an acquire returns after a holder's death, where the object was told orphaned="return"."""

import enum


class Orphaned(enum.Enum):
    """A true value, so that `if lock.acquire()` means that the lock is held."""

    ORPHANED = "orphaned"

    def __repr__(self) -> str:
        return "shmkit.ORPHANED"


ORPHANED = Orphaned.ORPHANED
