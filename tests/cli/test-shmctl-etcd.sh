#!/bin/bash
# shmctl on a segment that one server of etcd carries, on loopback.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"

if ! command -v etcd >/dev/null; then
    echo 'SKIPPED: there is no etcd (Debian package: etcd-server)'
    exit 77
fi
if ! test -e "$SHMKIT_TESTDIR/../libshmkit-etcd.la"; then
    echo 'SKIPPED: libshmkit-etcd has not been built'
    exit 77
fi

# A port that no other process has: etcd ends at once if it is taken.
start_etcd() {
    local client peer
    for _ in {1..20}; do
        client=http://127.0.0.1:$((20000 + RANDOM % 20000))
        peer=http://127.0.0.1:$((20000 + RANDOM % 20000))
        etcd --data-dir "$scratch/etcd-${client##*:}" --listen-client-urls "$client" \
            --advertise-client-urls "$client" --listen-peer-urls "$peer" \
            --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" \
            --logger zap --log-level error >"$scratch/etcd.log" 2>&1 &
        etcd=$!
        export ETCDCTL_ENDPOINTS=$client
        for _ in {1..20}; do
            kill -0 "$etcd" 2>/dev/null || continue 2
            shmctl create event etcd:shmkit-test/there 2>/dev/null && return
        done
    done
    fail 'etcd does not start'
}
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
