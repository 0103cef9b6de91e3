#!/bin/bash
# shmctl peek, purge, move, join and reopen.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"

items() {
    shmctl show -r -n -o ITEMS "$segment/$1"
}

has() {
    test "$(items "$2")" = "$1"
}

for verb in peek purge join reopen; do
    exits 4 shmctl $verb "$segment/jobs"
    exits 2 shmctl $verb "$segment"
done
exits 4 shmctl move "$segment/jobs" "$segment/done"
test ! -e "/dev/shm/$segment" || fail 'a segment has been created'
exits 0 shmctl create event "$segment/go"
exits 1 shmctl peek "$segment/go"
complains "^shmctl: $segment/go is an event, and has no items$"
exits 4 shmctl peek "$segment/none"
claim 'they create nothing, and name what is missing'

# ---- peek ----

for capacity in 7 0; do
    for order in fifo lifo priority; do
        queue=$segment/$order-$capacity
        exits 0 shmctl create queue "$queue" --order $order --capacity $capacity --item-size 5000
        exits 0 shmctl peek "$queue"
        prints_nothing
        exits 0 shmctl put "$queue" one '' '两 个'
        test $order != priority || exits 0 shmctl put "$queue" --priority -3 first
        exits 0 shmctl peek "$queue"
        case $order in
        fifo) prints one '' '两 个' ;;
        lifo) prints '两 个' '' one ;;
        priority) prints first one '' '两 个' ;;
        esac
        shmctl get "$queue" -c "$(items "$order-$capacity")" >"$scratch/taken"
        cmp "$scratch/taken" "$out" || fail 'peek and get do not agree'
        # Many, and some taken from the front: across chunks, around the ring.
        for round in 1 2 3; do
            exits 0 shmctl put "$queue" a b c d
            exits 0 shmctl get "$queue" -c 2
            exits 0 shmctl peek "$queue"
            shmctl get "$queue" -c "$(items "$order-$capacity")" >"$scratch/taken"
            cmp "$scratch/taken" "$out" || fail "round $round of $queue: peek and get do not agree"
        done
    done
done
for order in fifo lifo priority; do
    queue=$segment/$order-0
    { seq 20000 && head -c 4900 /dev/zero | tr '\0' x && echo && seq 30000; } >"$scratch/lines"
    input=$scratch/lines exits 0 shmctl put --stdin "$queue"
    exits 0 shmctl get "$queue" -c 1234
    shmctl peek "$queue" >"$scratch/peeked"
    exits 0 shmctl peek "$queue" --count 3
    head -n 3 "$scratch/peeked" | cmp - "$out" || fail '--count takes others'
    exits 0 shmctl get "$queue" -c "$(items "$order-0")"
    cmp "$scratch/peeked" "$out" || fail "$queue: peek and get do not agree"
done
claim 'peek prints what get would take, of each order, with a limit and without'

queue=$segment/priority-0
printf 'a\\b\n"\1\377' >"$scratch/bytes"
input=$scratch/bytes exits 0 shmctl put --whole "$queue"
exits 0 shmctl put -p -9223372036854775808 "$queue" 存款
exits 0 shmctl peek "$queue" --json -o +HEX
printf '%s\n' '{' '   "items": [' '      {' '         "place": 1,' \
    '         "priority": -9223372036854775808,' '         "length": 6,' \
    '         "item": "存款",' '         "hex": "e5ad98e6acbe"' '      },' '      {' \
    '         "place": 2,' '         "priority": 0,' '         "length": 7,' \
    '         "item": "a\\\\b\\x0a\"\\x01\\xff",' '         "hex": "615c620a2201ff"' '      }' \
    '   ]' '}' | diff - "$out" || fail 'JSON'
exits 0 shmctl peek "$queue" -r -n -o PLACE,ITEM -c 1
prints '1 存款'
exits 0 shmctl peek "$queue" -0
{ printf '存款\0' && cat "$scratch/bytes" && printf '\0'; } | cmp - "$out" || fail 'zero bytes'
exits 0 shmctl peek "$queue" -c 0
prints_nothing
exits 0 shmctl purge "$queue"
prints 2
claim 'priorities are shown, and bytes that are no text'

# A consumer that keeps its side, and a producer that waits, are not disturbed.
exits 0 shmctl create queue "$segment/full" --capacity 2
exits 0 shmctl put "$segment/full" 1 2
shmctl put "$segment/full" 3 &
producer=$!
await waits 'put full'
before=$(shmctl show -r -n -o GETS,PUTS,USERS,WAITERS "$segment/full")
exits 0 shmctl peek "$segment/full"
prints 1 2
test "$(shmctl show -r -n -o GETS,PUTS,USERS,WAITERS "$segment/full")" = "$before" ||
    fail 'a look has changed something'
