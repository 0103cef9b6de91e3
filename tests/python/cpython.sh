#!/bin/bash
# CPython's own tests, with shmkit's objects in place of its own.
set -u
. "$SHMKIT_SRCDIR/tests/python/python.sh"
$python -c 'import test.lock_tests, test.test_queue, test._test_multiprocessing' 2>/dev/null ||
    skip "$python has no test package (Debian package: libpython3.11-testsuite)"

status=0
together threads fork spawn forkserver -- $python cpython.py || status=1
# What cannot pass is told in shmkit-python(7), with the same reasons.
$python cpython.py page "$SHMKIT_SRCDIR/lib/man/shmkit-python.7" || status=1
exit $status
