#!/bin/bash
# shmctl event.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
event=$segment/go

for action in set clear wait is-set; do
    exits 4 shmctl event $action --no-create "$event"
    complains "^shmctl: $event: no such event; 'shmctl create event $event' creates it$"
done
exits 4 shmctl event is-set "$event"
test ! -e "/dev/shm/$segment" || fail 'a look has created a segment'
exits 0 shmctl create event "$event"
exits 0 shmctl create queue "$segment/jobs" --capacity 1
exits 1 shmctl event set "$segment/jobs"
complains "^shmctl: $segment/jobs[: ]"
claim 'without the event, it says how to make it if it may not create it'

exits 1 shmctl event is-set "$event"
prints_nothing
exits 3 shmctl event wait --nowait "$event"
complains "^shmctl: $event: the event is not set (--nowait)$"
begin=$(date +%s%N)
exits 3 shmctl event wait "$event" -t 200ms
test $(($(date +%s%N) - begin)) -ge 200000000 || fail 'too early'
exits 3 shmctl event wait "$event" --timeout -1s # a script's deadline, computed too late
exits 0 shmctl event set "$event"
prints_nothing
exits 0 shmctl event wait "$event" --timeout -1
exits 0 shmctl event is-set "$event"
prints_nothing
exits 0 shmctl event wait "$event"
prints_nothing
exits 0 shmctl event wait "$event" --timeout 1min
exits 0 shmctl event clear "$event"
prints_nothing
exits 1 shmctl event is-set "$event"
claim 'set, clear and is-set; wait waits only while it is clear'

two_wait() {
    test "$(shmctl ps -n -r -o WAITS "$segment" | grep -cx 'set\\x20go')" = 2
}
shmctl event wait "$event" &
first=$!
shmctl event wait "$event" --timeout 1h &
second=$!
await two_wait
kill -STOP $first $second # they cannot look before it is clear again
exits 0 shmctl event set "$event"
exits 0 shmctl event clear "$event"
kill -CONT $first $second
ends 0 $first
ends 0 $second
claim 'set releases all waiters, even if it is cleared at once'

env --default-signal shmctl event wait "$event" 2>"$scratch/said" &
sleeper=$!
await waits 'set go'
kill -INT $sleeper
ends 130 $sleeper
test ! -s "$scratch/said" || fail "it says $(cat "$scratch/said")"
claim 'Ctrl-C ends it by that signal'
