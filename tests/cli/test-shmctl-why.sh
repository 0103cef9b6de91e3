#!/bin/bash
# shmctl why: what is deadlocked, stranded, stalled, or just waits; and nothing that is at work is
# called stuck.
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
claim 'where no member is blocked, there is nothing to say'

for lock in a b c d; do
    exits 0 shmctl create lock "$segment/$lock"
done

# They are told in the order of their numbers, which begin again from low ones now and then: not
# while these are started.
in_order() {
    local last=0 pid
    for pid; do
        ((pid > last)) || return
        last=$pid
    done
}

# 甲 has a and will want b, 乙 has b and will want a; 丙 has c and will want a, and a fourth wants c.
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
    await named "$script" 'acquire c'
}
start_all
until in_order $first $second $third $fourth; do
    kill -KILL $first $second $third $fourth
    for pid in $first $second $third $fourth; do
        ends 137 $pid
    done
    start_all
done
nothing='nothing is attached now that could'
why 0
prints "waiting: 甲 (PID) waits for $segment/go to be set, for TIME" "  $nothing set it" \
    "waiting: 乙 (PID) waits for $segment/go to be set, for TIME" "  $nothing set it" \
    "waiting: 丙 (PID) waits for $segment/go to be set, for TIME" "  $nothing set it" \
    "waiting: $script (PID) waits to acquire $segment/c, for TIME" \
    "  held by 丙 (PID), which waits for $segment/go to be set, for TIME" "    $nothing set it"
exits 0 shmctl event set "$segment/go"
await named 甲 'acquire b'
await named 乙 'acquire a'
await named 丙 'acquire a'
why 7
as_expected why-deadlock.txt
exits 7 shmctl why "$segment" -r -n -o VERDICT,NAME,WAITS,WAKERS,CIRCLE
sed -i -E 's/\([0-9]+\)/(PID)/g' "$out"
prints 'deadlocked 甲 acquire\x20b 乙\x20(PID) yes' 'deadlocked 乙 acquire\x20a 甲\x20(PID) yes' \
    'deadlocked 丙 acquire\x20a 甲\x20(PID) no' "deadlocked $script acquire\x20c 丙\x20(PID) no"
exits 7 shmctl why "$segment" --json
# each looks after its wait now and then
sed -i 's/"holder-state": "running"/"holder-state": "sleeping"/' "$out"
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
for name in 甲 乙 丙; do
    shmctl demo depositor "$segment/account" --name 存款者$name --times 100 >/dev/null &
done
shmctl demo drawer "$segment/account" --name 取钱者 --times 100 >/dev/null ||
    fail "the drawer exits with $?"
all_asleep() {
    test "$(shmctl ps -r -n -o WAITS "$segment" | grep -c '^notify')" = 3
}
await all_asleep
exits 0 shmctl why "$segment"
sort -o "$out" "$out"
as_expected why-waiting.txt
exits 0 shmctl why "$segment" -r -n -o VERDICT,WAKERS
prints 'waiting -' 'waiting -' 'waiting -'
claim 'what waits for a member that has left in order is not stranded: another may come'

# A drawer that is there, but does nothing at the moment: it could still draw.
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
claim 'a member that takes turns with others is not stuck'

# ---- queues ----

exits 0 shmctl create queue "$segment/jobs" --capacity 1
exits 0 shmctl put "$segment/jobs" 1
# A member is at work in the segment, but has nothing to do with the queue.
exits 0 shmctl create lock "$segment/till"
shmctl lock "$segment/till" -- sleep 1h &
holds_till() {
    shmctl ps -r -n -o HOLDS "$segment" | grep -qx till
}
await holds_till
shmctl put "$segment/jobs" 2 &
putter=$!
await waits 'put jobs'
exits 0 shmctl why $putter
grep -q "^waiting: $script ($putter) waits to put into $segment/jobs, for " "$out" ||
    fail "it says $(cat "$out")"
grep -qx "  $nothing get from it" "$out" || fail "it says $(cat "$out")"
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
exits 0 shmctl why $getter
grep -qx "  $nothing put into it" "$out" || fail "it says $(cat "$out")"
exits 0 shmctl put "$segment/jobs" 3 4
ends 0 $getter
claim 'workers that idle at an empty queue are waiting, though no producer is attached'

