#!/bin/bash
# shmctl why: who is deadlocked, who is stranded, who just waits; and nobody who is at work is called stuck.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
two_locks=$SHMKIT_TESTDIR/cli/two_locks

# What it says about the test's segment, in words, one line a time, without pids and times.
why() {
    exits "$1" shmctl why "$segment"
    sed -i -E 's/\([0-9]+\)/(PID)/g; s/, for [0-9.]+(ms|s|m[0-9]+s)$/, for TIME/' "$out"
}

named() {
    shmctl ps -r -n -o NAME,WAITS "$segment" | grep -qx -- "$1 ${2/ /\\\\x20}"
}

exits 4 shmctl why "$segment"
complains "^shmctl: $segment: "
exits 0 shmctl create event "$segment/go"
why 0
prints_nothing
exits 0 shmctl why "$segment" --json
prints '{' '   "blocked": []' '}'
exits 4 shmctl why 2000000000
complains '^shmctl: 2000000000: '
exits 2 shmctl why "$segment/go"
claim 'where nobody is blocked, there is nothing to say'

for lock in a b c d; do
    exits 0 shmctl create lock "$segment/$lock"
done

# They are told in the order of their numbers, which begin again from low ones now and then: not while these are started.
in_order() {
    local last=0 pid
    for pid; do
        ((pid > last)) || return
        last=$pid
    done
}

# 甲 has a and will want b, 乙 has b and will want a; 丙 has c and will want a, and somebody wants c.
start_all() {
    "$two_locks" "$segment" 甲 a b &
    first=$!
    await named 甲 'set go'
    "$two_locks" "$segment" 乙 b a &
    second=$!
    await named 乙 'set go'
    "$two_locks" "$segment" 丙 c a &
    third=$!
    await named 丙 'set go'
    shmctl lock "$segment/c" -- true &
    fourth=$!
    await named shmctl 'acquire c'
}
start_all
until in_order $first $second $third $fourth; do
    kill -KILL $first $second $third $fourth
    for pid in $first $second $third $fourth; do
        ends 137 $pid
    done
    start_all
done
why 6
prints "stranded: 甲 (PID) waits for $segment/go to be set, for TIME" '  no live member is left that could set it' \
    "stranded: 乙 (PID) waits for $segment/go to be set, for TIME" '  no live member is left that could set it' \
    "stranded: 丙 (PID) waits for $segment/go to be set, for TIME" '  no live member is left that could set it' \
    "stranded: shmctl (PID) waits to acquire $segment/c, for TIME" \
    "  held by 丙 (PID), who waits for $segment/go to be set, for TIME" '    no live member is left that could set it'
exits 0 shmctl event set "$segment/go"
await named 甲 'acquire b'
await named 乙 'acquire a'
await named 丙 'acquire a'
why 7
as_expected why-deadlock.txt
exits 7 shmctl why "$segment" -r -n -o VERDICT,NAME,WAITS,WAKERS,CIRCLE
sed -i -E 's/\([0-9]+\)/(PID)/g' "$out"
prints 'deadlocked 甲 acquire\x20b 乙\x20(PID) yes' 'deadlocked 乙 acquire\x20a 甲\x20(PID) yes' \
    'deadlocked 丙 acquire\x20a 甲\x20(PID) no' 'deadlocked shmctl acquire\x20c 丙\x20(PID) no'
exits 7 shmctl why "$segment" --json
as_expected why-deadlock.json
exits 7 shmctl why $first
grep -q '^deadlocked: 甲 ' "$out" || fail "about its process: $(cat "$out")"
not grep -q '丙' "$out" || fail "about its process, and others: $(cat "$out")"
claim 'a circle of locks and holders is a deadlock, and so is what leads into it'

kill -KILL $first
ends 137 $first
for pid in $second $third $fourth; do
    ends 0 $pid
done
why 0
prints_nothing
claim 'it ends when one of them is killed'

# ---- the end of the article's account: the drawer has gone, three depositors are left ----

exits 0 shmctl rm "$segment"
for who in 甲 乙 丙; do
    shmctl demo depositor "$segment/account" --name 存款者$who --times 100 >/dev/null &
done
shmctl demo drawer "$segment/account" --name 取钱者 --times 100 >/dev/null || fail "the drawer exits with $?"
all_asleep() {
    test "$(shmctl ps -r -n -o WAITS "$segment" | grep -c '^notify')" = 3
}
await all_asleep
exits 6 shmctl why "$segment"
sort -o "$out" "$out"
as_expected why-stranded.txt
exits 6 shmctl why "$segment" -r -n -o VERDICT,WAKERS
prints 'stranded -' 'stranded -' 'stranded -'
claim 'who waits for somebody who has gone is stranded, not deadlocked'

# A drawer who is there, but does nothing at the moment: he could still draw.
shmctl demo drawer "$segment/account" --name 取钱者 --times 1000 >/dev/null &
drawer=$!
is_there() {
    shmctl ps -r -n -o NAME "$segment" | grep -qx 取钱者
}
await is_there
depositors_are_stuck() {
    shmctl why "$segment" -r -n -o VERDICT,NAME >"$out"
    grep -q 'deadlocked\|stranded 存款者' "$out"
}
await not depositors_are_stuck
for _ in 1 2 3 4 5; do
    not depositors_are_stuck || fail "while they work, it says $(cat "$out")"
done
kill $drawer
claim 'who takes turns with others is not stuck'

