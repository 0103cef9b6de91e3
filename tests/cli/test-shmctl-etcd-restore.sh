#!/bin/bash
# Three servers are restored from a snapshot, step by step as shmkit-etcd(7) says, and have what it
# says.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
. "$SHMKIT_SRCDIR/tests/cli/etcd.sh"
if ! command -v etcdctl >/dev/null; then
    echo 'SKIPPED: there is no etcdctl (Debian package: etcd-client)'
    exit 77
fi
on_etcd=etcd:$segment
export SHMKIT_ETCD_TTL=2 ETCDCTL_API=3
servers=()

# The URL of a server of 0, 1, 2 for clients; 3, 4, 5: for other servers.
url() {
    echo "http://127.0.0.1:${ports[$1]}"
}

serve() { # SERVER
    etcd --name "s$1" --data-dir "$scratch/s$1" --listen-client-urls "$(url "$1")" \
        --advertise-client-urls "$(url "$1")" --listen-peer-urls "$(url $(($1 + 3)))" \
        --initial-advertise-peer-urls "$(url $(($1 + 3)))" --initial-cluster "$cluster" \
        --initial-cluster-token "$segment" --logger zap --log-level error \
        >>"$scratch/etcd.log" 2>&1 &
    servers[$1]=$!
}

kill_servers() {
    kill -KILL "${servers[@]}" 2>/dev/null
    wait "${servers[@]}" 2>/dev/null
    return 0 # and not 137
}

lives() {
    kill -0 "${servers[0]}" "${servers[1]}" "${servers[2]}" 2>/dev/null
}

# A port that another process has: then that server ends, and other ports are tried.
start_servers() {
    for _ in {1..10}; do
        mapfile -t ports < <(shuf -i 20000-32000 -n 6)
        cluster=s0=$(url 3),s1=$(url 4),s2=$(url 5)
        export ETCDCTL_ENDPOINTS
        ETCDCTL_ENDPOINTS=$(url 0),$(url 1),$(url 2)
        for server in 0 1 2; do
            serve $server
        done
        for _ in {1..20}; do
            lives || break
            shmctl ls etcd: >"$out" 2>&1 && return
        done
        kill_servers
        rm -rf "$scratch"/s[012]
    done
    fail "etcd does not start: $(tail -n 3 "$scratch/etcd.log")"
}

is_held() {
    shmctl show -n -r -o STATE "$on_etcd/till" 2>/dev/null | grep -q '^held'
}

start_servers
exits 0 shmctl put "$on_etcd/jobs" a b c
exits 0 shmctl put "$segment/spool" 1 2 3 4 5
exits 0 shmctl bridge --once "$segment/spool" "$on_etcd/carried"
prints 5
shmctl --name teller lock "$on_etcd/till" -- sleep 600 &
teller=$!
await is_held

ETCDCTL_ENDPOINTS=$(url 1) exits 0 etcdctl snapshot save "$scratch/snapshot"
claim 'a snapshot of one server'

exits 0 shmctl get "$on_etcd/jobs"
prints a
exits 0 shmctl put "$on_etcd/jobs" d
exits 0 shmctl put "$segment/spool" 6 7
exits 0 shmctl bridge --once "$segment/spool" "$on_etcd/carried"
prints 2
exits 0 shmctl create event "$on_etcd/later"

# 1. Its processes are ended. This one has no time to leave.
exits 0 shmctl ps -n -r -o NAME etcd:
prints teller
kill -KILL $teller
wait $teller 2>/dev/null
# 2. The servers, too; each gets its own directory from the same snapshot.
kill_servers
for server in 0 1 2; do
    rm -rf "$scratch/s$server"
    (
        unset ETCDCTL_ENDPOINTS # they are not asked
        exits 0 etcdctl snapshot restore "$scratch/snapshot" --name s$server \
            --data-dir "$scratch/s$server" --initial-cluster "$cluster" \
            --initial-cluster-token "$segment-restored" \
            --initial-advertise-peer-urls "$(url $((server + 3)))"
    ) || exit 1
    serve $server
done
await shmctl doctor etcd: >"$scratch/doctor" 2>&1
# 3. The leases of before end, and the lock is handed on.
exits 0 shmctl lock -t 30 "$on_etcd/till" -- true
grep -q "$on_etcd/till: a former holder died holding it" "$err" ||
    fail "it says $(cat "$out" "$err")"
exits 0 shmctl ps -n -r -o NAME etcd:
prints_nothing
claim 'the lock of a process that was there at the time of the snapshot is handed on'

exits 4 shmctl show "$on_etcd/later"
exits 0 shmctl get -c 3 "$on_etcd/jobs"
prints a b c
exits 3 shmctl get --nowait "$on_etcd/jobs"
claim 'what was taken since comes again, what was put since is gone'

exits 0 shmctl put "$segment/spool" 8
exits 1 shmctl bridge --once "$segment/spool" "$on_etcd/carried"
grep -q 'next item is number 7, and .* was given those before 5: .*--resume-at 7 carries on' \
    "$err" || fail "it says $(cat "$out" "$err")"
exits 0 shmctl bridge --once --resume-at 7 "$segment/spool" "$on_etcd/carried"
prints 1
exits 0 shmctl get -c 6 "$on_etcd/carried"
prints 1 2 3 4 5 8
claim 'a bridge stops, and goes on where it is told to'

# One server of three has no majority, and says that it knows no leader, once it has missed one.
kill -KILL "${servers[1]}" "${servers[2]}"
wait "${servers[1]}" "${servers[2]}" 2>/dev/null
knows_no_leader() {
    shmctl doctor etcd: >"$out" 2>"$err"
    test $? = 1 && grep -q '^problem .*answers, and knows no leader: it has no majority' "$out"
}
await knows_no_leader
claim 'doctor finds the server that answers and knows no leader'
kill_servers