# A producer that puts and is killed, with workers left.
exits 0 shmctl create queue "$segment/orders"
shmctl --name worker get --follow "$segment/orders" >/dev/null &
worker=$!
await waits 'get orders'
mkfifo "$scratch/orders"
shmctl --name producer put --stdin "$segment/orders" <"$scratch/orders" &
producer=$!
exec 3>"$scratch/orders"
echo order >&3
has_got() {
    test "$(shmctl show -r -n -o GETS,WAITERS "$segment/orders")" = "$1 1"
}
await has_got 1
exits 0 shmctl why $worker
grep -q '^  .* could put into it$' "$out" || fail "it says $(cat "$out")"
kill -KILL $producer
exec 3>&-
ends 137 $producer
exits 6 shmctl why $worker
grep -q "^stranded: worker ($worker) waits to get from $segment/orders, for " "$out" ||
    fail "it says $(cat "$out")"
grep -qx "  $nothing put into it; producer ($producer) has died" "$out" ||
    fail "it says $(cat "$out")"
exits 6 shmctl why $worker -r -n -o VERDICT,WAKERS
prints 'stranded -'
died() {
    shmctl ps "$segment" -r -n -o NAME,DIED | grep -qE '^producer [0-9]{4}-'
}
await died
shmctl ps "$segment" -r -n -o ALIVE >"$scratch/order"
sort -r "$scratch/order" | cmp - "$scratch/order" ||
    fail "the dead are not below the living: $(cat "$scratch/order")"
exits 0 shmctl put "$segment/orders" another
await has_got 2
exits 0 shmctl why $worker
exits 0 shmctl shutdown "$segment/orders"
ends 0 $worker
claim 'what waits for a producer that died is stranded, until another has come'

# ---- deadlines ----

exits 0 shmctl create event "$segment/late"
shmctl event wait "$segment/late" --timeout 1h &
sleeper=$!
await waits 'set late'
exits 0 shmctl why $sleeper
wait="waits for $segment/late to be set"
grep -Eq "^waiting: $script \($sleeper\) $wait, for [^,]*, with a deadline$" "$out" ||
    fail "it says $(cat "$out")"
exits 0 shmctl why $sleeper -r -n -o VERDICT,DEADLINE
prints 'waiting yes'
# A waiter with a deadline goes on one day, and may then do what the other waits for.
exits 0 shmctl create event "$segment/never"
shmctl event wait "$segment/never" &
other=$!
await waits 'set never'
exits 0 shmctl why $other -r -n -o VERDICT,DEADLINE
prints 'waiting no'
kill -KILL $sleeper $other
ends 137 $sleeper
claim 'what has a deadline is not stranded'

# ---- any of several ----

exits 0 shmctl rm "$segment"
exits 0 shmctl create queue "$segment/few"
exits 0 shmctl create queue "$segment/many"
"$SHMKIT_TESTDIR/cli/wait_any" "$segment" few many >"$scratch/any" &
any=$!
await waits 'any of several'
exits 0 shmctl why $any
wait="waits for any of several, the first of them $segment/few"
grep -Eq "^waiting: wait_any \($any\) $wait, for [0-9.ms]*$" "$out" ||
    fail "it says $(cat "$out")"
grep -qx "  $nothing make one ready" "$out" || fail "it says $(cat "$out")"
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
claim 'a member that waits for any of several is said to, and any member could wake it'

# ---- scripts ----

exits 0 shmctl rm "$segment"
for lock in a b; do
    exits 0 shmctl create lock "$segment/$lock"
