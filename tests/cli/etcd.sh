# shellcheck shell=bash
# For the tests of shmctl on etcd, after shmctl.sh, which has $scratch and fail(): one server on
# loopback. Where there is none, the test is skipped.
# shellcheck disable=SC2154

if ! command -v etcd >/dev/null; then
    echo 'SKIPPED: there is no etcd (Debian package: etcd-server)'
    exit 77
fi
if ! test -e "$SHMKIT_TESTDIR/../libshmkit-etcd.la"; then
    echo 'SKIPPED: libshmkit-etcd has not been built'
    exit 77
fi

etcd_scheme=http
etcd_options=()

# Its process is $etcd. Started again after a kill it has what it had on its disk.
run_etcd() {
    etcd --data-dir "$scratch/etcd-${etcd_client##*:}" --listen-client-urls "$etcd_client" \
        --advertise-client-urls "$etcd_client" --listen-peer-urls "$etcd_peer" \
        --initial-advertise-peer-urls "$etcd_peer" --initial-cluster "default=$etcd_peer" \
        --logger zap --log-level error "${etcd_options[@]}" >>"$scratch/etcd.log" 2>&1 &
    etcd=$!
}

# Ask the server, past shmctl: PATH BODY. The reply, which has to be a good one, goes to $out.
ask_etcd() {
    local port=${etcd_client##*:}

    exec 9<>"/dev/tcp/127.0.0.1/$port" || fail 'no server'
    printf 'POST /v3/%s HTTP/1.0\r\n%s%s\r\n\r\n%s' "$1" \
        "${etcd_token:+Authorization: $etcd_token$'\r\n'}" "Content-Length: ${#2}" "$2" >&9
    cat <&9 >"$out"
    exec 9>&-
    grep -q '^HTTP/1.. 200' "$out" || fail "etcd does not take $1 $2: $(cat "$out")"
}

kill_etcd() {
    kill -KILL "$etcd"
    wait "$etcd" 2>/dev/null
    return 0 # and not 137
}

# A port that no other process has: etcd ends at once if it is taken.
start_etcd() {
    for _ in {1..20}; do
        etcd_client=$etcd_scheme://127.0.0.1:$((20000 + RANDOM % 20000))
        etcd_peer=http://127.0.0.1:$((20000 + RANDOM % 20000))
        run_etcd
        export ETCDCTL_ENDPOINTS=$etcd_client
        for _ in {1..20}; do
            kill -0 "$etcd" 2>/dev/null || continue 2
            shmctl create event etcd:shmkit-test/there 2>/dev/null && return
        done
    done
    fail 'etcd does not start'
}

# For TLS, by openssl: in $scratch an authority, ours.pem, another one, theirs.pem, and what ours
# has signed: server.pem and client.pem. Each has its .key.
make_authority() { # NAME
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
        -subj "/CN=$1" -keyout "$scratch/$1.key" -out "$scratch/$1.pem" 2>/dev/null ||
        fail 'openssl'
}
sign() { # NAME
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
        -keyout "$scratch/$1.key" -out "$scratch/$1.csr" 2>/dev/null || fail 'openssl'
    echo subjectAltName=IP:127.0.0.1 >"$scratch/san"
    openssl x509 -req -in "$scratch/$1.csr" -CA "$scratch/ours.pem" -CAkey "$scratch/ours.key" \
        -CAcreateserial -days 2 -extfile "$scratch/san" -out "$scratch/$1.pem" 2>/dev/null ||
        fail 'openssl'
}
make_certificates() {
    make_authority ours
    make_authority theirs
    sign server
    sign client
}
