#!/bin/bash
# shmctl notify and wait.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
cond=$segment/changed

is_held() {
    test "$(shmctl show -r -n -o HOLDER "$cond")" != -
}

waiters() {
    test "$(shmctl show -r -n -o WAITERS "$cond")" = "$1"
}

# So many processes that wait on it, one after the other; they are in $pids.
start_waiters() {
    pids=()
    for ((i = 1; i <= $1; i++)); do
        shmctl wait "$cond" --timeout 1h &
        pids+=($!)
        await waiters $i
    done
}

for verb in notify wait; do
    exits 4 shmctl $verb --no-create "$cond"
    complains "^shmctl: $cond: no such cond; 'shmctl create cond $cond' creates it$"
done
exits 0 shmctl create cond "$cond"
exits 0 shmctl create event "$segment/go"
exits 1 shmctl notify "$segment/go"
complains "^shmctl: $segment/go "
exits 0 shmctl notify "$cond"
prints_nothing
begin=$(date +%s%N)
exits 3 shmctl wait "$cond" -t 200ms
complains "^shmctl: $cond: timed out after 200 ms; the condition was not notified$"
test $(($(date +%s%N) - begin)) -ge 200000000 || fail 'too early'
claim 'what was notified before is not seen'

start_waiters 4
shmctl show "$cond" |
    sed -n 's/^Waiting *//; s/^  *//; s/.*(\([0-9]*\)) for .*/\1/p' >"$scratch/line"
printf '%s\n' "${pids[@]}" | cmp - "$scratch/line" ||
    fail "they stand in line as $(cat "$scratch/line")"
exits 0 shmctl notify "$cond"
prints_nothing
ends 0 "${pids[0]}"
waiters 3 || fail 'not one was woken'
exits 0 shmctl notify "$cond" --count 2
ends 0 "${pids[1]}"
ends 0 "${pids[2]}"
waiters 1 || fail 'not two were woken'
pids=("${pids[3]}")
for i in 2 3; do
    shmctl wait "$cond" &
    pids+=($!)
    await waiters $i
done
exits 0 shmctl notify --all "$cond"
await waiters 0
for pid in "${pids[@]}"; do
    ends 0 "$pid"
done
claim 'notify wakes waiters in order of arrival, one, so many, or all'

shmctl lock "$cond" -- sleep 1h &
holder=$!
await is_held
exits 3 shmctl notify "$cond" --timeout 100ms
complains "^shmctl: $cond: timed out after 100 ms; its lock is held by .*($holder)"
exits 3 shmctl wait "$cond" --timeout 100ms
kill -TERM $holder
ends 143 $holder
env --default-signal shmctl wait "$cond" 2>"$scratch/said" &
pid=$!
await waiters 1
kill -INT $pid
ends 130 $pid
test ! -s "$scratch/said" || fail "it says $(cat "$scratch/said")"
claim 'they wait no longer than they are told to'

orphaned() {
    test "$(shmctl show -r -n -o ORPHANED "$cond")" = yes
}
shmctl wait "$cond" 2>/dev/null &
waiter=$!
await waiters 1
shmctl lock "$cond" -- sh -c 'kill -KILL $PPID' 2>/dev/null
await orphaned
exits 1 shmctl notify "$cond"
complains \
    "^shmctl: $cond: its lock is orphaned: a holder died holding it; the next holder will be told$"
ends 1 $waiter
orphaned || fail 'no later holder will be told'
exits 0 shmctl lock "$cond" -- true
grep -q 'a former holder died' "$err" || fail 'the next one was not told'
exits 0 shmctl notify "$cond"
prints_nothing
claim 'that a holder died is told to the next program, not to shmctl'

# wait --until: each change is made under the lock and notified, and none is lost.
exits 0 shmctl wait "$cond" --until true
prints_nothing
exits 3 shmctl wait "$cond" --until false --nowait
complains "^shmctl: $cond: the test is not true (--nowait)$"
begin=$(date +%s%N)
exits 3 shmctl wait "$cond" --until false --timeout 200ms
complains "^shmctl: $cond: timed out after 200 ms; the test is not true$"
test $(($(date +%s%N) - begin)) -ge 200000000 || fail 'too early'
exits 1 shmctl wait "$cond" --until "'$scratch/none'"
grep -q "^shmctl: $cond: the test exited with 127$" "$err" || fail "it says $(cat "$err")"
exits 1 shmctl wait "$cond" --until 'kill -KILL $$'
complains "^shmctl: $cond: the test was killed by signal 9$"
echo 0 >"$scratch/count"
shmctl wait "$cond" --until "test \$(cat '$scratch/count') -ge 20" &
waiter=$!
await waiters 1
for i in 1 2 3 4 5 6 7 8 9 10; do
    exits 0 shmctl lock "$cond" -- sh -c "echo $((2 * i)) >'$scratch/count'"
    exits 0 shmctl notify "$cond"
done
ends 0 $waiter
exits 0 shmctl lock "$cond" -- shmctl wait --nowait "$segment/other" --until true
claim 'wait --until tests under the lock, at first and after each notify'

shmctl wait "$cond" --until "test -e '$scratch/never'" &
waiter=$!
await waiters 1
touch "$scratch/never" # without a notify
waiters 1 || fail 'it is not notified, and has gone'
exits 0 shmctl notify "$cond"
ends 0 $waiter
shmctl wait "$cond" --until "test -e '$scratch/later'" --timeout 500ms &
waiter=$!
await waiters 1
touch "$scratch/later"
ends 0 $waiter
claim 'when the time is over it is tested once more'

shmctl lock "$cond" -- sh -c 'kill -KILL $PPID' 2>/dev/null
exits 0 shmctl wait "$cond" --until 'test "$SHMKIT_ORPHANED" = 1'
prints_nothing
exits 0 shmctl wait "$cond" --until 'test -z "$SHMKIT_ORPHANED"'
shmctl lock "$cond" -- sh -c 'kill -KILL $PPID' 2>/dev/null
exits 3 shmctl wait "$cond" --until false --nowait
orphaned && fail 'the test was told, and the next one is, too'
env --default-signal shmctl wait "$cond" --until false &
waiter=$!
await waiters 1
kill -INT $waiter
ends 130 $waiter
exits 0 shmctl notify "$cond"
prints_nothing
claim 'the test is told that a holder of the lock has died'