done
mkfifo "$scratch/go1" "$scratch/go2"
start_both() {
    shmctl lock "$segment/a" -- bash \
        -c "read line <'$scratch/go1'; exec shmctl lock '$segment/b' -- true" &
    first=$!
    shmctl lock "$segment/b" -- bash \
        -c "read line <'$scratch/go2'; exec shmctl lock '$segment/a' -- true" &
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
sed -i -E 's/\([0-9]+\)/(PID)/g; s/ for [0-9.]+(ms|s|m[0-9]+s)\b/ for TIME/g
    s/sleeps$/has slept for TIME/' "$out"
prints "waiting: $script (PID) waits to acquire $segment/b, for TIME" \
    "  held by $script (PID) for TIME, which has slept for TIME"
echo >&4
await waits 'acquire a'
exits 7 shmctl why "$segment"
as_expected why-scripts.txt
exits 7 shmctl why "$segment" -r -n -o VERDICT,WAITS,CIRCLE
sort -o "$out" "$out"
prints 'deadlocked acquire\x20a yes' 'deadlocked acquire\x20b yes' 'deadlocked its\x20command yes' \
    'deadlocked its\x20command yes'
kill $second
ends 143 $second
ends 0 $first
claim 'two scripts that nest their locks in opposite order are deadlocked'

# The same with shells between a lock and the command that wants the next one, as scripts have it.
cat >"$scratch/inner.sh" <<'END'
shmctl --name "$1" lock "$2" -- true
true
END
cat >"$scratch/outer.sh" <<'END'
read -r line <"$1"
(bash "$2" "$3" "$4"; true)
true
END
# So it exits and such a line it prints, at the latest when the shells above what waits sleep, too.
says() { # STATUS PATTERN
    shmctl why "$segment" >"$out" 2>"$err"
    test $? = "$1" && grep -Eq "$2" "$out"
}
start_with_shells() {
    shmctl --name left lock "$segment/a" -- bash "$scratch/outer.sh" "$scratch/go1" \
        "$scratch/inner.sh" left-inner "$segment/b" &
    first=$!
    shmctl --name right lock "$segment/b" -- sh "$scratch/outer.sh" "$scratch/go2" \
        "$scratch/inner.sh" right-inner "$segment/a" &
    second=$!
    exec 3>"$scratch/go1" 4>"$scratch/go2"
}
start_with_shells
echo >&3
await named left-inner 'acquire b'
# One of two waits: the other's command reads from a pipe, and is at work for all that is known.
exits 0 shmctl why "$segment"
grep -q "^  held by right ($second) for [0-9.ms]*, which \(has slept\|sleeps\)" "$out" ||
    fail "it says $(cat "$out")"
echo >&4
await named right-inner 'acquire a'
await says 7 '^deadlocked: '
test "$(grep -c '^deadlocked: ' "$out")" = 1 || fail "it says $(cat "$out")"
grep -Eq "^ +in which left-inner \([0-9]+\) waits to acquire $segment/b, for " "$out" ||
    fail "it says $(cat "$out")"
grep -Eq "^ +in which right-inner \([0-9]+\) waits to acquire $segment/a, for " "$out" ||
    fail "it says $(cat "$out")"
grep -q ', which closes the circle$' "$out" || fail "it says $(cat "$out")"
exits 7 shmctl why "$segment" -r -n -o VERDICT,CIRCLE
sort -u -o "$out" "$out"
prints 'deadlocked yes'
kill $second
ends 143 $second
ends 0 $first
nothing_waits() {
    not waits '.*'
}
await nothing_waits
claim 'so they are whatever shells stand between'

# As long as one process below the holder is at work, nothing is deadlocked.
shmctl lock "$segment/a" -- bash -c "read -r line <'$scratch/go1'
    shmctl lock '$segment/b' -- true &
    read -r line <'$scratch/go1'
    kill \$!" &
first=$!
exec 3>"$scratch/go1"
shmctl lock "$segment/b" -- bash -c "shmctl lock '$segment/a' -- true; true" &
second=$!
await waits 'acquire a'
echo >&3
await waits 'acquire b'
exits 0 shmctl why "$segment"
echo >&3
ends 0 $first
ends 0 $second
exec 3>&-
claim 'a holder whose command does something else beside is not'

# ---- permits that belong to processes ----

exits 0 shmctl create semaphore "$segment/slots" --value 2 --owners
exits 0 shmctl create semaphore "$segment/free" --value 1
shmctl --name first semaphore run "$segment/slots" -- sh \
    -c "read -r line <'$scratch/go1'; shmctl --name inner lock '$segment/a' -- true; true" &
first=$!
shmctl --name second semaphore run "$segment/slots" -- sh \
    -c "read -r line <'$scratch/go2'; shmctl --name inner2 lock '$segment/a' -- true; true" &
second=$!
exec 3>"$scratch/go1" 4>"$scratch/go2"
holds_slots() {
    test "$(shmctl ps -r -n -o HOLDS "$segment" | grep -cx 'slots\\x20(1)')" = 2
}
await holds_slots
shmctl --name outer lock "$segment/a" -- \
    shmctl --name third semaphore run "$segment/slots" -- true &
third=$!
await named third 'permit slots'
held='^ +held by 2 processes, among them'
await says 0 "$held (first|second) \([0-9]+\), which (has slept|sleeps)"
exits 0 shmctl why "$segment" -r -n -o NAME,WAKERS
sort -o "$out" "$out"
sed -i -E 's/\([0-9]+\)/(PID)/g' "$out"
grep -qx 'third \(first\|second\)\\x20(PID),\(first\|second\)\\x20(PID)' "$out" ||
    fail "it says $(cat "$out")"
echo >&3
await named inner 'acquire a'
# One of the two owners is at work, and may give its permit back.
await says 0 "$held second \($second\), which (has slept|sleeps)"
echo >&4
await named inner2 'acquire a'
await says 7 "$held (first|second) \([0-9]+\),"
grep -q ', which closes the circle$' "$out" || fail "it says $(cat "$out")"
exits 7 shmctl why "$segment" -r -n -o VERDICT
sort -u -o "$out" "$out"
prints deadlocked
kill $third
ends 143 $third
ends 0 $first
ends 0 $second
exec 3>&- 4>&-
nothing_waits
shmctl semaphore acquire -c 2 "$segment/free" &
first=$!
await waits 'permit free'
exits 0 shmctl why "$segment"
grep -qx '  nothing is attached now that could release one' "$out" || fail "it says $(cat "$out")"
exits 0 shmctl semaphore release -c 2 "$segment/free"
ends 0 $first
claim 'what waits for a permit waits for any of the processes that have one'

# ---- a lock that is held by a descriptor ----

cat >"$scratch/part.sh" <<'END'
exec 9>/dev/null
shmctl lock --fd 9 "$2"
read -r line <"$1"
test -z "$3" || {
    exec 8>/dev/null
    shmctl lock --fd 8 "$3"
}
true
END
bash "$scratch/part.sh" "$scratch/go1" "$segment/a" "$segment/b" &
first=$!
exec 3>"$scratch/go1"
shmctl --name waiter lock "$segment/a" -- true &
waiter=$!
await named waiter 'acquire a'
exits 0 shmctl why "$segment"
grep -Eq "^  held by part.sh \($first\), by descriptor 9, for [0-9.ms]*, which (has slept|sleeps)" \
    "$out" || fail "it says $(cat "$out")"
exits 0 shmctl why $waiter -r -n -o VERDICT,WAKERS
prints "waiting part.sh\\x20($first)"
exits 0 shmctl why $first
grep -qx "bash ($first): holds $segment/a" "$out" || fail "it says $(cat "$out")"
kill -STOP $first
is_stopped_script() {
    grep -q "^State:.T" "/proc/$first/status"
}
await is_stopped_script
exits 8 shmctl why "$segment"
held="^  held by part.sh \($first\), by descriptor 9, for [0-9.ms]*,"
grep -Eq "$held which (is|has been) stopped" "$out" || fail "it says $(cat "$out")"
kill -CONT $first
kill $waiter
ends 143 $waiter
bash "$scratch/part.sh" "$scratch/go2" "$segment/b" "$segment/a" &
second=$!
exec 4>"$scratch/go2"
echo >&3
echo >&4
await named part.sh 'acquire a'
await named part.sh 'acquire b'
exits 7 shmctl why "$segment"
for script in $first $second; do
    grep -q "held by part.sh ($script), by descriptor 9, for " "$out" ||
        fail "it says $(cat "$out")"
done
grep -q ', which closes the circle$' "$out" || fail "it says $(cat "$out")"
exec 3>&- 4>&-
kill "$(shmctl ps -r -n -o PID,WAITS "$segment" | sed -n 's/ acquire\\x20a$//p')"
ends 0 $second
ends 0 $first
claim 'a lock that is held by a descriptor is held by the script, which may be in a circle'

# ---- what does not run ----

shmctl --name holder lock "$segment/a" -- sleep 1h &
holder=$!
holds_a() {
    shmctl ps -r -n -o HOLDS "$segment" | grep -qx a
}
await holds_a
shmctl --name waiter lock "$segment/a" -- true &
waiter=$!
await waits 'acquire a'
exits 0 shmctl why "$segment"
grep -Eq "^  held by holder \($holder\) for [0-9.ms]*, which (has slept for [0-9.ms]*|sleeps)$" \
    "$out" || fail "it says $(cat "$out")"
kill -STOP $holder
is_stopped() {
    grep -q "^State:.T" "/proc/$holder/status"
}
await is_stopped
exits 8 shmctl why "$segment"
grep -q "^stalled: waiter ($waiter) waits to acquire $segment/a, for " "$out" ||
    fail "it says $(cat "$out")"
stopped='which (has been stopped for [0-9.ms]*|is stopped)'
grep -Eq "^  held by holder \($holder\) for [0-9.ms]*, $stopped$" "$out" ||
    fail "it says $(cat "$out")"
exits 8 shmctl why $waiter -r -n -o VERDICT,WAKERS,HOLDER-STATE
prints "stalled holder\\x20($holder) stopped"
kill -CONT $holder
not_stopped() {
    shmctl why "$segment" >"$out"
}
await not_stopped
# Its command alone.
command=$(children $holder sleep)
kill -STOP "$command"
exits 8 shmctl why "$segment"
grep -q "which waits for sleep ($command), which \(has been\|is\) stopped" "$out" ||
    fail "it says $(cat "$out")"
kill -CONT "$command"
kill $holder
ends 143 $holder
ends 0 $waiter
claim 'a holder that is stopped, or waits for what is stopped, is stalled, with exit status 8'

# ---- the process tree ----

exits 0 shmctl create queue "$segment/full" --capacity 1
exits 0 shmctl put "$segment/full" 1
shmctl --name outer lock "$segment/a" -- sh -c 'shmctl put "$0" 2; true' "$segment/full" &
outer=$!
await waits 'put full'
inner=$(shmctl ps -r -n -o PID,WAITS "$segment" | sed -n 's/ put.*//p')
for pid in $outer "$inner"; do
    exits 0 shmctl why "$pid"
    grep -q "^shmctl ($outer): holds $segment/a" "$out" || fail "it says $(cat "$out")"
    grep -Eq "^ +shmctl \($inner\): waits to put into $segment/full, for " "$out" ||
        fail "it says $(cat "$out")"
    grep -q "^waiting: .* ($inner) waits to put into $segment/full, for " "$out" ||
        fail "it says $(cat "$out")"
done
exits 0 shmctl why $$
grep -q "^  shmctl ($outer): holds $segment/a" "$out" || fail "it says $(cat "$out")"
exits 0 shmctl why $outer -r -n -o VERDICT,PID
grep -qx "waiting $inner" "$out" || fail "it says $(cat "$out")"
exits 0 shmctl get "$segment/full" -c 2
ends 0 $outer
claim 'of a process it tells of those above and below it, too'

# The only producer is stopped: a waiter at a queue waits for it, too.
exits 0 shmctl create queue "$segment/parcels"
shmctl --name getter get "$segment/parcels" >/dev/null &
getter=$!
mkfifo "$scratch/parcels"
shmctl --name putter put --stdin "$segment/parcels" <"$scratch/parcels" &
holder=$!
exec 3>"$scratch/parcels"
two_use() {
    test "$(shmctl show -r -n -o USERS "$segment/parcels")" = 2
}
await two_use
await waits 'get parcels'
exits 0 shmctl why $getter
kill -STOP $holder
await is_stopped
exits 8 shmctl why $getter
grep -Eq \
    "^  putter \($holder\), which (has been stopped for [0-9.ms]*|is stopped), could put into it$" \
    "$out" || fail "it says $(cat "$out")"
kill -CONT $holder
echo parcel >&3
exec 3>&-
ends 0 $holder
ends 0 $getter
claim 'so is what could only be woken by a stopped process'

# stalled_by STATE WORDS: a holder in that state, of which the sentence about it says WORDS.
stalled_by() {
    local process tracer waiter
    mkfifo "$scratch/$1"
    "$SHMKIT_TESTDIR/cli/stalled" "$segment" a "$1" <"$scratch/$1" >"$scratch/$1.pid" &
    tracer=$!
    exec 3>"$scratch/$1"
    is_told() {
        test -s "$1" || ! kill -0 $tracer 2>/dev/null
    }
    await is_told "$scratch/$1.pid"
    process=$(cat "$scratch/$1.pid")
    if test -z "$process"; then
        wait $tracer
        test $? = 77 || fail "there is no holder that is $1"
        echo "not tried: no process can be $1 here"
        exec 3>&-
        return
    fi
    shmctl --name waiter lock "$segment/a" -- true 3>&- &
    waiter=$!
    await waits 'acquire a'
    in_state() {
        grep -q "^State:.$2" "/proc/$1/status"
    }
    await in_state "$process" "$3"
    exits 8 shmctl why "$segment"
    grep -q "^stalled: waiter ($waiter) waits to acquire $segment/a, for " "$out" ||
        fail "it says $(cat "$out")"
    grep -Eq "^  held by holder \($process\), which $2( for [0-9.ms]*)?$" "$out" ||
        fail "it says $(cat "$out")"
    exits 8 shmctl why $waiter -r -n -o VERDICT,WAKERS,HOLDER-STATE
    prints "stalled holder\\x20($process) $1"
    exec 3>&-
    ends 0 $tracer
    ends 0 $waiter
}
stalled_by traced '(is|has been) stopped by a debugger' t
claim 'so is what waits for a holder that a debugger has stopped'
stalled_by disk-sleep '(is|has been) in disk sleep' D
claim 'so is what waits for a holder in disk sleep'

# frozen_by GROUP FREEZE THAW STATE FROZEN: a holder in a control group that "FREEZE >FILE" froze.
frozen_by() {
    local group=$1/shmkit-test-$$ freeze=$2 thaw=$3 file=$4
    if ! mkdir "$group" 2>/dev/null; then
        echo "not tried: no control group can be made in $1"
        return
    fi
    if ! test -w "$group/$file"; then
        rmdir "$group"
        echo "not tried: the groups of $1 have no $file"
        return
    fi
    shmctl --name holder lock "$segment/a" -- sleep 1000 &
    holder=$!
    await holds_a
    command=$(children $holder sleep)
    echo $holder >"$group/cgroup.procs"
    shmctl --name waiter lock "$segment/a" -- true &
    waiter=$!
    await waits 'acquire a'
    echo "$freeze" >"$group/$file"
    is_frozen() {
        grep -q "$1" "$2"
    }
    # what was found is judged after the thaw: a frozen process of version 1 cannot be killed
    await is_frozen "$5" "$group/${6:-$file}"
    shmctl why "$segment" >"$out"
    found=$?
    shmctl why $waiter -r -n -o VERDICT,WAKERS,HOLDER-STATE >"$scratch/columns"
    echo "$thaw" >"$group/$file"
    kill "$command"
    ends 143 $holder
    ends 0 $waiter
    rmdir "$group" || fail "$group stays"
    test $found = 8 || fail "exit status $found"
    grep -Eq "^  held by holder \($holder\) for [0-9.ms]*, which (is|has been) frozen" "$out" ||
        fail "it says $(cat "$out")"
    test "$(cat "$scratch/columns")" = "stalled holder\\x20($holder) frozen" ||
        fail "it says $(cat "$scratch/columns")"
}
frozen_by /sys/fs/cgroup/freezer FROZEN THAWED freezer.state FROZEN
for place in /sys/fs/cgroup /sys/fs/cgroup/unified; do
    frozen_by $place 1 0 cgroup.freeze 'frozen 1' cgroup.events
done
claim 'so is what waits for a holder whose control group is frozen'
