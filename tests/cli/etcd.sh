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

base64_of() {
    printf '%s' "$1" | base64 -w 0
}

# Delete the history.
compact_etcd() {
    ask_etcd kv/range '{"key":"AA=="}'
    ask_etcd kv/compaction \
        "{\"revision\":\"$(sed -n 's/.*"revision":"\([0-9]*\)".*/\1/p' "$out")\",\"physical\":true}"
}

# A queue on etcd for items that use up a small quota; one of them is $input.
make_large_items() {
    exits 0 shmctl create queue "$on_etcd/large" --item-size 200K
    head -c 100000 /dev/zero | tr '\0' x >"$scratch/item"
    input=$scratch/item
}

# Taking items writes, too: those of a queue that are not wanted go past shmkit.
drop_items() { # QUEUE
    ask_etcd kv/deleterange "{\"key\":\"$(
        base64_of "/shmkit/$segment/$1/slot/"
    )\",\"range_end\":\"$(base64_of "/shmkit/$segment/$1/slot0")\"}"
}

# End the alarm that a quota is used up.
disarm_etcd() {
    ask_etcd maintenance/alarm '{"action":"GET"}'
    ask_etcd maintenance/alarm "{\"action\":\"DEACTIVATE\",\"alarm\":\"NOSPACE\",\"memberID\":\"$(
        sed -n 's/.*"memberID":"\([0-9]*\)".*/\1/p' "$out"
    )\"}"
}

# root:top, which may do anything, and clerk:secret, whose role allow_clerk() makes.
make_users() {
    ask_etcd auth/user/add '{"name":"root","password":"top"}'
    ask_etcd auth/role/add '{"name":"root"}'
    ask_etcd auth/user/grant '{"user":"root","role":"root"}'
    ask_etcd auth/user/add '{"name":"clerk","password":"secret"}'
    ask_etcd auth/role/add '{"name":"bank"}'
    ask_etcd auth/user/grant '{"user":"clerk","role":"bank"}'
}
allow_clerk() { # FROM [TO]
    ask_etcd auth/role/grant "{\"name\":\"bank\",\"perm\":{\"permType\":\"READWRITE\",\"key\":\"$(
        base64_of "$1"
    )\"${2:+,\"range_end\":\"$(base64_of "$2")\"}}}"
}

# Does a member of $on_etcd wait so?
waits_so() {
    shmctl ps -n -r -o WAITS "$on_etcd" 2>/dev/null | grep -qx -- "${1// /\\\\x20}"
}

# Two members, each of which holds a lock and waits for the other one's.
start_circle() { # LOCK LOCK
    shmctl --name first lock "$on_etcd/$1" -- sh -c \
        "until test -e '$scratch/second'; do sleep 0.05; done
        exec shmctl lock '$on_etcd/$2' -- true" &
    first=$!
    shmctl --name second lock "$on_etcd/$2" -- sh -c \
        "touch '$scratch/second'; exec shmctl lock '$on_etcd/$1' -- true" &
    second=$!
    await waits_so "acquire $1"
    await waits_so "acquire $2"
}
end_circle() {
    kill "$first" "$second"
    wait "$first" "$second" 2>/dev/null
    return 0 # and not 143
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
