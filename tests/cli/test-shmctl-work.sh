#!/bin/bash
# shmctl work: a command for each item, by any number of workers, and whatever is killed.
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

# Complained of the item: at the end of a line.
says() {
    grep -q -- "^shmctl: $queue: item '$1" "$err" || fail "it says $(cat "$err")"
}

exits 0 shmctl put "$queue" 1 2 3
exits 1 shmctl work -c 3 --retries 1 "$queue" -- test 2 !=
says "2': test exited with 1; attempt 1 of 2$"
says "2': test exited with 1; given up after 2 attempts$"
left 0 || fail 'it did not go on'
exits 0 shmctl put "$queue" 1 2 3
exits 7 shmctl work --retries 0 --stop "$queue" -- sh -c 'test $0 != 2 || exit 7'
says "2': sh exited with 7; given up after 1 attempt$"
left 1 || fail 'it went on'
exits 1 shmctl work -c 1 --retries 0 "$queue" -- sh -c 'kill -KILL $$'
says "3': sh was killed by signal 9 "
exits 0 shmctl put "$queue" 1
exits 0 shmctl work -c 1 "$queue" -- sh -c 'test $SHMKIT_ATTEMPT = 4'
says "1': sh exited with 1; attempt 3 of 4$"
exits 0 shmctl put "$queue" 1 2 3
exits 0 shmctl work -c 3 --delay 300ms "$queue" -- sh -c \
    'echo $0; test $0 != 1 || test $SHMKIT_ATTEMPT = 2'
test "$(tr '\n' ' ' <"$out")" = '1 2 3 1 ' || fail "it prints $(cat "$out")"
claim 'a command that fails is tried again, and the exit status tells whether all went well'

# In the queue, leased, delayed, put, taken.
shows() {
    exits 0 shmctl show -r -n -o ITEMS,LEASED,DELAYED,PUTS,GETS "$segment/leased"
    prints "$1"
}

exits 0 shmctl put "$segment/leased" 1 2 3
shows '3 0 0 3 0'
exits 0 shmctl work -c 1 "$segment/leased" -- true
exits 0 shmctl put "$segment/leased" 4
exits 0 shmctl create event "$segment/hold"
shmctl work -c 1 "$segment/leased" -- sh -c 'shmctl event wait "$0"' "$segment/hold" 2>/dev/null &
worker=$!
is_leased() {
    shmctl show -r -n -o LEASED "$segment/leased" | grep -qx 1
}
await is_leased
shows '2 1 0 4 1'
exits 0 shmctl show -n -o STATE "$segment/leased"
grep -qx "2 items, 1 leased (longest: .* by $script ($worker))" "$out" ||
    fail "it says $(cat "$out")"
exits 0 shmctl ps -r -n -o PID,LEASES "$segment"
grep -qx "$worker 1" "$out" || fail "it prints $(cat "$out")"
exits 0 shmctl event set "$segment/hold"
ends 0 $worker
shows '2 0 0 4 2'
claim 'what is leased is shown, and by which process'

exits 0 shmctl create queue "$segment/order" --order priority
for jobs in "$queue" "$segment/order"; do
    exits 0 shmctl put "$jobs" 1
    exits 127 shmctl work "$jobs" -- "$scratch/none"
    complains "^shmctl: $scratch/none: "
    exits 126 shmctl work "$jobs" -- "$scratch"
    printf '#!%s\n' "$scratch/no-shell" >"$scratch/broken"
    chmod +x "$scratch/broken"
    exits 127 shmctl work "$jobs" -- "$scratch/broken"
    grep -qx "shmctl: $jobs: item '1' has been given back" "$err" || fail "it says $(cat "$err")"
    exits 0 shmctl work -c 1 "$jobs" -- sh -c 'test $SHMKIT_ATTEMPT = 1'
done
claim 'an item whose command cannot be executed goes back, and the worker ends'

exits 0 shmctl put --priority 5 "$segment/order" five
exits 0 shmctl put --priority 7 "$segment/order" seven
printf 'a\0b' | shmctl put --priority 6 --whole "$segment/order" || fail 'put'
exits 1 shmctl work -c 3 --retries 0 --failed "$segment/failed" "$segment/order" -- false
grep -q 'there is a zero byte in the item: --stdin is needed; given up after 1 attempt, and put' \
    "$err" || fail "it says $(cat "$err")"
