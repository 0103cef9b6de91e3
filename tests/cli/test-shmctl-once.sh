#!/bin/bash
# shmctl once: the command runs once, to its end; and lock --shared on a rwlock.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
once=$segment/tables

state_is() {
    test "$(shmctl show -n -r -o STATE "$segment/$1" | sed 's/\\x20/ /g')" = "$2"
}

reads_by() {
    shmctl show -n -r -o READERS "$segment/prices" | grep -qx "$1"
}

exits 4 shmctl once --no-create "$once" -- true
complains "^shmctl: $once: no such once; 'shmctl create once $once' creates it$"
exits 2 shmctl once "$once"
exits 2 shmctl once --reset "$once" -- true
exits 4 shmctl once --reset "$once"
test ! -e "/dev/shm/$segment" || fail 'a segment has been created'

exits 0 shmctl once "$once" -- echo 存款
prints '存款'
exits 0 shmctl once "$once" -- echo again
prints_nothing
exits 0 shmctl once "$once" false
state_is tables done || fail 'it is not done'
exits 0 shmctl once --reset "$once"
state_is tables 'not done' || fail 'it is done'
claim 'a command runs once, and again after a reset'

exits 7 shmctl once "$once" -- sh -c 'exit 7'
state_is tables 'not done' || fail 'it is done'
exits 127 shmctl once "$once" -- "$scratch/none"
exits 0 shmctl once "$once" -- sh -c 'echo ${SHMKIT_ORPHANED-no}'
prints no
exits 0 shmctl once --reset "$once"
claim 'a command that fails has not done it, and the next one runs'

shmctl once "$once" -- sleep 1h &
first=$!
await state_is tables "being done by $script ($first)"
exits 3 shmctl once --nowait "$once" -- true
complains "^shmctl: $once: it is being done by $script ($first) (--nowait)$"
exits 3 shmctl once --timeout 20ms "$once" -- true
complains "^shmctl: $once: timed out after 20 ms; it is being done by"
exits 3 shmctl once --reset "$once"
shmctl once "$once" -- sh -c 'echo "orphaned ${SHMKIT_ORPHANED-no}"' >"$scratch/next" 2>"$err" &
next=$!
await waits 'once tables'
exits 0 shmctl why "$segment"
grep -q "waits for $once to be done" "$out" || fail "why: $(cat "$out")"
kill -KILL $first
ends 0 $next
test "$(cat "$scratch/next")" = 'orphaned 1' || fail "the next one says $(cat "$scratch/next")"
grep -q "died in the middle" "$err" || fail 'the death is not told'
state_is tables done || fail 'it is not done'
claim 'the others wait, and one takes over when the first is killed'

rwlock=$segment/prices
exits 0 shmctl lock --shared "$rwlock" -- shmctl lock -s "$rwlock" -- echo two
prints two
exits 0 shmctl lock --shared "$rwlock" -- shmctl ps -r -n -o HOLDS "$segment"
grep -qx 'prices\\x20(shared)' "$out" || fail "ps: $(cat "$out")"
shmctl lock --shared "$rwlock" -- sleep 1h &
reader=$!
await reads_by 1
exits 3 shmctl lock --nowait "$rwlock" -- true
complains "^shmctl: $rwlock: the rwlock is held: read by $script ($reader) (--nowait)$"
shmctl lock "$rwlock" -- sh -c 'echo $$ >"$0"; exec sleep 1h' "$scratch/writes" &
writer=$!
await waits 'acquire prices'
exits 3 shmctl lock --nowait --shared "$rwlock" -- true
exits 0 shmctl why "$segment"
grep -q "held by $script ($reader)" "$out" || fail "why: $(cat "$out")"
kill -TERM $reader
ends 143 $reader
await test -s "$scratch/writes"
exits 3 shmctl lock --nowait --shared "$rwlock" -- true
complains "^shmctl: $rwlock: the rwlock is held by $script ($writer) (--nowait)$"
claim 'a rwlock is held by many readers or one writer'

kill -KILL $writer
ends 137 $writer
for way in --shared --shared ''; do
    exits 3 shmctl lock $way "$rwlock" -- sh -c 'exit $((${SHMKIT_ORPHANED-0} + 2))'
done
exits 0 shmctl lock "$rwlock" -- true
exits 0 shmctl lock --shared "$rwlock" -- sh -c 'echo ${SHMKIT_ORPHANED-no}'
prints no
exits 0 shmctl create lock "$segment/till"
exits 1 shmctl lock --shared "$segment/till" -- true
claim 'a dead writer is told of until a writer has mended'
