#!/bin/bash
# shmctl semaphore and barrier; semaphores, barriers, streams and orders created and shown.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"

exits 0 shmctl create semaphore "$segment/slots" --value 1 --max 2
exits 0 shmctl semaphore acquire "$segment/slots"
exits 3 shmctl semaphore acquire --nowait "$segment/slots"
exits 3 shmctl semaphore acquire --timeout 50ms "$segment/slots"
exits 0 shmctl semaphore release --count 2 "$segment/slots"
exits 1 shmctl semaphore release "$segment/slots"
test "$(shmctl semaphore value "$segment/slots")" = 2 || fail 'there are not two permits'
exits 2 shmctl semaphore take "$segment/slots"
exits 2 shmctl semaphore value --count 2 "$segment/slots"
exits 4 shmctl semaphore acquire --no-create "$segment/nothing"
claim 'a semaphore counts'

exits 2 shmctl barrier come "$segment/start"
exits 0 shmctl create barrier "$segment/start" --parties 2
exits 3 shmctl barrier wait --nowait "$segment/start"
shmctl barrier wait "$segment/start" >"$scratch/first" &
until shmctl ps -r -n -o WAITS "$segment" | grep -q 'meet'; do sleep 0.05; done
test "$(shmctl barrier wait "$segment/start")" = 1 || fail 'the second is not the second'
wait $! || fail 'the first was not let through'
test "$(cat "$scratch/first")" = 0 || fail 'the first is not the first'
exits 3 shmctl barrier wait --timeout 50ms "$segment/start"
exits 5 shmctl barrier wait "$segment/start"
exits 0 shmctl barrier reset "$segment/start"
exits 0 shmctl barrier abort "$segment/start"
exits 5 shmctl barrier wait "$segment/start"
claim 'two meet at a barrier'

exits 0 shmctl create stream "$segment/eeg" --history 100
exits 0 shmctl create queue "$segment/stack" --order lifo
exits 0 shmctl put "$segment/stack" 1 2 3
test "$(shmctl get --count 3 "$segment/stack" | tr '\n' ' ')" = '3 2 1 ' ||
    fail 'the last does not come first'
shmctl ls -r -n -o NAME,KIND,STATE "$segment" | sed 's/\\x20/ /g' >"$scratch/objects"
grep -q '^eeg stream 0 samples' "$scratch/objects" ||
    fail "the stream is shown as $(grep eeg "$scratch/objects")"
grep -q '^slots semaphore 2 permits' "$scratch/objects" ||
    fail "the semaphore is shown as $(grep slots "$scratch/objects")"
grep -q '^start barrier 0/2 have come, broken' "$scratch/objects" ||
    fail "the barrier is shown as $(grep start "$scratch/objects")"
grep -q '^stack queue 0 items' "$scratch/objects" ||
    fail "the stack is shown as $(grep stack "$scratch/objects")"
shmctl show -o HISTORY "$segment/eeg" | grep -q 100 || fail "the history is not shown"
claim 'every kind is created and shown'
