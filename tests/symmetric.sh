#!/bin/bash
# The queue where its segment does without membarrier(2): all that its tests say holds there, too.
set -u
SHK_MEMBARRIER=0
export SHK_MEMBARRIER
failed=0
for test in test_queue test_queue_hold test_queue_orders test_queue_tasks test_ready; do
    "${SHMKIT_TESTDIR:?}/$test" || failed=1
done
exit $failed
