#!/bin/bash
# shmctl semaphore: a command that has permits, and permits that come back.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
slots=$segment/slots

value_is() {
    test "$(shmctl semaphore value "$slots")" = "$1"
}

exits 4 shmctl semaphore --no-create run "$slots" -- true
exits 0 shmctl semaphore run "$slots" -- echo 许可 -x
prints '许可 -x'
exits 7 shmctl semaphore run "$slots" sh -c 'exit 7'
exits 127 shmctl semaphore run "$slots" -- "$scratch/none"
exits 2 shmctl semaphore run "$slots"
exits 2 shmctl semaphore value "$slots" -- true
exits 2 shmctl semaphore value -c 2 "$slots"
complains "^shmctl: --count is not for 'semaphore value'$"
value_is 1 || fail 'the permit has not been given back'
shmctl show "$slots" | grep -Eq '^Owners +yes' || fail "run has created a semaphore without owners"
claim 'run has a permit while the command runs, and its exit status is the one of the command'

exits 1 shmctl semaphore acquire "$slots"
complains "^shmctl: $slots: its permits belong to processes, .* 'shmctl semaphore run $slots -- COM"
exits 1 shmctl semaphore release "$slots"
value_is 1 || fail 'acquire has taken a permit'
claim 'acquire and release are refused where permits have owners'

shmctl semaphore run "$slots" -- sleep 1h &
holder=$!
await value_is 0
shmctl show "$slots" >"$scratch/shown"
pid=$(sed -n 's/^State  *0 permits; held: 1 by \([0-9]*\)$/\1/p' "$scratch/shown")
test "$pid" || fail "it is shown as $(cat "$scratch/shown")"
exits 0 shmctl ps -r -n -o PID,HOLDS "$segment"
grep -qx "$pid slots\\\\x20(1)" "$out" || fail "it prints $(cat "$out")"
exits 3 shmctl semaphore run --nowait "$slots" -- echo no
exits 3 shmctl semaphore run "$slots" --timeout 50ms -- echo no
shmctl semaphore run "$slots" -- echo next >"$scratch/next" &
next=$!
await waits 'permit slots'
kill -KILL "$pid"
ends 137 $holder
ends 0 $next
grep -qx next "$scratch/next" || fail 'the next command has not run'
value_is 1 || fail 'the permit is lost'
shmctl show "$slots" | grep -Eq '^Came back +1$' || fail 'the permit has not come back'
claim 'the permit of a killed script comes back'

exits 0 shmctl create semaphore "$segment/five" --value 5 --owners
exits 1 shmctl create semaphore "$segment/none" --value 0 --owners
exits 0 shmctl semaphore run -c 3 "$segment/five" -c 4 -- true
exits 3 shmctl semaphore run --count 3 "$segment/five" -- \
    shmctl semaphore run -c 3 --nowait "$segment/five" -- true
exits 0 shmctl semaphore run --count 3 "$segment/five" -- \
    shmctl semaphore run -c 2 --nowait "$segment/five" -- true
exits 1 shmctl semaphore run -c 6 "$segment/five" -- true
exits 0 shmctl create semaphore "$segment/plain" --value 2 --max 2
exits 1 shmctl semaphore acquire -c 3 --nowait "$segment/plain"
exits 0 shmctl semaphore acquire --count 2 "$segment/plain"
exits 3 shmctl semaphore acquire --nowait "$segment/plain"
claim 'several permits are taken at once'
