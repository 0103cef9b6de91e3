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

exits 0 shmctl rm "$on_etcd/go"
exits 4 shmctl event is-set --no-create "$on_etcd/go"
exits 0 shmctl rm "$on_etcd"
exits 4 shmctl rm "$on_etcd"
kill "$etcd"
wait "$etcd" 2>/dev/null
claim 'rm'
