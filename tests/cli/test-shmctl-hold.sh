#!/bin/bash
# shmctl lock as flock(1): its options, and a lock that is held over a part of a script by a
# descriptor.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
lock=$segment/till

state() {
    shmctl show -r -n -o STATE "$lock"
}
is_free() {
    test "$(state)" = free
}
is_held() {
    state | grep -q '^held'
}
holder() {
    shmctl ps -r -n -o PID,COMMAND,ALIVE "$segment" | sed -n "s/ shmctl-holder yes$//p"
}

exits 7 shmctl lock "$lock" -c 'echo "a  b"; exit 7'
prints 'a  b'
exits 7 env SHELL=/bin/sh shmctl lock -c 'echo $0; exit 7' "$lock"
prints /bin/sh
exits 0 env -u SHELL shmctl lock "$lock" --command 'echo $0'
prints /bin/sh
exits 2 shmctl lock "$lock" -c true true
exits 2 shmctl lock "$lock" --unlock
exits 2 shmctl lock "$lock" --unlock -- true
exits 2 shmctl lock "$lock" --fd 9 -- true
exits 2 shmctl lock "$lock" --fd 9 -c true
exits 2 shmctl lock "$lock" --fd x
exits 2 shmctl lock "$lock" -E 256 -- true
shmctl lock "$lock" -- sleep 1h &
other=$!
await is_held
exits 3 shmctl lock "$lock" -n -- true
exits 3 shmctl lock "$lock" --nonblock -- true
exits 1 shmctl lock "$lock" -n -E 1 -- true
exits 77 shmctl lock -w 0.1 --conflict-exit-code 77 "$lock" -- true
exits 0 shmctl lock --wait=0.1 -E 0 "$lock" -c true
exits 77 shmctl lock -n -E 77 --fd 9 "$lock" 9>/dev/null
complains "^shmctl: $lock: the lock is held by .*($other).* (--nowait)$"
exits 1 shmctl lock -x -o -n -E 1 "$lock" true
exits 1 shmctl lock --exclusive --close -n -E 1 "$lock" true
exits 0 shmctl create rwlock "$segment/books"
exits 0 shmctl lock -s "$segment/books" -- shmctl lock -s -n "$segment/books" -- true
exits 3 shmctl lock -s "$segment/books" -- shmctl lock -s -e -n "$segment/books" -- true
exits 4 shmctl lock -n -E 77 --no-create "$segment/none" -- true
kill -TERM $other
ends 143 $other
claim 'it has the options of flock(1)'

# In this script itself.
exec 9>/dev/null
exits 0 shmctl lock --fd 9 "$lock"
prints_nothing
is_held || fail 'it is not held'
test "$(shmctl ps -r -n -o NAME,HOLDS,COMMAND "$segment")" = "$script till shmctl-holder" ||
    fail "$(shmctl ps "$segment")"
exits 3 shmctl lock -n "$lock" -- true
exits 0 shmctl lock -u --fd 9 "$lock"
prints_nothing
is_free || fail 'it is not free when shmctl has ended'
exits 1 shmctl lock -u --fd 9 "$lock"
complains "^shmctl: $lock: it is not held by descriptor 9$"
exits 0 shmctl lock --fd 9 "$lock"
exec 9>&-
exits 0 shmctl lock "$lock" -- true
prints_nothing
{
    exits 0 shmctl lock --fd 9 "$lock"
    is_held || fail 'it is not held'
} 9>/dev/null
exits 0 shmctl lock "$lock" -- true
prints_nothing
claim 'a script has a lock by a descriptor, until it unlocks or closes it'

# Two locks by one descriptor, one by two files that are the same; files of every kind.
exec 8>/dev/null 9>/dev/null
exits 0 shmctl lock --fd 9 "$lock"
exits 0 shmctl lock --fd 9 "$segment/second"
exits 1 shmctl lock -u --fd 8 "$lock"
is_held || fail 'it has been unlocked by another descriptor'
exits 0 shmctl lock --fd 9 -u "$lock"
is_free || fail 'it is not free'
test "$(shmctl show -r -n -o STATE "$segment/second")" != free || fail 'the second is free, too'
exec 8>&- 9>&-
exits 0 shmctl lock "$segment/second" -- true
mkfifo "$scratch/fifo"
for how in "8>'$scratch/file'" "8<>'$scratch/fifo'" "8<'$scratch/file'" '8<<<text'; do
    eval "exec $how"
    exits 0 shmctl lock --fd 8 "$lock"
    is_held || fail "$how: it is not held"
    exits 0 shmctl lock --fd 8 -u "$lock"
    exits 0 shmctl lock --fd 8 "$lock"
    exec 8>&-
    exits 0 shmctl lock "$lock" -- true
    prints_nothing
