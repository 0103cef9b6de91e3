#!/bin/bash
# make bench still measures: every workload once, as short as can be. Speed is not judged here.
set -u
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

"$SHMKIT_TESTDIR/bench/bench" --smoke --json="$work/bench.json" --results="$work/RESULTS.md" \
    >"$work/table" 2>"$work/errors" </dev/null &
bench=$!
wait $bench
result=$?
cat "$work/table" "$work/errors"

failed=0
fail() {
    echo "FAILED: $1"
    failed=1
}
test $result = 0 || fail "it ended with status $result"
for workload in $("$SHMKIT_TESTDIR/bench/bench" --list | awk '{ print $1 }'); do
    grep -q "\"workload\": \"$workload\".*\"is\": \"shmkit\".*\[[0-9.e+-]*\]" "$work/bench.json" ||
        fail "$workload has no figure of shmkit"
    grep -q "^### $workload: " "$work/RESULTS.md" || fail "$workload is not in the long account"
done
"$SHMKIT_TESTDIR/bench/bench-without" --smoke --without=slip,handoff \
    >"$work/without" 2>"$work/errors" ||
    fail "bench-without ended with status $?"
grep -q "shmkit, 8 B, pinned .* gain " "$work/without" || fail "nothing is said of what slip brings"
leftovers=$(ls /dev/shm | grep "^shmkit-bench-$bench\b")
test -z "$leftovers" || fail "left in /dev/shm: $leftovers"
exit $failed
