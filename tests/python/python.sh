# shellcheck shell=bash
# What the tests of the module for Python begin with: run or skip. $python is the command.
cd "$SHMKIT_SRCDIR/tests/python" || exit 1
python=${PYTHON:-python3}

skip() {
    echo "SKIPPED $(basename "$0"): $*" | tee /dev/fd/9 2>/dev/null
    exit 77
}

if ! test -e "$SHMKIT_TESTDIR/../lib/python/tree/shmkit/_shmkit.abi3.so"; then
    skip "the module for Python was not built (Debian package: python3-dev)"
fi
# The sanitizer's library has to come first, and Python is not built with it: its own memory is from
# malloc, and what it leaves at its end is not looked for.
case ${SANITIZER_FLAGS-} in
*address*)
    LD_PRELOAD=$($CC -print-file-name=libasan.so)
    ASAN_OPTIONS=detect_leaks=0:${ASAN_OPTIONS-}
    PYTHONMALLOC=malloc
    export LD_PRELOAD ASAN_OPTIONS PYTHONMALLOC
    ;;
*thread*) skip "Python is not built with the thread sanitizer" ;;
esac

# Run each of these commands' last arguments beside the others, and print what they say one after
# the other: together CASE... -- COMMAND...; 1 if one has failed.
together() {
    local cases=() case failed=0 work
    while test "$1" != --; do
        cases+=("$1")
        shift
    done
    shift
    work=$(mktemp -d) || exit 1
    for case in "${cases[@]}"; do
        # shellcheck disable=SC2086
        ("$@" $case >"$work/${case// /-}" 2>&1 </dev/null && echo 0 || echo $?) \
            >"$work/${case// /-}.status" &
    done
    wait
    for case in "${cases[@]}"; do
        echo "==== $* $case"
        cat "$work/${case// /-}"
        test "$(cat "$work/${case// /-}.status")" = 0 || {
            echo "FAILED: $* $case: status $(cat "$work/${case// /-}.status")"
            failed=1
        }
    done
    rm -rf "$work"
    return $failed
}