claim 'a look changes nothing'

# ---- purge ----

exits 0 shmctl purge "$segment/full"
prints 2
await has 1 full
ends 0 $producer
exits 0 shmctl purge "$segment/full"
prints 1
exits 0 shmctl purge "$segment/full"
prints 0
exits 0 shmctl join --nowait "$segment/full"
prints_nothing
claim 'purge takes all items, says how many, and leaves no task'

# ---- move ----

exits 2 shmctl move "$segment/full" "$segment/full"
complains 'the same queue twice'
exits 0 shmctl put "$segment/fifo-0" a b c d
exits 3 shmctl move "$segment/fifo-0" "$segment/full" --nowait
grep -qx 2 "$out" || fail "it prints $(cat "$out")"
grep -q "$segment/full: the queue is full (2 of 2 items) (--nowait)$" "$err" ||
    fail "it says $(cat "$err")"
exits 3 shmctl move "$segment/fifo-0" "$segment/full" -t 0.1
exits 0 shmctl peek "$segment/full"
prints a b
exits 0 shmctl peek "$segment/fifo-0"
prints c d
exits 0 shmctl move -c 1 "$segment/fifo-0" "$segment/lifo-0"
prints 1
exits 0 shmctl move "$segment/full" "$segment/lifo-0"
prints 2
exits 0 shmctl peek "$segment/lifo-0"
prints b a c
exits 0 shmctl put -p 5 "$segment/priority-0" five
exits 0 shmctl put -p -5 "$segment/priority-0" minus-five
exits 0 shmctl move "$segment/priority-0" "$segment/priority-7"
prints 2
exits 0 shmctl peek -r -n -o PRIORITY,ITEM "$segment/priority-7"
prints '-5 minus-five' '5 five'
exits 0 shmctl join --nowait "$segment/priority-0"
claim 'move carries items over, in order and with their priorities'

exits 0 shmctl create queue "$segment/small" --item-size 3
exits 1 shmctl move "$segment/priority-7" "$segment/small"
grep -qx 0 "$out" || fail "it prints $(cat "$out")"
test "$(items priority-7)" = 2 || fail 'an item is lost'
exits 4 shmctl move "$segment/priority-7" "$segment/none"
test "$(items priority-7)" = 2 || fail 'an item is lost'
exits 0 shmctl put "$segment/full" 1 2
exits 0 shmctl put "$segment/fifo-0" kept
shmctl move "$segment/fifo-0" "$segment/full" >"$scratch/moved" &
mover=$!
await waits 'put full'
kill -KILL $mover
ends 137 $mover
exits 0 shmctl get "$segment/fifo-0" -c 2 --nowait
prints d kept
claim 'what cannot be put stays, also if the mover is killed'

# ---- join, reopen ----

exits 0 shmctl put "$segment/jobs" 1
exits 3 shmctl join "$segment/jobs" --nowait
complains "^shmctl: $segment/jobs: 1 tasks are left (--nowait)$"
exits 3 shmctl join "$segment/jobs" -t 0.1
complains 'timed out after 100 ms'
shmctl join "$segment/jobs" &
joiner=$!
await waits 'join jobs'
mkfifo "$scratch/fifo"
shmctl work "$segment/jobs" -c 1 -- sh -c "read line <'$scratch/fifo'" &
exec 3>"$scratch/fifo"
test "$(items jobs)" = 0 || fail 'the item has not been taken'
kill -0 $joiner || fail 'the join does not wait for the task'
echo done >&3
exec 3>&-
ends 0 $joiner
shmctl work "$segment/jobs" -c 1 -- sleep 1000 &
worker=$!
exits 0 shmctl put "$segment/jobs" 2
await has 0 jobs
kill -KILL $worker
ends 137 $worker
shmctl join "$segment/jobs" &
joiner=$!
await waits 'join jobs'
exits 0 shmctl get "$segment/jobs"
prints 2
ends 0 $joiner
claim 'join waits for tasks, also for that of a worker that was killed'

exits 0 shmctl shutdown "$segment/jobs"
exits 5 shmctl put "$segment/jobs" 3
exits 0 shmctl reopen "$segment/jobs"
exits 0 shmctl put "$segment/jobs" 3
exits 0 shmctl reopen "$segment/jobs"
exits 0 shmctl get "$segment/jobs" --nowait
prints 3
claim 'reopen undoes a shutdown'
