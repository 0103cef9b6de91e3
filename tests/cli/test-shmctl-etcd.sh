#!/bin/bash
# shmctl on a segment that one server of etcd carries, on loopback.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
. "$SHMKIT_SRCDIR/tests/cli/etcd.sh"

start_etcd

on_etcd=etcd:$segment
exits 0 shmctl put "$on_etcd/jobs" one two
exits 0 shmctl get "$on_etcd/jobs"
prints one
exits 0 shmctl get --nowait "$on_etcd/jobs"
prints two
exits 3 shmctl get --nowait "$on_etcd/jobs"
complains "^shmctl: $on_etcd/jobs: the queue is empty (--nowait)$"
exits 0 shmctl put "$on_etcd/jobs" three
exits 0 shmctl shutdown "$on_etcd/jobs"
exits 5 shmctl put "$on_etcd/jobs" four
exits 0 shmctl get "$on_etcd/jobs"
prints three
exits 5 shmctl get "$on_etcd/jobs"
exits 0 shmctl reopen "$on_etcd/jobs"
exits 0 shmctl put "$on_etcd/jobs" five
test ! -e "/dev/shm/$on_etcd" || fail 'there is a file in /dev/shm'
claim 'put, get, shutdown and reopen'

exits 0 shmctl create queue "$on_etcd/three" --order lifo --capacity 3
exits 3 shmctl put --nowait "$on_etcd/three" 1 2 3 4
exits 0 shmctl get "$on_etcd/three"
prints 3
exits 1 shmctl create region "$on_etcd/memory" --size 4096
complains 'cannot be on etcd'
claim 'create, for the kinds that there are'

exits 0 shmctl lock "$on_etcd/till" -- echo locked
prints locked
exits 3 shmctl lock "$on_etcd/till" -- shmctl lock --nowait "$on_etcd/till" -- true
complains "^shmctl: $on_etcd/till: the lock is held"
claim 'lock'

exits 0 shmctl create event "$on_etcd/go"
exits 1 shmctl event is-set "$on_etcd/go"
exits 3 shmctl event wait --nowait "$on_etcd/go"
exits 0 shmctl event set "$on_etcd/go"
exits 0 shmctl event wait "$on_etcd/go"
exits 0 shmctl event is-set "$on_etcd/go"
exits 0 shmctl event clear "$on_etcd/go"
exits 1 shmctl event is-set "$on_etcd/go"
claim 'event'

exits 0 shmctl semaphore run "$on_etcd/slots" -- echo permitted
prints permitted
exits 3 shmctl semaphore run "$on_etcd/slots" -- \
    shmctl semaphore run --nowait "$on_etcd/slots" -- echo no
exits 1 shmctl semaphore acquire "$on_etcd/slots"
exits 0 shmctl create semaphore "$on_etcd/plain" --value 2 --max 2
exits 0 shmctl semaphore acquire --count 2 "$on_etcd/plain"
exits 3 shmctl semaphore acquire --timeout 100ms "$on_etcd/plain"
exits 0 shmctl semaphore release "$on_etcd/plain"
exits 0 shmctl semaphore value "$on_etcd/plain"
prints 1
claim 'semaphore'

exits 0 shmctl lock --shared "$on_etcd/books" -- \
    shmctl lock --shared --nowait "$on_etcd/books" -- echo read
prints read
exits 3 shmctl lock --shared "$on_etcd/books" -- shmctl lock --nowait "$on_etcd/books" -- true
exits 3 shmctl lock "$on_etcd/books" -- shmctl lock --shared --nowait "$on_etcd/books" -- true
claim 'lock --shared'

shmctl barrier wait --parties 2 --timeout 300s "$on_etcd/start" >"$scratch/first" &
first=$!
exits 0 shmctl barrier wait --parties 2 --timeout 300s "$on_etcd/start"
ends 0 "$first"
test "$(sort "$out" "$scratch/first" | tr '\n' ' ')" = '0 1 ' || fail 'not 0 and 1'
exits 3 shmctl barrier wait --nowait "$on_etcd/start"
exits 3 shmctl barrier wait --timeout 100ms "$on_etcd/start"
exits 5 shmctl barrier wait "$on_etcd/start"
exits 0 shmctl barrier reset "$on_etcd/start"
exits 0 shmctl barrier abort "$on_etcd/start"
exits 5 shmctl barrier wait "$on_etcd/start"
claim 'barrier'

notified() {
    shmctl notify "$on_etcd/changed" && ! kill -0 "$waiter" 2>/dev/null
}
exits 0 shmctl notify "$on_etcd/changed"
exits 3 shmctl wait --timeout 100ms "$on_etcd/changed"
shmctl wait --timeout 300s "$on_etcd/changed" &
waiter=$!
await notified
ends 0 "$waiter"
shmctl wait --timeout 300s --until "test -e '$scratch/flag'" "$on_etcd/changed" &
waiter=$!
exits 0 shmctl lock "$on_etcd/changed" -- touch "$scratch/flag"
await notified
ends 0 "$waiter"
exits 3 shmctl wait --timeout 100ms --until false "$on_etcd/changed"
claim 'notify, wait and wait --until'

exits 0 shmctl stream append "$on_etcd/eeg" 1 2.5 3
exits 0 shmctl stream read --oldest --count 3 "$on_etcd/eeg"
prints 1 2.5 3
exits 0 shmctl stream read --latest 2 "$on_etcd/eeg"
prints 2.5 3
exits 3 shmctl stream read --nowait "$on_etcd/eeg"
exits 0 shmctl create stream "$on_etcd/two" --sample-size 4 --channels 2 --stamped --rate 250
exits 0 shmctl stream append --format int16 "$on_etcd/two" '4 5' '6 7'
exits 0 shmctl stream read --format int16 --oldest --count 2 "$on_etcd/two"
prints '4 5' '6 7'
claim 'stream'

exits 0 shmctl rm "$on_etcd/go"
exits 4 shmctl event is-set --no-create "$on_etcd/go"
exits 0 shmctl rm "$on_etcd"
exits 4 shmctl rm "$on_etcd"
kill "$etcd"
wait "$etcd" 2>/dev/null
claim 'rm'
