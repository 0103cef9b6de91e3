#!/bin/bash
# shmctl doctor etcd: what it finds of servers that are full, that refuse, that have no majority,
# and that each way out which it names helps.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
. "$SHMKIT_SRCDIR/tests/cli/etcd.sh"
on_etcd=etcd:$segment

# A finding: ok or problem, what it is about (a pattern), what it says (a pattern).
finds() {
    grep -Eq "^$1  *$2: .*$3" "$out" || fail "no '$1 $2: $3' in: $(cat "$out")"
    test ! -s "$err" || fail "it complains: $(cat "$err")"
}

# The way out, which is the line after a finding.
helps() {
    grep -Eq -- "^         .*$1" "$out" || fail "the way out is not '$1': $(cat "$out")"
}

# ---- The quota ----

etcd_options=(--quota-backend-bytes=$((4 << 20)))
start_etcd
exits 0 shmctl doctor etcd:
finds ok "$etcd_client \(default\)" 'its database has [0-9.]+K?, of 4M that it may have$'
finds ok alarms none
make_large_items
for _ in {1..60}; do
    exits 0 shmctl put -w "$on_etcd/large"
    shmctl doctor etcd: >"$out" 2>"$err" || break
done
finds problem "$etcd_client \(default\)" 'its database has 3[.0-9]*M, of 4M that it may have$'
helps 'compact the history \(etcdctl compact REVISION\), then etcdctl defrag'
helps '--auto-compaction-mode=revision --auto-compaction-retention=10000'
finds ok alarms none
finds ok writes 'one takes'
claim 'a quota that is nearly used up'

for _ in {1..60}; do
    shmctl put -w "$on_etcd/large" <"$input" 2>"$err" || break
done
input=/dev/null
exits 1 shmctl doctor etcd:
finds problem 'alarm NOSPACE' 'has reached its quota: nothing can be put'
helps 'etcdctl compact REVISION.*etcdctl defrag.*etcdctl alarm disarm'
finds ok majority 'there is one'
exits 1 shmctl doctor -r -n -o ABOUT,FINDING etcd:
exits 1 shmctl doctor --json etcd:
grep -q '"about": "alarm NOSPACE"' "$out" || fail "JSON: $(cat "$out")"

# The way out. Taking items writes, too: what is not wanted goes past shmkit.
drop_items large
compact_etcd
ask_etcd maintenance/defragment '{}'
exits 1 shmctl doctor etcd:
finds problem 'alarm NOSPACE' ''
disarm_etcd
exits 0 shmctl doctor etcd:
finds ok alarms none
finds ok compaction 'the last [0-9]+ of [0-9]+ changes are kept'
exits 0 shmctl put "$on_etcd/large" again
kill_etcd
claim 'the alarm NOSPACE, and its way out'

# ---- Servers that do not answer, and what is no server of etcd ----

etcd_options=()
start_etcd
there=$ETCDCTL_ENDPOINTS
ETCDCTL_ENDPOINTS=$there,http://127.0.0.1:1
exits 1 shmctl doctor etcd:
finds problem 'http://127.0.0.1:1' 'it does not answer: '
helps 'see that etcd runs there.*ETCDCTL_ENDPOINTS'
finds ok majority 'there is one, of 1: no server may fail'
ETCDCTL_ENDPOINTS=http://none.invalid:2379
exits 1 shmctl doctor etcd:
finds problem 'http://none.invalid:2379' 'it does not answer: '
finds problem majority 'a read is not answered: '
helps 'start more of the servers'
ETCDCTL_ENDPOINTS=https://${there#http://}
exits 1 shmctl doctor etcd:
finds problem "$ETCDCTL_ENDPOINTS" 'it does not answer: .*does it want http://'
ETCDCTL_ENDPOINTS=$etcd_peer
exits 1 shmctl doctor etcd:
finds problem "$etcd_peer" 'it does not answer as etcd does'
helps 'ETCDCTL_ENDPOINTS'
ETCDCTL_ENDPOINTS=,
exits 1 shmctl doctor etcd:
grep -q '^shmctl: etcd:: .*ETCDCTL_ENDPOINTS' "$err" || fail "it says $(cat "$out" "$err")"
ETCDCTL_ENDPOINTS=$there
kill -STOP "$etcd"
exits 1 shmctl doctor etcd:
finds problem "$etcd_client" 'it does not answer: '
finds problem majority 'a read is not answered: '
kill -CONT "$etcd"
await shmctl doctor etcd:
claim 'a server that does not answer, that is stopped, or that is none'

# ---- Users ----

make_users
allow_clerk "/shmkit/$segment/" "/shmkit/${segment}0"
ask_etcd auth/enable '{}'
exits 1 shmctl doctor etcd:
finds ok majority 'there is one'
finds problem rights 'a read is refused: .*ETCDCTL_USER and ETCDCTL_PASSWORD'
export ETCDCTL_USER=clerk:wrong
exits 1 shmctl doctor etcd:
finds problem rights 'a read is refused: .*authentication failed'
helps 'see ETCDCTL_USER and ETCDCTL_PASSWORD'
ETCDCTL_USER=clerk:secret
exits 0 shmctl doctor etcd:
finds ok writes 'one takes'
finds ok rights 'only segments that its roles name'
ETCDCTL_USER=root:top
exits 0 shmctl doctor etcd:
unset ETCDCTL_USER
kill_etcd
claim 'a user that is missing, that is refused, or that has few rights'

# ---- TLS ----

if ! command -v openssl >/dev/null; then
    echo 'SKIPPED: TLS: there is no openssl'
    exit 0
fi
make_certificates
etcd_scheme=https
etcd_options=(--cert-file "$scratch/server.pem" --key-file "$scratch/server.key")
export ETCDCTL_CACERT=$scratch/ours.pem
start_etcd
exits 0 shmctl doctor etcd:
ETCDCTL_CACERT=$scratch/theirs.pem
exits 1 shmctl doctor etcd:
finds problem "$etcd_client" 'it refuses: .*certificate'
helps 'see ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY'
ETCDCTL_CACERT=$scratch/none.pem
exits 1 shmctl doctor etcd:
finds problem "$etcd_client" 'it refuses: '
helps 'see ETCDCTL_CACERT'
ETCDCTL_CACERT=$scratch/ours.pem
ETCDCTL_ENDPOINTS=http://${etcd_client#https://}
exits 1 shmctl doctor etcd:
finds problem "$ETCDCTL_ENDPOINTS" 'it does not answer: .*does it want https://'
kill_etcd
etcd_options+=(--client-cert-auth --trusted-ca-file "$scratch/ours.pem")
export ETCDCTL_CERT=$scratch/client.pem ETCDCTL_KEY=$scratch/client.key
start_etcd
exits 0 shmctl doctor etcd:
unset ETCDCTL_CERT ETCDCTL_KEY
exits 1 shmctl doctor etcd:
finds problem "$etcd_client" '.*ETCDCTL_CERT'
kill_etcd
claim 'TLS: an authority that is another one, HTTP, and no certificate'
