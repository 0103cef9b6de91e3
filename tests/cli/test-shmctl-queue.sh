#!/bin/bash
# shmctl put, get and shutdown.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
queue=$segment/jobs

items() {
    shmctl show -r -n -o ITEMS "$queue"
}

exits 4 shmctl put --no-create "$queue" item
complains "^shmctl: $queue: no such queue; 'shmctl create queue $queue' creates it$"
exits 4 shmctl get --no-create "$queue"
exits 4 shmctl shutdown "$queue"
test ! -e "/dev/shm/$segment" || fail 'a segment has been created'
exits 0 shmctl create event "$segment/go"
exits 4 shmctl get --no-create "$queue"
complains "^shmctl: $queue: no such queue; 'shmctl create queue $queue' creates it$"
exits 1 shmctl put "$segment/go" item
complains "^shmctl: $segment/go[: ]"
claim 'without the queue, they say how to make it if they may not create it'

exits 0 shmctl create queue "$queue" --capacity 4 --item-size 64
exits 0 shmctl put "$queue" Python '' '存款者 甲' ' a  b '
prints_nothing
exits 3 shmctl put "$queue" Swift --nowait
complains "^shmctl: $queue: the queue is full (4 of 4 items) (--nowait)$"
exits 3 shmctl put "$queue" Swift --timeout 0.1
complains "^shmctl: $queue: timed out after 100 ms; the queue is full (4 of 4 items)$"
exits 0 shmctl get "$queue"
prints Python
exits 0 shmctl get "$queue" -c 3
prints '' '存款者 甲' ' a  b '
exits 3 shmctl get "$queue" --nowait
complains "^shmctl: $queue: the queue is empty (0 of 4 items) (--nowait)$"
exits 0 shmctl get "$queue" --count 0
prints_nothing
exits 0 shmctl put "$queue" -- -1 --stdin
exits 0 shmctl get "$queue" -c 2
prints -1 --stdin
exits 1 shmctl put "$queue" "$(printf '%065d' 0)"
complains "^shmctl: $queue[: ]"
test "$(items)" = 0 || fail "$(items) items"
claim 'items go in and come out as they are, in order'

exits 3 shmctl put "$queue" 1 2 3 4 5 6 --nowait
complains "^shmctl: $queue: 4 items were put before$"
exits 3 shmctl get "$queue" --nowait --count 9
test "$(tr '\n' ' ' <"$out")" = '1 2 3 4 ' || fail "it prints $(cat "$out")"
grep -q "^shmctl: $queue[: ]" "$err" || fail 'and does not say that it stopped'
claim 'what could be done before it would block is done'

# The clock is only ever asked whether it was too early.
begin=$(date +%s%N)
exits 3 shmctl get "$queue" -t 200ms
test $(($(date +%s%N) - begin)) -ge 200000000 || fail 'too early'
begin=$(date +%s%N)
exits 3 shmctl put "$queue" 1 2 3 4 5 --timeout 0.2
test $(($(date +%s%N) - begin)) -ge 200000000 || fail 'too early'
exits 0 shmctl get "$queue" --count 4 --timeout 0
exits 3 shmctl get "$queue" --timeout 0
claim 'a time out is told by the exit status'

