#!/bin/bash
# shmctl work: a command for each item, one at a time, by any number of workers.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
queue=$segment/jobs

left() {
    test "$(shmctl show -r -n -o ITEMS "$queue")" = "$1"
}

exits 4 shmctl work --no-create "$queue" -- true
complains "^shmctl: $queue: no such queue; "
exits 3 shmctl work --nowait "$queue" -- true
complains "^shmctl: $queue: the queue is empty (--nowait)$"
exits 0 shmctl put "$queue" -- 1 ' two  words' '' -n
exits 0 shmctl work -c 3 "$queue" printf '[%s]'
printf '[1][ two  words][]' | cmp - "$out" || fail "it prints $(cat "$out")"
exits 0 shmctl work "$queue" --count 1 -- echo --
prints '-- -n'
exits 0 shmctl put "$queue" 存款
exits 0 shmctl work -c 1 "$queue" -- sh -c 'cat; echo "$1, $SHMKIT_ORPHANED"' sh
prints '存款, '
printf 'a\0b\n' | shmctl put --whole "$queue" || fail 'put'
exits 0 env SHMKIT_ORPHANED=1 shmctl work -c 1 --stdin "$queue" -- sh \
    -c 'cat; test -z "$SHMKIT_ORPHANED"'
printf 'a\0b\n' | cmp - "$out" || fail "it prints $(cat "$out")"
left 0 || fail 'there are items left'
claim 'an item is the last argument of the command, or its standard input'

exits 0 shmctl put "$queue" 1 2 3
exits 1 shmctl work -c 3 "$queue" -- test 2 !=
grep -qx "shmctl: $queue: item '2': test exited with 1" "$err" || fail "it says $(cat "$err")"
left 0 || fail 'it did not go on'
exits 0 shmctl put "$queue" 1 2 3
exits 7 shmctl work --stop "$queue" -- sh -c 'test $0 != 2 || exit 7'
left 1 || fail 'it went on'
exits 1 shmctl work -c 1 "$queue" -- sh -c 'kill -KILL $$'
grep -q "^shmctl: $queue: item '3': sh was killed by signal 9 " "$err" ||
    fail "it says $(cat "$err")"
claim 'the exit status tells whether all went well'

exits 0 shmctl create queue "$segment/order" --order priority
for jobs in "$queue" "$segment/order"; do
    exits 0 shmctl put "$jobs" 1
    exits 127 shmctl work "$jobs" -- "$scratch/none"
    complains "^shmctl: $scratch/none: "
    exits 126 shmctl work "$jobs" -- "$scratch"
    printf '#!%s\n' "$scratch/no-shell" >"$scratch/broken"
    chmod +x "$scratch/broken"
    exits 127 shmctl work "$jobs" -- "$scratch/broken"
    grep -qx "shmctl: $jobs: item '1' has been put back" "$err" || fail "it says $(cat "$err")"
    printf 'a\0b' | shmctl put --whole "$jobs" || fail 'put'
    exits 1 shmctl work "$jobs" -- true
    grep -q "zero byte in the item: --stdin is needed$" "$err" || fail "it says $(cat "$err")"
    exits 0 shmctl get -0 "$jobs"
    test $jobs = "$queue" || exits 0 shmctl put --priority 5 "$jobs" 2
    test $jobs = "$queue" || exits 127 shmctl work "$jobs" -- "$scratch/broken"
done
exits 0 shmctl put --priority 4 "$segment/order" 1
exits 0 shmctl get -c 2 "$segment/order"
prints 1 2
claim 'an item whose command cannot be executed goes back, and the worker ends'

# Each job once, none twice, and each worker has some: no one of them takes ahead.
seq 60 | shmctl put "$queue" --stdin || fail 'put'
exits 0 shmctl shutdown "$queue"
workers=()
for i in 1 2 3; do
    shmctl work "$queue" -- sh -c 'echo "$1" >>"$0"; sleep 0.02' "$scratch/done-$i" &
    workers+=($!)
done
for worker in "${workers[@]}"; do
    ends 0 $worker
done
sort -n "$scratch"/done-* >"$scratch/all"
seq 60 | cmp - "$scratch/all" || fail 'not each job once'
for i in 1 2 3; do
    test -s "$scratch/done-$i" || fail "worker $i had nothing to do"
done
claim 'several workers share the items, and end when the queue is shut down and drained'

# The same by the pipe of a shell: get --follow is one item ahead of it, and not sixty.
pipe=$segment/pipe
seq 60 | shmctl put "$pipe" --stdin || fail 'put'
exits 0 shmctl shutdown "$pipe"
workers=()
for i in 4 5; do
    shmctl get --follow "$pipe" | while read -r job; do
        echo "$job" >>"$scratch/done-$i"
        sleep 0.02
    done &
    workers+=($!)
done
for worker in "${workers[@]}"; do
    ends 0 $worker
done
sort -n "$scratch"/done-[45] >"$scratch/all"
seq 60 | cmp - "$scratch/all" || fail 'not each job once'
for i in 4 5; do
    test -s "$scratch/done-$i" || fail "worker $i had nothing to do"
done
claim 'loops that read from get --follow share them, too'

queue=$segment/signals
exits 0 shmctl put "$queue" 1 2 3 4 5
mkfifo "$scratch/fifo"
for signal in TERM INT; do
    env --default-signal shmctl work "$queue" -- sh \
        -c "trap '' INT; echo \$1 >'$scratch/fifo'; exec cat '$scratch/fifo'" \
        sh >"$scratch/got" 2>"$scratch/said" &
    worker=$!
    read -r line <"$scratch/fifo"
    kill -$signal $worker
    test $signal = TERM || echo end >"$scratch/fifo" # Ctrl-C is the command's own affair
    ends $((128 + $(kill -l $signal))) $worker
done
test "$(cat "$scratch/got")" = end || fail 'the command has not been awaited'
left 3 || fail 'it went on'
env --default-signal shmctl work "$queue" -- true 6<&- &
ends_when_drained=$!
await left 0
await waits 'get signals'
kill -INT $ends_when_drained
ends 130 $ends_when_drained
claim 'a signal ends it, when the command in hand has ended'

exits 0 shmctl put "$queue" 1 2
shmctl work "$queue" -- sh \
    -c "echo \$1 >'$scratch/fifo'; read line <'$scratch/fifo'; echo >'$scratch/finished'" sh &
worker=$!
read -r line <"$scratch/fifo"
kill -KILL $worker
ends 137 $worker
echo >"$scratch/fifo"
await test -s "$scratch/finished"
exits 0 shmctl get "$queue"
prints 2
claim 'killed, it takes no more than the item in hand along, whose command goes on'
