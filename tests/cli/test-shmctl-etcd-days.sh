#!/bin/bash
# shmctl on etcd: TLS, users and roles, and a quota that is used up.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
. "$SHMKIT_SRCDIR/tests/cli/etcd.sh"

on_etcd=etcd:$segment

# ---- Users ----

users() { # TOKENS
    start_etcd
    exits 0 shmctl put "$on_etcd/jobs" before
    make_users
    allow_clerk "/shmkit/$segment"
    allow_clerk "/shmkit/$segment/" "/shmkit/${segment}0"
    ask_etcd auth/enable '{}'
    exits 1 shmctl get --nowait "$on_etcd/jobs"
    complains "refuses: .*user name is empty (ETCDCTL_USER and ETCDCTL_PASSWORD)"
    export ETCDCTL_USER=clerk ETCDCTL_PASSWORD=wrong
    exits 1 shmctl get --nowait "$on_etcd/jobs"
    complains "refuses: .*authentication failed.*(ETCDCTL_USER and ETCDCTL_PASSWORD)"
    export ETCDCTL_PASSWORD=secret
    exits 0 shmctl get --nowait "$on_etcd/jobs"
    prints before
    exits 1 shmctl put "$on_etcd-other/jobs" item
    complains "refuses: .*permission denied"
    unset ETCDCTL_PASSWORD
    ETCDCTL_USER=clerk:secret
    exits 0 shmctl put "$on_etcd/jobs" after
    exits 0 shmctl lock "$on_etcd/till" -- true
    claim "users and roles, $1: a bad password, and rights that are missing, are a sentence"
}

# What a process has open goes on when its token is not known any more: the server has been started
# again, or a role was changed.
has() {
    grep -qx "$1" "$scratch/items"
}
renewed() { # TOKENS
    shmctl get -f "$on_etcd/jobs" >"$scratch/items" 2>"$scratch/get.err" &
    consumer=$!
    await has after
    kill_etcd
    run_etcd
    exits 0 shmctl put "$on_etcd/jobs" restarted
    await has restarted
    ask_etcd auth/authenticate '{"name":"root","password":"top"}'
    etcd_token=$(sed -n 's/.*"token":"\([^"]*\)".*/\1/p' "$out")
    allow_clerk /shmkit/more
    await shmctl put "$on_etcd/jobs" changed
    await has changed
    exits 0 shmctl put "$on_etcd/jobs" again
    await has again
    exits 0 shmctl shutdown "$on_etcd/jobs"
    ends 0 $consumer
    test ! -s "$scratch/get.err" || fail "it complains: $(cat "$scratch/get.err")"
    claim "$1: a token that is not good any more is renewed"
    kill_etcd
    unset ETCDCTL_USER etcd_token
}

users 'simple tokens'
renewed 'simple tokens'
if command -v openssl >/dev/null; then
    openssl genrsa -out "$scratch/jwt.key" 2048 2>/dev/null || fail 'openssl'
    openssl rsa -in "$scratch/jwt.key" -pubout -out "$scratch/jwt.pub" 2>/dev/null || fail 'openssl'
    etcd_options=(--auth-token
        "jwt,pub-key=$scratch/jwt.pub,priv-key=$scratch/jwt.key,sign-method=RS256,ttl=5s")
    users 'signed tokens'
    renewed 'signed tokens'
fi

# ---- The quota ----

etcd_options=(--quota-backend-bytes=$((4 << 20)))
start_etcd
make_large_items
for _ in {1..100}; do
    shmctl put -w "$on_etcd/large" <"$input" 2>"$err" || break
done
input=/dev/null
grep -q 'is full: .*database space exceeded: .*compact.*alarm disarm' "$err" ||
    fail "no way out: $(cat "$err")"
exits 0 shmctl put "$segment/spool" kept
exits 3 shmctl bridge --once -t 1s "$segment/spool" "$on_etcd/large"
grep -q 'database space exceeded' "$err" || fail "$(cat "$err")"
# as the sentence says; what has been put stays
compact_etcd
drop_items large
compact_etcd
ask_etcd maintenance/defragment '{}'
disarm_etcd
exits 0 shmctl bridge --once "$segment/spool" "$on_etcd/large"
prints 1
exits 0 shmctl get "$on_etcd/large"
prints kept
claim 'a quota that is used up: a sentence with the way out'
kill_etcd
etcd_options=()

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
exits 0 shmctl put "$on_etcd/jobs" one
exits 0 shmctl get "$on_etcd/jobs"
prints one
ETCDCTL_CACERT=$scratch/theirs.pem
exits 1 shmctl get --nowait "$on_etcd/jobs"
complains "^shmctl: .*etcd at $etcd_client: .*certificate"
ETCDCTL_CACERT=$scratch/none.pem
exits 1 shmctl get --nowait "$on_etcd/jobs"
complains "^shmctl: .*etcd at $etcd_client: .*ETCDCTL_CACERT"
unset ETCDCTL_CACERT
exits 1 shmctl get --nowait "$on_etcd/jobs"
complains "^shmctl: .*etcd at $etcd_client: .*certificate"
ETCDCTL_ENDPOINTS=http://${etcd_client#https://}
exits 1 shmctl get --nowait "$on_etcd/jobs"
complains "^shmctl: .*does it want https://"
claim 'TLS: the authority of another one is refused, and so is HTTP'
kill_etcd

etcd_options+=(--client-cert-auth --trusted-ca-file "$scratch/ours.pem")
export ETCDCTL_CACERT=$scratch/ours.pem
export ETCDCTL_CERT=$scratch/client.pem ETCDCTL_KEY=$scratch/client.key
start_etcd
exits 0 shmctl put "$on_etcd/jobs" one
exits 0 shmctl get "$on_etcd/jobs"
prints one
unset ETCDCTL_CERT ETCDCTL_KEY
exits 1 shmctl get --nowait "$on_etcd/jobs"
claim 'TLS: a certificate of the client'
kill_etcd
