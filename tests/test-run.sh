#!/bin/bash
# tests/run, which runs every test: the status is the test's, its time has an end, and nothing that
# it has started is left.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
run=$SHMKIT_TESTDIR/run

# Processes that were started with $scratch in their environment, but for this one and what asks.
mine() {
    local file
    for file in /proc/[0-9]*/environ; do
        { grep -qa "^MARK=$scratch$" <(tr '\0' '\n' <"$file"); } 2>/dev/null &&
            cat "${file%/environ}/comm" 2>/dev/null
    done
}

# No process is left that has the mark.
left_nothing() {
    local left
    left=$(mine)
    test -z "$left" || fail "$1: there is still $left"
}

started() {
    test "$(mine | grep -c sleep)" = "$1"
}

exits 0 "$run" 60 true
exits 7 "$run" 60 sh -c 'exit 7'
exits 77 "$run" 60 sh -c 'exit 77'
exits 1 "$run" 60 sh -c 'kill -KILL $$'
grep -q '^FAILED: ended by Killed$' "$out" || fail "it says $(cat "$out")"
exits 127 "$run" 60 "$scratch/none"
exits 2 "$run"
claim "the status is the test's"

exits 0 env --ignore-signal=HUP,INT,QUIT "$run" 60 env --list-signal-handling true
not grep -E '(HUP|INT|QUIT).*IGNORE' "$err" || fail "it says $(cat "$err")"
not grep -E '(HUP|INT|QUIT).*IGNORE' "$out" || fail "it says $(cat "$out")"
claim 'a test may be interrupted, though make was started in the background'

export MARK=$scratch # of what follows, in the environment
exits 1 env "$run" 60 bash -c 'setsid sleep 1h & disown; exit 0'
grep -q '^left running: sleep (' "$out" && grep -q '^FAILED: it has left' "$out" ||
    fail "it says $(cat "$out")"
left_nothing 'a test that leaves a process'
exits 0 "$run" 60 bash -c 'sleep 0.3 & disown; exit 0'
claim 'a test that leaves a process has failed, and it is killed; one that ends soon is none'

exits 1 "$run" 1 bash -c "trap '' TERM; sleep 1h"
grep -q '^FAILED: it has not ended after 1 s$' "$out" || fail "it says $(cat "$out")"
left_nothing 'a test whose time is over'
claim 'the time of a test has an end'

for signal in HUP INT TERM; do
    env --default-signal "$run" 600 \
        bash -c 'timeout 600 sleep 1h & setsid sleep 1h & wait' >"$out" &
    await started 2
    kill -s $signal $!
    ends $((128 + $(kill -l $signal))) $!
    left_nothing "SIG$signal"
done
claim 'a signal ends the test and what it has started, whatever process group that is in'

# The keyboard: Ctrl-C goes to the foreground process group of the terminal. A make that runs tests
# on a terminal.
if ! script -qec true /dev/null </dev/null >/dev/null 2>&1; then
    claim 'not tried: Ctrl-C, there is no terminal to be had from script(1)'
    exit 0
fi
cat >"$scratch/Makefile" <<END
all: one two
one two:
	@sh -c "'$run' 600 bash -c 'timeout 600 sleep 1h; echo goes on'; exit \$\$?"
END
mkfifo "$scratch/keys"
timeout 120 script -qec "exec make -j2 -f '$scratch/Makefile'" /dev/null \
    <"$scratch/keys" >"$out" 2>&1 &
terminal=$!
exec 8>"$scratch/keys"
await started 2
printf '\003' >&8
await not started 2
exec 8>&-
ends 130 $terminal
not grep -q 'goes on' "$out" || fail "a test goes on: $(cat "$out")"
left_nothing 'Ctrl-C'
claim 'one Ctrl-C ends all tests that run, and nothing is left'
