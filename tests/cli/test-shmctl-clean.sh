#!/bin/bash
# shmctl clean: what no process uses goes, and nothing else. It is told which segments are this
# test's: others have theirs.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
used=$segment-1-used
left=$segment-2-存款
dead=$segment-3-dead
foreign=$segment-4-foreign
small='--segment-size 64K --max-members 4 --max-objects 4'

make_them() {
    for name in "$used" "$left" "$dead"; do
        exits 0 shmctl create event "$name/go" $small
    done
    shmctl event wait "$used/go" &
    user=$!
    shmctl event wait "$dead/go" &
    victim=$!
    for name in "$used" "$dead"; do
        await eval "shmctl ls -r -n -o NAME,WAITERS $name | grep -qx 'go 1'"
    done
    kill -KILL $victim
    ends 137 $victim
    echo precious >"/dev/shm/$foreign"
}

there() {
    ls /dev/shm | grep "^$segment" | tr '\n' ' '
}

# Sizes in memory depend on the kernel's pages.
normal() {
    sed -i -E 's/ [0-9.]+K/ N/; s/"memory": [1-9][0-9]*/"memory": N/' "$out"
}

make_them
before=$(there)
exits 1 shmctl clean --dry-run "$used" "$left" "/$dead"
normal
as_expected clean-dry-run.txt
test "$(there)" = "$before" || fail "--dry-run removed something: $(there)"
exits 0 shmctl clean --dry-run -r -n -o NAME,RESULT
for name in "$left" "$dead"; do
    grep -qx "$name unused" "$out" || fail "$name is not found: $(cat "$out")"
done
not grep -q "^$used\|^$foreign" "$out" || fail "it would remove $(cat "$out")"
test "$(there)" = "$before" || fail "--dry-run removed something: $(there)"
claim '--dry-run only tells'

exits 0 shmctl clean "$left"
normal
as_expected clean.txt
exits 1 shmctl clean --json "$used" "$dead"
normal
as_expected clean.json
test "$(there)" = "$used $foreign " || fail "left are $(there)"
test "$(cat "/dev/shm/$foreign")" = precious || fail 'the foreign file has been changed'
exits 4 shmctl clean "$left"
grep -q "there is no segment /$left" "$err" || fail "it says $(cat "$err")"
exits 1 shmctl clean "$foreign"
grep -q "is not a segment of shmkit" "$err" || fail "it says $(cat "$err")"
exits 0 shmctl event set "$used/go"
ends 0 $user
claim 'what no process uses is removed; a member of a segment is not disturbed'

exits 0 shmctl clean "$used"
exits 2 shmctl clean "$segment/go"
complains "'$segment/go' is an object"
test "$(cat "/dev/shm/$foreign")" = precious || fail 'the foreign file has been changed'
claim 'once all have left, it goes, too'

# Without operands, where there is no other segment.
if unshare -m true 2>/dev/null; then
    exits 0 unshare -m bash -c "
        mount -t tmpfs tmpfs /dev/shm || exit
        shmctl clean && shmctl create segment one $small && shmctl create queue two/jobs &&
        echo precious >/dev/shm/foreign && shmctl clean && ls /dev/shm"
    normal
    prints 'nothing to remove' \
        'NAME RESULT  MEMORY OBJECTS DEAD REASON' "one  removed    N       0    0 " \
        "two  removed    N       1    0 " \
        '2 segments removed, N of memory given back' foreign
    claim 'without operands it removes all that no process uses'
fi
