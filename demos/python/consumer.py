#!/usr/bin/env python3
"""consumer.py SEGMENT/QUEUE: take items out of a queue and print them, until it is shut down or has
no producer any more."""
import sys

import shmkit


def main(name):
    queue = shmkit.Queue(name, role="consumer")
    try:
        while True:
            item = queue.get()
            print(item.decode() if isinstance(item, bytes) else item, flush=True)
    except shmkit.ShutDown:
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]) if len(sys.argv) == 2 else __doc__)
