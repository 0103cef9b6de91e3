#!/bin/bash
# Any bytes at all can be looked at: from real segments, made here, the fuzz target goes on for
# $FUZZ_SECONDS; then shmctl's verbs look at damaged segments.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
seconds=${FUZZ_SECONDS:-20}
found=$SHMKIT_TESTDIR/fuzz/found
corpus=$scratch/corpus

mkdir "$corpus"
exits 0 "$SHMKIT_TESTDIR/fuzz/segments" "$corpus" "$segment"
test "$(ls "$corpus")" = "$(printf '%s\n' dead empty filled objects retired waiting)" ||
    fail "the corpus is $(ls "$corpus")"
size=$(du -b "$corpus"/* | awk '{ n++; sum += $1 } END { print n, "files,", sum, "bytes" }')
claim "a corpus of real segments: $size"

# What was looked at last is still in /dev/shm; cp leaves its holes out.
keep_and_fail() {
    tail -n 60 "$out"
    cp --sparse=always "/dev/shm/$segment-fuzz" "$found" && echo "the segment is kept: $found"
    fail "$*"
}

export FUZZ_SEGMENT=$segment-fuzz
case $FUZZER in
libfuzzer)
    # No look takes 10 seconds or 128 MiB in one piece: the largest tables that there can be take 33
    # MiB.
    "$SHMKIT_TESTDIR/fuzz/inspect" -max_total_time="$seconds" -timeout=10 \
        -malloc_limit_mb=128 -rss_limit_mb=1024 -max_len=400000 -len_control=0 \
        -print_final_stats=1 -artifact_prefix="$scratch/" "$corpus" >"$out" 2>&1 ||
        keep_and_fail "the fuzz target ends with status $?"
    units=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out")
    claim "libFuzzer: $units segments inspected in $seconds s," \
        "$(sed -n 's/.*DONE *\(cov: [0-9]*\).*/\1/p' "$out")"
    ;;
*)
    "$SHMKIT_TESTDIR/fuzz/inspect" "$seconds" "$corpus"/* >"$out" 2>&1 ||
        keep_and_fail "the fuzz target ends with status $?"
    claim "$(cat "$out") in $seconds s, without libFuzzer, flags: $FUZZ_FLAGS"
    ;;
esac
rm -f "/dev/shm/$segment"*

# ---- shmctl ----

# It ends by itself, whatever it says, and says it in text: nothing that a terminal would obey.
looks() {
    local status
    timeout 30 shmctl "$@" >"$out" 2>"$err" </dev/null
    status=$?
    case $status in
    0 | 1 | 2 | 4 | 6 | 7) ;;
    *)
        cp --sparse=always "/dev/shm/$segment" "$found"
        fail "shmctl $* ends with status $status; $found: $(cat "$err")"
        ;;
    esac
    ! LC_ALL=C grep -q '[[:cntrl:]]' "$out" "$err" || fail "shmctl $*: control characters"
    iconv -f UTF-8 -t UTF-8 "$out" "$err" >/dev/null || fail "shmctl $*: not UTF-8"
}

samples=("$corpus"/*)
for seed in {1..40}; do
    "$SHMKIT_TESTDIR/fuzz/damaged" "${samples[seed % ${#samples[@]}]}" $seed >"/dev/shm/$segment"
    looks ls --all
    looks ls "$segment"
    looks ls "$segment" --json
    looks ps "$segment"
    looks ps "$segment" --json
    looks doctor
    for object in full ranked changed; do
        looks show "$segment/$object"
    done
done
claim 'shmctl ls, ps, show and doctor look at 40 damaged segments'

# why takes two snapshots of the waiters, with a pause between them.
for seed in {41..50}; do
    "$SHMKIT_TESTDIR/fuzz/damaged" "$corpus/waiting" $seed >"/dev/shm/$segment"
    looks why "$segment"
    looks why "$segment" --json
done
claim 'shmctl why looks at 10 damaged segments'