# ---- queues ----

exits 0 shmctl create queue "$segment/jobs" --capacity 1
exits 0 shmctl put "$segment/jobs" 1
# Somebody is at work in the segment, but has nothing to do with the queue.
exits 0 shmctl create lock "$segment/till"
shmctl lock "$segment/till" -- sleep 1h &
holds_till() {
    shmctl ps -r -n -o HOLDS "$segment" | grep -qx till
}
await holds_till
shmctl put "$segment/jobs" 2 &
putter=$!
await waits 'put jobs'
exits 6 shmctl why $putter
grep -q "^stranded: shmctl ($putter) waits to put into $segment/jobs, for " "$out" || fail "it says $(cat "$out")"
grep -qx '  no live member is left that could get from it' "$out" || fail "it says $(cat "$out")"
exits 0 shmctl get "$segment/jobs"
ends 0 $putter
shmctl get "$segment/jobs" -c 2 >/dev/null &
getter=$!
await waits 'get jobs'
shmctl get "$segment/jobs" >/dev/null &
two_wait() {
    test "$(shmctl show -r -n -o WAITERS "$segment/jobs")" = 2
}
await two_wait
exits 6 shmctl why $getter
grep -qx '  no live member is left that could put into it' "$out" || fail "it says $(cat "$out")"
exits 0 shmctl put "$segment/jobs" 3 4
ends 0 $getter
claim 'who waits at a queue whose other end nobody is at is stranded'

# ---- deadlines ----

exits 0 shmctl create event "$segment/late"
shmctl event wait "$segment/late" --timeout 1h &
sleeper=$!
await waits 'set late'
exits 0 shmctl why $sleeper
grep -Eq "^waiting: shmctl \($sleeper\) waits for $segment/late to be set, for [^,]*, with a deadline$" "$out" || fail "it says $(cat "$out")"
exits 0 shmctl why $sleeper -r -n -o VERDICT,DEADLINE
prints 'waiting yes'
# Who has a deadline goes on one day, and may then do what the other waits for.
exits 0 shmctl create event "$segment/never"
shmctl event wait "$segment/never" &
other=$!
await waits 'set never'
exits 6 shmctl why $other
exits 6 shmctl why $other -r -n -o VERDICT,DEADLINE
prints 'stranded no'
kill -KILL $sleeper $other
ends 137 $sleeper
claim 'who has a deadline is not stranded'

# ---- any of several ----

exits 0 shmctl rm "$segment"
exits 0 shmctl create queue "$segment/few"
exits 0 shmctl create queue "$segment/many"
"$SHMKIT_TESTDIR/cli/wait_any" "$segment" few many >"$scratch/any" &
any=$!
await waits 'any of several'
exits 6 shmctl why $any
grep -Eq "^stranded: wait_any \($any\) waits for any of several, the first of them $segment/few, for [0-9.ms]*$" "$out" || fail "it says $(cat "$out")"
grep -qx '  no live member is left that could make one ready' "$out" || fail "it says $(cat "$out")"
exits 0 shmctl create lock "$segment/busy"
shmctl lock "$segment/busy" -- sleep 1h &
worker=$!
holds_busy() {
    shmctl ps -r -n -o HOLDS "$segment" | grep -qx busy
}
await holds_busy
exits 0 shmctl why $any
grep -q '^  .* could make one ready$' "$out" || fail "it says $(cat "$out")"
kill -KILL $worker
exits 0 shmctl put "$segment/many" 1
ends 0 $any
test "$(cat "$scratch/any")" = many || fail "it found $(cat "$scratch/any")"
claim 'who waits for any of several is said to, and could be woken by anybody in the segment'

# ---- scripts ----

exits 0 shmctl rm "$segment"
for lock in a b; do
    exits 0 shmctl create lock "$segment/$lock"
done
mkfifo "$scratch/go1" "$scratch/go2"
start_both() {
    shmctl lock "$segment/a" -- bash -c "read line <'$scratch/go1'; exec shmctl lock '$segment/b' -- true" &
    first=$!
    shmctl lock "$segment/b" -- bash -c "read line <'$scratch/go2'; exec shmctl lock '$segment/a' -- true" &
    second=$!
    exec 3>"$scratch/go1" 4>"$scratch/go2" # which waits until both hold theirs
}
start_both
until in_order $first $second "$(bash -c 'echo $$')"; do
    exec 3>&- 4>&-
    kill $second
    ends 143 $second
    ends 0 $first
    start_both
done
exits 0 shmctl why "$segment"
prints_nothing
echo >&3
await waits 'acquire b'
exits 0 shmctl why "$segment"
sed -i -E 's/\([0-9]+\)/(PID)/g; s/, for [0-9.]+(ms|s|m[0-9]+s)$/, for TIME/' "$out"
prints "waiting: shmctl (PID) waits to acquire $segment/b, for TIME" '  held by shmctl (PID), who is at work'
echo >&4
await waits 'acquire a'
exits 7 shmctl why "$segment"
as_expected why-scripts.txt
exits 7 shmctl why "$segment" -r -n -o VERDICT,WAITS,CIRCLE
sort -o "$out" "$out"
prints 'deadlocked acquire\x20a yes' 'deadlocked acquire\x20b yes' 'deadlocked its\x20command yes' 'deadlocked its\x20command yes'
kill $second
ends 143 $second
ends 0 $first
claim 'two scripts that nest their locks in opposite order are deadlocked'
