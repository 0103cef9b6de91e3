#!/bin/bash
# shmctl on etcd: TLS, users and roles, and a quota that is used up.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
. "$SHMKIT_SRCDIR/tests/cli/etcd.sh"

on_etcd=etcd:$segment

base64_of() {
    printf '%s' "$1" | base64 -w 0
}

# ---- Users ----

# A client's user, with rights on one segment.
allow() { # FROM [TO]
    ask_etcd auth/role/grant "{\"name\":\"bank\",\"perm\":{\"permType\":\"READWRITE\",\"key\":\"$(
        base64_of "$1"
    )\"${2:+,\"range_end\":\"$(base64_of "$2")\"}}}"
}
users() { # TOKENS
    start_etcd
    exits 0 shmctl put "$on_etcd/jobs" before
    ask_etcd auth/user/add '{"name":"root","password":"top"}'
    ask_etcd auth/role/add '{"name":"root"}'
    ask_etcd auth/user/grant '{"user":"root","role":"root"}'
    ask_etcd auth/user/add '{"name":"clerk","password":"secret"}'
    ask_etcd auth/role/add '{"name":"bank"}'
    ask_etcd auth/user/grant '{"user":"clerk","role":"bank"}'
    allow "/shmkit/$segment"
    allow "/shmkit/$segment/" "/shmkit/${segment}0"
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
    allow /shmkit/more
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
exits 0 shmctl create queue "$on_etcd/large" --item-size 200K
head -c 100000 /dev/zero | tr '\0' x >"$scratch/item"
input=$scratch/item
for _ in {1..100}; do
    shmctl put -w "$on_etcd/large" <"$input" 2>"$err" || break
done
input=/dev/null
grep -q 'is full: .*database space exceeded: .*compact.*alarm disarm' "$err" ||
    fail "no way out: $(cat "$err")"
exits 0 shmctl put "$segment/spool" kept
exits 3 shmctl bridge --once -t 1s "$segment/spool" "$on_etcd/large"
grep -q 'database space exceeded' "$err" || fail "$(cat "$err")"
ask_etcd kv/range "{\"key\":\"AA==\"}"
revision=$(sed -n 's/.*"revision":"\([0-9]*\)".*/\1/p' "$out")
# as the sentence says; what has been put stays
ask_etcd kv/compaction "{\"revision\":\"$revision\",\"physical\":true}"
ask_etcd kv/deleterange "{\"key\":\"$(base64_of "/shmkit/$segment/large/slot/")\",\"range_end\":\"$(
    base64_of "/shmkit/$segment/large/slot0"
)\"}"
ask_etcd kv/range "{\"key\":\"AA==\"}"
revision=$(sed -n 's/.*"revision":"\([0-9]*\)".*/\1/p' "$out")
ask_etcd kv/compaction "{\"revision\":\"$revision\",\"physical\":true}"
ask_etcd maintenance/defragment '{}'
ask_etcd maintenance/alarm '{"action":"GET"}'
server=$(sed -n 's/.*"memberID":"\([0-9]*\)".*/\1/p' "$out")
ask_etcd maintenance/alarm \
    "{\"action\":\"DEACTIVATE\",\"memberID\":\"$server\",\"alarm\":\"NOSPACE\"}"
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