exits 0 shmctl show -r -n -o ORDER,ITEMS "$segment/failed"
prints 'priority 3'
exits 0 shmctl put --priority 6 "$segment/failed" six
exits 0 shmctl get -0 -c 4 "$segment/failed"
printf 'five\0a\0b\0six\0seven\0' | cmp - "$out" || fail 'it has lost its priority'
exits 0 shmctl create queue "$segment/large" --item-size 1M
head -c 200000 /dev/zero | tr '\0' x | shmctl put --whole "$segment/large" || fail 'put'
exits 1 shmctl work -c 1 --failed "$segment/large-failed" "$segment/large" -- true
grep -q 'too long for an argument: --stdin is needed; given up' "$err" ||
    fail "it says $(cat "$err")"
exits 0 shmctl work -c 1 --stdin "$segment/large-failed" -- sh -c 'test $(wc -c) = 200000'
exits 2 shmctl work --failed "$queue" "$queue" -- true
complains "$queue cannot take what comes of its own items$"
claim 'what is given up goes into the queue for that, with its priority'

exits 0 shmctl put "$queue" 2 0 3
exits 1 shmctl work -c 3 --retries 0 --results "$segment/results" "$queue" -- sh \
    -c 'seq $0; test $0 != 0'
test ! -s "$out" || fail "it prints $(cat "$out")"
exits 0 shmctl get -0 -c 2 "$segment/results"
printf '1\n2\n\0001\n2\n3\n\0' | cmp - "$out" || fail "the results are $(cat "$out")"
exits 0 shmctl create queue "$segment/narrow" --item-size 4 --capacity 1
exits 0 shmctl put "$queue" 9 1 1
shmctl work -c 3 --retries 0 --results "$segment/narrow" "$queue" -- seq 2>"$err" &
worker=$!
await left 0
exits 3 shmctl put --nowait "$segment/narrow" full
ends_waiting() {
    not kill -0 $worker 2>/dev/null
}
ends_waiting && fail 'it did not wait for room'
exits 0 shmctl get -c 2 "$segment/narrow"
ends 1 $worker
claim 'what a command prints is a result, which waits for room'

exits 0 shmctl put "$queue" 1
begin=$(date +%s%N)
exits 1 shmctl work -c 1 --retries 0 --timeout 200ms "$queue" -- sh -c 'sleep 1h; true'
says "1': sh took longer than 200 ms; given up"
test $(($(date +%s%N) - begin)) -ge 200000000 || fail 'too early'
exits 0 shmctl put "$queue" 1
exits 1 shmctl work -c 1 --retries 0 --timeout 100ms --kill-after 100ms "$queue" -- sh \
    -c 'trap "" TERM; sleep 1h; true'
says "1': sh took longer than 100 ms; given up"
claim 'a command that takes too long is ended, with all that it has started'

# Room is for what comes, and not for the largest item that may come: 1 GiB each.
exits 0 shmctl create queue "$segment-wide/jobs" --item-size 1G --segment-size 16G
within() {
    (ulimit -v 17000000 && "$@")
}
if within shmctl peek "$segment-wide/jobs"; then
    for length in 5 70000; do
        head -c $length /dev/zero | tr '\0' x >"$scratch/item"
        for way in --whole --stdin; do
            within shmctl put $way "$segment-wide/jobs" <"$scratch/item" || fail "put $way $length"
        done
        within shmctl work --jobs 2 -c 2 --stdin "$segment-wide/jobs" -- wc -c >"$out" ||
            fail "work with $length bytes"
        test "$(tr '\n' ' ' <"$out")" = "$length $length " || fail "its items: $(cat "$out")"
        within shmctl put --whole "$segment-wide/jobs" <"$scratch/item" || fail 'put'
        within shmctl demo consumer --raw --count 1 "$segment-wide/jobs" >"$out" ||
            fail "consumer with $length bytes"
        { cat "$scratch/item" && echo; } | cmp - "$out" || fail 'the consumer has another item'
        within shmctl put --whole "$segment-wide/jobs" <"$scratch/item" || fail 'put'
        within shmctl get --whole "$segment-wide/jobs" | cmp - "$scratch/item" || fail 'get'
    done
    claim 'room is taken for the items that come, not for the largest that may'
else
    echo 'not tried: these programs do not run with so little address space'
fi

# Four at a time: each waits for the three others.
exits 0 shmctl put "$queue" 1 2 3 4
exits 0 shmctl work -c 4 --jobs 4 --timeout 1min "$queue" -- sh \
    -c 'shmctl barrier wait --parties 4 "$0/meet"' "$segment"
