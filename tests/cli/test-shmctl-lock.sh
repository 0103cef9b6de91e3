#!/bin/bash
# shmctl lock: the command's exit status, and that the lock is given back in every case.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
lock=$segment/till

is_free() {
    test "$(shmctl ls -r -n -o STATE "$segment")" = free
}

is_held() {
    shmctl ls -r -n -o STATE "$segment" | grep -q '^held'
}

exits 4 shmctl lock "$lock" -- true
complains "^shmctl: $lock: .*; 'shmctl create lock $lock' creates it$"
exits 0 shmctl create lock "$lock"

exits 0 shmctl lock "$lock" -- echo 存款 -x
prints '存款 -x'
exits 7 shmctl lock "$lock" -- sh -c 'exit 7'
exits 137 shmctl lock "$lock" -- sh -c 'kill -KILL $$'
exits 127 shmctl lock "$lock" -- "$scratch/none"
complains "^shmctl: $scratch/none: "
exits 126 shmctl lock "$lock" -- "$scratch"
is_free || fail 'the lock is not free'
claim 'the exit status is the one of the command'

exits 0 shmctl lock "$lock" -- shmctl ps -r -n -o NAME,HOLDS "$segment"
prints 'shmctl till'
shmctl lock "$lock" -- sleep 1h &
holder=$!
await is_held
exits 3 shmctl lock --nowait "$lock" -- echo no
complains "^shmctl: $lock[: ]"
begin=$(date +%s%N)
exits 3 shmctl lock "$lock" --timeout 200ms -- echo no
complains "^shmctl: $lock[: ]"
test $(($(date +%s%N) - begin)) -ge 200000000 || fail 'too early'
shmctl lock "$lock" -- echo next >"$scratch/next" &
next=$!
await waits 'acquire till'
kill -TERM $holder # which passes it on
ends 143 $holder
ends 0 $next
test "$(cat "$scratch/next")" = next || fail 'the next did not run its command'
is_free || fail 'the lock is not free'
claim 'while a command runs the others wait, and no longer than they want'

# A command that ignores Ctrl-C goes on, and keeps the lock until it has ended.
mkfifo "$scratch/fifo"
env --default-signal shmctl lock "$lock" -- sh -c "trap '' INT; echo > '$scratch/fifo'; read line < '$scratch/fifo'; exit 9" &
holder=$!
read -r line <"$scratch/fifo"
kill -INT $holder
is_held || fail 'it was given back before the command ended'
echo >"$scratch/fifo"
ends 9 $holder
is_free || fail 'the lock is not free'
claim 'Ctrl-C is for the command to obey or not'

env --default-signal shmctl lock "$lock" -- sleep 1h &
holder=$!
await is_held
env --default-signal shmctl lock "$lock" -- echo no >"$scratch/said" 2>&1 &
next=$!
await waits 'acquire till'
kill -INT $next
ends 130 $next
test ! -s "$scratch/said" || fail "it says $(cat "$scratch/said")"

pid=$(pgrep -P $holder)
kill -KILL $holder
ends 137 $holder
await not kill -0 "$pid" 2>/dev/null
exits 0 shmctl lock "$lock" -- printenv SHMKIT_ORPHANED
test "$(cat "$out")" = 1 || fail "SHMKIT_ORPHANED=$(cat "$out")"
grep -q "^shmctl: $lock: a former holder died" "$err" || fail "it says $(cat "$err")"
exits 1 shmctl lock "$lock" -- printenv SHMKIT_ORPHANED
prints_nothing
claim 'a killed holder takes its command with it, and the next one is told once'

exits 0 shmctl rm "$lock"
exits 0 shmctl create cond "$segment/changed"
exits 0 shmctl lock "$segment/changed" -- shmctl ps -r -n -o ALIVE,HOLDS "$segment"
grep -qx 'yes changed' "$out" || fail "it prints $(cat "$out")"
exits 0 shmctl create event "$segment/go"
exits 1 shmctl lock "$segment/go" -- true
complains "^shmctl: $segment/go[: ]"
claim 'a condition can be locked, too'