# Each order, with a capacity and without.
for capacity in 7 0; do
    for order in fifo lifo priority; do
        exits 0 shmctl create queue "$segment/$order" --order $order --capacity $capacity \
            --item-size 64
        exits 0 shmctl show -r -n -o ORDER,CAPACITY,ITEM-SIZE,ITEMS,STATE "$segment/$order"
        test $capacity = 0 && state='0\x20items' || state='0/7\x20items'
        prints "$order $capacity 64 0 $state"
        exits 0 shmctl put "$segment/$order" 1 2 3
    done
    exits 2 shmctl put "$segment/priority" --priority one x
    complains "invalid number 'one'"
    exits 2 shmctl put "$segment/priority" -p 9223372036854775808 x
    complains 'too large'
    exits 2 shmctl put "$segment/priority" -p -9223372036854775809 x
    complains 'too small'
    exits 0 shmctl put "$segment/priority" --priority -9223372036854775808 first
    exits 0 shmctl put "$segment/priority" --priority=7 last
    printf '4\n5' >"$scratch/lines"
    input=$scratch/lines exits 0 shmctl put "$segment/priority" -p -1 --stdin --nowait || exit 1
    for order in fifo lifo; do
        exits 1 shmctl put "$segment/$order" -p 1 x
        complains "^shmctl: $segment/$order: .*priority"
    done
    test $capacity = 0 || exits 3 shmctl put "$segment/priority" full --nowait
    exits 0 shmctl get "$segment/fifo" -c 3
    prints 1 2 3
    exits 0 shmctl get "$segment/lifo" -c 3
    prints 3 2 1
    exits 0 shmctl get "$segment/priority" -c 7
    prints first 4 5 1 2 3 last
    exits 0 shmctl show -J -o KIND,ORDER,CAPACITY,ITEMS,SHUT-DOWN "$segment/priority"
    tr -d ' \n' <"$out" >"$scratch/json"
    grep -q '"kind":"queue","order":"priority","capacity":'$capacity',"items":0,"shut-down":false' \
        "$scratch/json" || fail "$(cat "$out")"
    exits 0 shmctl ls -J -o NAME,ORDER,CAPACITY,ITEMS "$segment"
    tr -d ' \n' <"$out" |
        grep -q '{"name":"lifo","order":"lifo","capacity":'$capacity',"items":0}' ||
        fail "$(cat "$out")"
    exits 0 shmctl rm "$segment/fifo" "$segment/lifo" "$segment/priority"
done
claim 'items come out in the order of their queue, and priorities are for priority queues'

printf 'one\n\n  two\\\n存款\nlast' >"$scratch/lines"
input=$scratch/lines exits 3 shmctl put --stdin "$queue" --nowait
exits 0 shmctl get "$queue" --count 4
(cat "$scratch/lines" && echo) | head -n 4 | cmp - "$out" || fail 'lines are not what they were'
printf 'one\n\n  two\\\nlast' >"$scratch/lines"
input=$scratch/lines exits 0 shmctl put --stdin "$queue"
exits 0 shmctl get "$queue" --count 4
(cat "$scratch/lines" && echo) | cmp - "$out" || fail 'lines are not what they were'
printf 'a\nb\0\0c' >"$scratch/nulls"
input=$scratch/nulls exits 0 shmctl put -s0 "$queue"
test "$(items)" = 3 || fail "$(items) items"
exits 0 shmctl get -0 -c 3 "$queue"
printf 'a\nb\0\0c\0' | cmp - "$out" || fail 'nulls'
exits 0 shmctl put --stdin "$queue"
test "$(items)" = 0 || fail 'no lines are an item'
input=$scratch exits 1 shmctl put --stdin "$queue"
complains '^shmctl: standard input: '
claim 'lines of the standard input are items, byte for byte'

head -c 64 /dev/urandom >"$scratch/bytes"
input=$scratch/bytes exits 0 shmctl put --whole "$queue"
exits 0 shmctl put -w "$queue"
test "$(items)" = 2 || fail "$(items) items"
exits 0 shmctl get --whole "$queue"
cmp "$scratch/bytes" "$out" || fail 'the item is not what was put'
exits 0 shmctl get -w "$queue"
prints_nothing
input=/dev/zero exits 1 shmctl put --whole "$queue"
complains "^shmctl: $queue[: ]"
input=$scratch exits 1 shmctl put --whole "$queue"
complains '^shmctl: standard input: '
exits 2 shmctl put --whole "$queue" item
test "$(items)" = 0 || fail "$(items) items"
claim 'the whole standard input is an item, byte for byte'

shmctl put "$queue" 1 2 3 4 5 &
putter=$!
await waits 'put jobs'
exits 0 shmctl get "$queue"
ends 0 $putter
exits 0 shmctl get "$queue" -c 4
shmctl get "$queue" >"$scratch/got" &
getter=$!
await waits 'get jobs'
exits 0 shmctl put "$queue" Kotlin
ends 0 $getter
test "$(cat "$scratch/got")" = Kotlin || fail "and prints $(cat "$scratch/got")"
claim 'a put waits for room, a get for an item'

