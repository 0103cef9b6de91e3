#!/bin/bash
# A short soak comes out right; one that is interrupted leaves nothing behind.
set -u
. "$SHMKIT_SRCDIR/tests/processes.sh"
soak=$SHMKIT_TESTDIR/soak/soak
scratch=$(mktemp -d) || exit 1
pid=
clean_up() {
    local status=$?
    test -z "$pid" || { kill -KILL "$pid"; rm -f "/dev/shm/shmkit-soak-$pid"; } 2>/dev/null
    rm -rf "$scratch"
    exit $status
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

fail() {
    cat "$scratch/out"
    echo "FAILED: $*"
    exit 1
}

begin() {
    "$soak" "$@" >"$scratch/out" 2>&1 &
    pid=$!
}

# Everybody is a child of the one that was started.
workers() {
    children "$pid" | wc -l
}

begin -t 10
wait "$pid" || fail "a short soak"
test ! -e "/dev/shm/shmkit-soak-$pid" || fail "a segment is left"
cat "$scratch/out"
test -z "${TEST_CONSOLE-}" ||
    grep -E 'killed and replaced \(|^soak:' "$scratch/out" >&"$TEST_CONSOLE"

for signal in INT TERM HUP; do
    begin -t 500
    for ((i = 0; i < 300; i++)); do
        test -e "/dev/shm/shmkit-soak-$pid" && test "$(workers)" -gt 20 && break
        sleep 0.1
    done
    kill -s "$signal" "$pid"
    wait "$pid"
    status=$?
    test $status = $((128 + $(kill -l $signal))) || fail "after SIG$signal it exits with $status"
    test ! -e "/dev/shm/shmkit-soak-$pid" || fail "after SIG$signal a segment is left"
    test "$(workers)" = 0 || fail "after SIG$signal workers are left"
    grep -q 'interrupted; until then all was right' "$scratch/out" ||
        fail "it does not say that it was interrupted"
    echo "ok: SIG$signal ends it, and nothing is left"
done
pid=
exit 0