test "$(sort "$out" | tr '\n' ' ')" = '0 1 2 3 ' || fail "they print $(cat "$out")"
exits 3 shmctl work --jobs 4 --wait 200ms "$queue" -- true
complains "^shmctl: $queue: timed out after 200 ms; the queue is empty$"
exits 2 shmctl work --jobs 0 "$queue" -- true
exits 0 shmctl put "$queue" 1
exits 0 shmctl work -v -c 1 "$queue" -- true
says "1': attempt 1 by process [0-9]*$"
says "1': done in [0-9.e-]* s$"
exits 0 shmctl put "$queue" 1 2
on_terminal 100 "shmctl work -c 2 $queue -- true" >"$scratch/screen"
grep -q '2 done, 0 failed, 0 running, 0 waiting' "$scratch/screen" ||
    fail "it shows $(cat "$scratch/screen")"
claim 'several commands run at a time'

# A line for each event, and nothing else: what commands print is on the standard error.
printf 'a\0b\\' | shmctl put --whole "$queue" || fail 'put'
exits 0 shmctl put "$queue" 1 '存 "2"'
exits 1 shmctl work --json-lines --delay 10ms --retries 1 --failed "$segment/set-aside" -c 3 \
    "$queue" -- sh -c 'echo "out $1"; test "$1" != 1' sh
test "$(grep -c '^out ' "$err")" = 3 || fail "it says $(cat "$err")"
not grep -qv '^{"time": "20[-0-9]*T[:0-9]*\.[0-9]*[-+][0-9]*", "event": ".*}$' "$out" ||
    fail "it prints $(cat "$out")"
events() {
    local event='"event": "\([^"]*\)"' attempt='"attempt": \([0-9]*\)'
    sed -n "s/.*$event.*\"item\": \"$1\", .*$attempt, .*/\\1 \\2/p" "$out" | tr '\n' ' '
}
happens() {
    test "$(events "$2")" = "$1 " || fail "of '$2': $(events "$2")"
}
happens 'failed 1 given-up 1' 'a\\\\x00b\\\\\\\\'
happens 'started 1 failed 1 retried 1 started 2 failed 2 given-up 2' 1
happens 'started 1 done 1' '存 \\"2\\"'
grep -q '"retried", .*"pause": 0.010, ' "$out" || fail "it prints $(cat "$out")"
grep -q "\"given-up\", .*\"reason\": \"sh exited with 1\", .*\"into\": \"$segment/set-aside\"}\$" \
    "$out" || fail "it prints $(cat "$out")"
grep -q '"event": "failed", .*"item": "1", .*"status": 1, "for": [0-9.]*, "reason": "sh exited' \
    "$out" || fail "it prints $(cat "$out")"
if command -v python3 >/dev/null; then
    python3 -c 'import json, sys; [json.loads(line) for line in sys.stdin]' <"$out" ||
        fail 'a line is no JSON'
fi
exits 0 shmctl put "$queue" 1
exits 0 shmctl work --json-lines --results "$segment/reported" -c 1 "$queue" -- echo result
happens 'started 1 done 1' 1
grep -q "\"done\", .*\"into\": \"$segment/reported\"}\$" "$out" || fail "it prints $(cat "$out")"
exits 0 shmctl get --whole "$segment/reported"
prints 'result 1'
exits 0 shmctl put "$queue" 1
shmctl work --json-lines "$queue" -- sh -c "kill -TERM \$PPID; read line <'$scratch'" >"$out" \
    2>/dev/null &
ends 143 $!
happens 'started 1 failed 1 returned 1' 1
# What reads the lines goes: the command in hand ends in peace, and is the last.
exits 0 shmctl put "$queue" 2
shmctl work --json-lines "$queue" -- sh -c 'sleep 0.2; echo "$1" >>"$0"' "$scratch/ended" \
    2>"$err" | head -n 1 >/dev/null