# Ctrl-C: the shell sees the signal, nothing is lost, no dead member is left.
for signal in INT TERM HUP; do
    for verb in get put; do
        test $verb = get || exits 0 shmctl put "$queue" 1 2 3 4
        # A shell starts what it puts into the background with SIGINT ignored; env puts it right.
        env --default-signal shmctl $verb "$queue" \
            $(test $verb = get || echo 5) >"$scratch/got" 2>&1 &
        sleeper=$!
        await waits "$verb jobs"
        kill -$signal $sleeper
        ends $((128 + $(kill -l $signal))) $sleeper
        test ! -s "$scratch/got" || fail "SIG$signal: $verb says $(cat "$scratch/got")"
        test "$(shmctl show -r -n -o MEMBERS,DEAD "$segment")" = '0 0' ||
            fail "SIG$signal: $verb did not leave"
    done
    exits 0 shmctl get "$queue" -c 4
done
mkfifo "$scratch/fifo"
env --default-signal shmctl put --stdin "$queue" <"$scratch/fifo" &
putter=$!
exec 3>"$scratch/fifo"
echo line >&3
exits 0 shmctl get "$queue"
prints line
kill -INT $putter
ends 130 $putter
exec 3>&-
trap '' INT
shmctl get "$queue" >"$scratch/got" &
getter=$!
trap 'exit 1' INT
await waits 'get jobs'
kill -INT $getter
exits 0 shmctl put "$queue" still
ends 0 $getter
claim 'Ctrl-C ends it by that signal'

shmctl get --follow "$queue" >"$scratch/followed" 2>"$scratch/complaints" &
follower=$!
seq 1000 | (input=/dev/stdin exits 0 shmctl put --stdin "$queue") || exit 1
exits 0 shmctl shutdown "$queue"
prints_nothing
ends 0 $follower
seq 1000 | cmp - "$scratch/followed" || fail 'get --follow prints something else than was put'
test ! -s "$scratch/complaints" || fail "get --follow complains: $(cat "$scratch/complaints")"
exits 5 shmctl put "$queue" late
complains "^shmctl: $queue[: ]"
exits 5 shmctl get "$queue"
exits 5 shmctl get "$queue" --nowait
exits 0 shmctl get "$queue" --follow
prints_nothing
exits 0 shmctl shutdown "$queue"
claim 'shutdown ends a get --follow; what comes later exits with 5'

exits 0 shmctl create queue "$segment/few" --capacity 2
exits 0 shmctl put "$segment/few" 1 2
shmctl put "$segment/few" 3 2>/dev/null &
putter=$!
await waits 'put few'
exits 0 shmctl shutdown "$segment/few"
ends 5 $putter
exits 5 shmctl get "$segment/few" -c 3
test "$(tr '\n' ' ' <"$out")" = '1 2 ' || fail "get -c 3 prints $(cat "$out")"
exits 4 shmctl shutdown "$segment/none"
exits 1 shmctl shutdown "$segment/go"
claim 'shutdown wakes a producer that sleeps in a put, and what is in the queue can still be taken'

# A line that is too long, or odd, does not end what reads on.
exits 0 shmctl create queue "$segment/short" --item-size 8
printf 'one\n%09d\ntwo\n\n%0100000d\n12345678\nlast' 1 2 >"$scratch/lines"
input=$scratch/lines exits 1 shmctl put --stdin "$segment/short"
grep -q "an item of 9 bytes is too large" "$err" || fail "it says $(cat "$err")"
exits 0 shmctl get "$segment/short"
prints one
input=$scratch/lines exits 0 shmctl put --stdin --skip-long "$segment/short"
complains "^shmctl: $segment/short: 2 of 7 items were longer than 8 bytes, and skipped; \
the first: 2$"
exits 0 shmctl get -c 5 "$segment/short"
prints one two '' 12345678 last
exits 0 shmctl put --skip-long "$segment/short" 1 123456789 3
exits 0 shmctl get -c 2 "$segment/short"
prints 1 3
head -c 20000000 /dev/zero >"$scratch/endless"
echo >>"$scratch/endless"
input=$scratch/endless exits 0 shmctl put --stdin --skip-long "$segment/short"
complains '1 of 1 items were longer'
rm "$scratch/endless"
exits 0 shmctl shutdown "$segment/short"
input=$scratch/lines exits 5 shmctl put --stdin --skip-long "$segment/short"
claim 'with --skip-long an item that is too long is skipped, counted and told'