done
exits 1 shmctl lock --fd 8 "$lock"
complains "^shmctl: $lock: descriptor 8: "
claim 'any file will do, for any number of locks'

# A script that dies, in every way; what it has started keeps the lock.
for end in 'kill -KILL $$' 'exit 3' ':'; do
    sh -c "exec 9>/dev/null; shmctl lock --fd 9 '$lock'; $end"
    exits 0 shmctl lock "$lock" -- printenv SHMKIT_ORPHANED
    grep -q 'a former holder died' "$err" || fail "'$end': the next one is not told"
done
sh -c "exec 9>/dev/null; shmctl lock --fd 9 '$lock'; kill -KILL \$\$"
exec 9>/dev/null
exits 5 shmctl lock --fd 9 --orphaned-exit-code 5 "$lock"
complains "^shmctl: $lock: a former holder died holding it$"
exits 0 shmctl lock --fd 9 --unlock "$lock"
exits 0 shmctl lock --fd 9 --orphaned-exit-code 5 "$lock"
exec 9>&-
sh -c "exec 9>/dev/null; shmctl lock --fd 9 '$lock'
    cat '$scratch/fifo' >'$scratch/read' & kill -KILL \$\$"
exits 3 shmctl lock --timeout 0.3 "$lock" -- true
echo end >"$scratch/fifo"
exits 0 shmctl lock "$lock" -- printenv SHMKIT_ORPHANED
claim 'a script that ends with the descriptor open leaves the lock as one that has died'

exec 9>/dev/null
exits 0 shmctl lock --fd 9 "$lock"
pid=$(holder)
kill -TERM "$pid"
kill -INT "$pid"
is_held || fail 'a signal ends the holder'
test "$(readlink "/proc/$pid/cwd")" = / || fail 'it keeps the directory'
test "$(ls "/proc/$pid/fd" | wc -l)" -le 4 || fail "it keeps files: $(ls -l "/proc/$pid/fd")"
kill -KILL "$pid"
exits 0 shmctl lock "$lock" -- printenv SHMKIT_ORPHANED
exits 1 shmctl lock -u --fd 9 "$lock"
exits 0 shmctl lock --fd 9 "$lock"
exits 0 shmctl lock -u --fd 9 "$lock"
exec 9>&-
claim 'the holder may be killed, and no less'

# A wait that is interrupted leaves no holder.
shmctl lock "$lock" -- sleep 1h &
other=$!
await is_held
exec 9>/dev/null
for signal in INT TERM KILL; do
    env --default-signal shmctl lock --fd 9 "$lock" &
    waiting=$!
    await waits 'acquire till'
    kill -$signal $waiting
    ends $((128 + $(kill -l $signal))) $waiting
    await not waits 'acquire till'
done
kill -TERM $other
ends 143 $other
exits 0 shmctl lock -n "$lock" -- true
exec 9>&-
claim 'a wait that is interrupted leaves no holder'

# Four scripts count, each under the lock.
echo 0 >"$scratch/count"
scripts=()
for i in 1 2 3 4; do
    sh -c "
        for i in 1 2 3 4 5 6 7 8 9 10; do
            exec 9>/dev/null
            shmctl lock --fd 9 '$lock' || exit
            read -r n <'$scratch/count'
            echo \$((n + 1)) >'$scratch/count'
            test \$((n % 2)) = 0 || shmctl lock --fd 9 -u '$lock'
            exec 9>&-
        done" &
    scripts+=($!)
done
for pid in "${scripts[@]}"; do
    ends 0 "$pid"
done
test "$(cat "$scratch/count")" = 40 || fail "$(cat "$scratch/count") of 40"
exits 0 shmctl lock -n "$lock" -- true
prints_nothing
claim 'one script at a time has the lock'
