#!/bin/bash
# shmctl lock: the command's exit status, and that the lock is given back in every case.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
lock=$segment/till

is_free() {
    test "$(shmctl show -r -n -o STATE "$lock")" = free
}

is_held() {
    shmctl show -r -n -o STATE "$lock" | grep -q '^held'
}

exits 4 shmctl lock --no-create "$lock" -- true
complains "^shmctl: $lock: no such lock; 'shmctl create lock $lock' creates it$"
test ! -e "/dev/shm/$segment" || fail '--no-create has created a segment'

exits 0 shmctl lock "$lock" -- echo 存款 -x
prints '存款 -x'
exits 7 shmctl lock "$lock" -- sh -c 'exit 7'
exits 137 shmctl lock "$lock" -- sh -c 'kill -KILL $$'
exits 127 shmctl lock "$lock" -- "$scratch/none"
complains "^shmctl: $scratch/none: "
exits 126 shmctl lock "$lock" -- "$scratch"
complains "^shmctl: $scratch: "
is_free || fail 'the lock is not free'
# Where the parent ignores SIGCHLD the kernel keeps no status; the command still finds it ignored.
# (In the build tree shmctl is a shell's script, which would put SIGCHLD right: so its program is
# called, from within a command that it runs.)
exits 0 shmctl create lock "$segment/outer"
program=$(shmctl lock "$segment/outer" -- sh -c 'readlink /proc/$PPID/exe')
deaf() {
    exits "$1" shmctl lock "$segment/outer" -- env --ignore-signal=CHLD "$program" lock "$lock" \
        -- "${@:2}"
}
deaf 9 sh -c 'exit 9'
deaf 1 false
deaf 137 sh -c 'kill -KILL $$'
deaf 0 awk '$1 == "SigIgn:" { print substr($2, 12, 1) % 2 }' /proc/self/status
prints 1
is_free || fail 'the lock is not free'
claim 'the exit status is the one of the command'

exits 0 shmctl lock "$lock" -- shmctl ps -r -n -o NAME,HOLDS "$segment"
prints "$script till"
shmctl lock "$lock" -- sleep 1h &
holder=$!
await is_held
exits 3 shmctl lock --nowait "$lock" -- echo no
complains "^shmctl: $lock: the lock is held by .*($holder).* (--nowait)$"
begin=$(date +%s%N)
exits 3 shmctl lock "$lock" --timeout 200ms -- echo no
complains "^shmctl: $lock: timed out after 200 ms; the lock is held by .*($holder)"
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
env --default-signal shmctl lock "$lock" -- sh \
    -c "trap '' INT; echo > '$scratch/fifo'; read line < '$scratch/fifo'; exit 9" &
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

victim=
find_victim() { # the command of the holder, which has a guard, too
    victim=$(children $holder "$1") && test -n "$victim"
}
has_ended() {
    not grep -qE '\) [^Z] ' "/proc/$1/stat" 2>/dev/null
}
find_victim sleep || fail 'no command'
kill -KILL $holder
ends 137 $holder
await has_ended "$victim"
exits 127 shmctl lock "$lock" -- "$scratch/none"
exits 0 shmctl lock "$lock" -- printenv SHMKIT_ORPHANED
test "$(cat "$out")" = 1 || fail "SHMKIT_ORPHANED=$(cat "$out")"
grep -q "^shmctl: $lock: a former holder died" "$err" || fail "it says $(cat "$err")"
exits 1 shmctl lock "$lock" -- printenv SHMKIT_ORPHANED
prints_nothing
claim 'a killed holder takes its command with it, and the next command is told once'

exits 1 env SHMKIT_ORPHANED=1 shmctl lock "$lock" -- printenv SHMKIT_ORPHANED
prints_nothing
shmctl lock "$lock" -- sh -c 'kill -KILL $PPID' 2>/dev/null
exits 1 shmctl lock "$lock" -- sh \
    -c 'test "$SHMKIT_ORPHANED" = 1 && exec shmctl lock "$1" -- printenv SHMKIT_ORPHANED' sh \
    "$segment/outer"
test ! -s "$out" || fail 'a clean lock within an orphaned one is called orphaned'
claim 'of an outer lock that was orphaned a command in a clean one hears nothing'

exits 0 shmctl lock "$lock" echo -t 1 --nowait
prints '-t 1 --nowait'
exits 0 shmctl lock "$lock" -t 1 echo -t 1 -- --nowait
prints '-t 1 -- --nowait'
exits 0 shmctl lock -t 1 "$lock" --nowait -- echo -- -t
prints '-- -t'
exits 0 shmctl lock -- "$lock" -- echo --nowait
prints '--nowait'
exits 0 shmctl lock -- "$lock" echo --nowait
prints '--nowait'
exits 127 shmctl lock "$lock" -- --nowait
exits 2 shmctl lock "$lock" --nonsense echo
exits 2 shmctl lock "$lock" --
claim 'options end at the command, whose own are left to it'

# The kernel forgets what it was to send at the death of the parent when a process changes its user;
# the guard does not.
if test "$(id -u)" = 0 && command -v setpriv >/dev/null; then
    shmctl lock "$lock" -- setpriv --reuid=65534 --regid=65534 --clear-groups sleep 1h &
    holder=$!
    await find_victim sleep
    kill -KILL $holder
    ends 137 $holder
    await has_ended "$victim"
    exits 0 shmctl lock "$lock" -- true # which is told
    claim 'a command that has become another user ends with its holder, too'
fi
shmctl lock "$lock" -- sh -c "echo >'$scratch/fifo'; read line <'$scratch/fifo'" &
holder=$!
read -r line <"$scratch/fifo"
find_victim shmctl-guard || fail 'there is no guard'
kill -KILL $victim
echo >"$scratch/fifo"
ends 0 $holder
claim 'the guard may be killed'

shmctl lock "$lock" -- true >&- 2>"$scratch/said" || fail "it ends with $?: $(cat "$scratch/said")"
shmctl lock "$lock" -- sh \
    -c 'for i in 0 1 2; do test ! -e /proc/$$/fd/$i || exit; done' <&- >&- 2>&- ||
    fail 'the command has descriptors that were closed'
exits 0 shmctl show "$lock"
shmctl lock "$lock" -- "$scratch/none" 2>&-
test $? = 127 || fail 'not 127'
exits 0 shmctl show "$lock"
claim 'where standard descriptors are closed nothing is written into the segment'

exits 0 shmctl rm "$lock"
exits 0 shmctl create cond "$segment/changed"
exits 0 shmctl lock "$segment/changed" -- shmctl ps -r -n -o ALIVE,HOLDS "$segment"
grep -qx 'yes changed' "$out" || fail "it prints $(cat "$out")"
exits 0 shmctl create event "$segment/go"
exits 1 shmctl lock "$segment/go" -- true
complains "^shmctl: $segment/go is an event, not a lock, a condition or a rwlock$"
claim 'a condition can be locked, too'