test "${PIPESTATUS[0]}" = 1 || fail 'its exit status'
grep -qx "shmctl: $queue: standard output: Broken pipe; it ends" "$err" || fail "$(cat "$err")"
test "$(wc -l <"$err") $(cat "$scratch/ended")" = '1 1' || fail 'not one command'
exits 0 shmctl purge "$queue"
claim 'with --json-lines each event of an item has a line'

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
# A command that ends when it is told to by the fifo; Ctrl-C does not reach it.
start_worker() {
    env --default-signal shmctl work "$queue" -- sh \
        -c "echo \$1 >'$scratch/fifo'; cat '$scratch/fifo'" sh >"$scratch/got" 2>"$scratch/said" &
    worker=$!
    read -r line <"$scratch/fifo"
}
start_worker
kill -INT $worker
echo end >"$scratch/fifo"
ends 130 $worker
test "$(cat "$scratch/got")" = end || fail 'the command has not been awaited'
left 4 || fail 'it went on'
for signal in TERM HUP; do
    start_worker
    test "$line" = 2 || fail "$line is the next"
    kill -$signal $worker
    ends $((128 + $(kill -l $signal))) $worker
    grep -q "item '2': sh was killed by signal 15 .*; it has been given back$" "$scratch/said" ||
        fail "it says $(cat "$scratch/said")"
done
exits 0 shmctl work -c 1 --nowait "$queue" -- sh -c 'test $0:$SHMKIT_ATTEMPT = 2:1'
# The command says what it hears.
env --default-signal shmctl work "$queue" -- sh -c "trap 'echo TERM >&3' TERM
    exec 3>'$scratch/fifo'; echo \$1 >&3; while :; do sleep 0.05; done" sh 2>"$scratch/said" &
worker=$!
exec 3<"$scratch/fifo"
read -r -t 60 line <&3
kill -INT $worker
kill -TERM $worker
read -r -t 60 line <&3
test "$line" = TERM || fail 'the command is not told'
kill -TERM $worker
ends 143 $worker
exec 3<&-
exits 0 shmctl work -c 1 --nowait "$queue" -- sh -c 'test $0:$SHMKIT_ATTEMPT = 3:1'
env --default-signal shmctl work "$queue" -- true 6<&- &
ends_when_drained=$!
await left 0
await waits 'get signals'
kill -INT $ends_when_drained
ends 130 $ends_when_drained
claim 'a signal lets the command in hand end, or ends it and gives the item back'

# Killed: the command dies with all of its group, and then the item is another worker's.
exits 0 shmctl put "$queue" 1
shmctl work "$queue" -- sh -c "sleep 1h; true" &
worker=$!
group=
find_group() {
    group=$(children $worker sh) && test -n "$group"
}
await find_group
below=$(children "$group" sleep)
kill -KILL $worker
ends 137 $worker
is_gone() {
    not grep -qE '\) [^Z] ' "/proc/$1/stat" 2>/dev/null
}
exits 0 shmctl work -c 1 "$queue" -- sh -c 'echo $1:$SHMKIT_ATTEMPT' sh
prints 1:2
await is_gone "$group"
test -z "$below" || await is_gone "$below"
exits 0 shmctl put "$queue" poison
for attempt in 1 2; do
    shmctl work "$queue" -- sh -c 'kill -KILL $PPID; sleep 1h' 2>/dev/null
done
exits 1 shmctl work --retries 1 --failed "$segment/poison" -c 1 "$queue" -- true
says "poison': its command has failed, or its worker has died; given up after 3 attempts, and put"
exits 0 shmctl get "$segment/poison"
prints poison
claim 'a worker that is killed takes its commands along, and no item'

# Ten kills among three workers of two commands: each of 100 items is done.
seq 100 | shmctl put --stdin "$segment/hundred" || fail 'put'
exits 0 shmctl shutdown "$segment/hundred"
workers=()
for i in 1 2 3; do
    (
        while :; do
            shmctl work --jobs 2 --retries 100 "$segment/hundred" -- sh \
                -c 'sleep 0.02; echo "$1" >>"$0/hundred-$$"' "$scratch" 2>>"$scratch/said"
            status=$?
            test $status -lt 128 && exit $status
        done
    ) &
    workers+=($!)
done
for i in 1 2 3 4 5 6 7 8 9 10; do
    sleep 0.1
    victim=$(children "${workers[i % 3]}" shmctl)
    test $((i % 2)) = 0 || victim=$(children "${victim:-0}" sh)
    kill -KILL $victim 2>/dev/null
done
for worker in "${workers[@]}"; do
    ends 0 $worker
done
cat "$scratch"/hundred-* | sort -n -u >"$scratch/all"
seq 100 | cmp - "$scratch/all" || fail 'not each item is done'
claim 'whatever is killed, each item is done'