# Nothing is taken that could not be printed.
left() {
    test "$(shmctl show -r -n -o ITEMS "$segment/full")" = "$1"
}
exits 0 shmctl create queue "$segment/full" --capacity 4 --item-size 8K
exits 0 shmctl put "$segment/full" 1 2
exits 1 bash -c "shmctl get $segment/full >/dev/full"
complains '^shmctl: standard output: '
left 2 || fail 'an item that could not be printed has been taken'
mkfifo "$scratch/output"
dead=$(shmctl show -r -n -o DEAD "$segment") # from above
# A pipe without a reader: by SIGPIPE, as other programs; where that is ignored, with a sentence.
for treatment in default ignore; do
    env --$treatment-signal=PIPE shmctl get "$segment/full" >"$scratch/output" 2>"$scratch/said" &
    getter=$!
    exec 3<"$scratch/output" # and gone
    exec 3<&-
    wait $getter
    status=$?
    if ! left 2; then # it had a reader still when it took the item
        left 1 || fail 'two items have been taken'
        test $status = 0 || fail "it exits with $status"
        exits 0 shmctl put "$segment/full" 1
    elif test $treatment = default; then
        test $status = 141 -a ! -s "$scratch/said" ||
            fail "it exits with $status: $(cat "$scratch/said")"
    else
        test $status = 1 || fail "it exits with $status: $(cat "$scratch/said")"
        grep -qx 'shmctl: standard output: Broken pipe' "$scratch/said" ||
            fail "it says $(cat "$scratch/said")"
    fi
done
exits 0 shmctl get "$segment/full" -c 2
test "$(shmctl show -r -n -o MEMBERS,DEAD "$segment")" = "0 $dead" || fail 'it did not leave'
claim 'an item that cannot be printed is an error, and stays in the queue'

# Into a pipe: each when the one before has been read, whatever its size.
for size in 1 5000; do
    for item in 1 2 3; do
        printf "%0${size}d" $item | shmctl put --whole "$segment/full" || fail 'put'
    done
    shmctl get --follow "$segment/full" >"$scratch/output" &
    getter=$!
    exec 3<"$scratch/output"
    await left 2
    sleep 0.2
    left 2 || fail "the first of $size bytes has not been read, and there are left:" \
        "$(shmctl show -n -o ITEMS "$segment/full")"
    read -r -t 60 line <&3
    test "$line" = "$(printf "%0${size}d" 1)" || fail "it prints '$line'"
    await left 1
    exec 3<&- # that item is lost with the pipe; the other one is not
    wait $getter
    status=$?
    test $status = 141 || fail "it exits with $status"
    left 1 || fail 'an item has been taken that nothing could read'
    exits 0 shmctl get "$segment/full"
done
claim 'get --follow takes an item when the one before has been read from the pipe'

shmctl get --follow "$segment/full" >"$scratch/output" &
getter=$!
exec 3<"$scratch/output"
await waits 'get full'
exec 3<&-
ends 141 $getter
shmctl get "$segment/full" >"$scratch/output" &
getter=$!
exec 3<"$scratch/output"
await waits 'get full'
exec 3<&-
ends 141 $getter
exits 0 shmctl put "$segment/full" x
left 1 || fail 'it has been taken'
claim 'a reader that has gone is noticed while it waits for an item'

# Several at a time: -EAGAIN is for an empty queue, and not for one whose side is busy for a moment.
for order in fifo priority; do
    exits 0 shmctl create queue "$segment/many-$order" --order $order
    seq 200 | shmctl put --stdin "$segment/many-$order" || fail 'put'
    getters=()
    for i in 1 2 3 4; do
        while shmctl get \
            --nowait "$segment/many-$order" >>"$scratch/many-$order-$i" 2>/dev/null; do :; done &
        getters+=($!)
    done
    wait "${getters[@]}"
    sort -n "$scratch/many-$order"-* >"$scratch/all"
    seq 200 | cmp - "$scratch/all" || fail "not each item once, or not all of the $order queue"
done
claim 'loops of get --nowait end when the queue is empty, not before'
