#!/bin/bash
# The run's last test: no segment of the others is left. What was there before them (tests/before)
# is not theirs, nor is another user's, nor one of a run beside this one: the first number in a
# test's segment is a process, which is alive there.
. "$SHMKIT_SRCDIR/tests/processes.sh"
if ! test -f "$SHMKIT_TESTDIR/before"; then
    echo 'SKIPPED: it is not known what was there before'
    exit 77
fi

left=$(list_segments | LC_ALL=C comm -13 "$SHMKIT_TESTDIR/before" -)
for name in $left; do
    echo "left in /dev/shm: $name"
done
test -z "$left" && echo 'nothing is left in /dev/shm'
