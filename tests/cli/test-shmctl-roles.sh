#!/bin/bash
# shmctl put --producer, get --consumer and --follow: a queue that ends as a pipe does; wait --gone.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
queue=$segment/jobs

exits 0 shmctl put --producer "$queue" one two three
exits 0 shmctl get --follow "$queue"
prints one two three
exits 3 shmctl get "$queue" --nowait
exits 0 shmctl put --producer "$queue" one
exits 5 shmctl get "$queue" --count 2
grep -q "^shmctl: $queue: the last producer has gone, and the queue is drained$" "$err" ||
    fail "it says $(cat "$err")"
claim 'behind the last producer is the end, and what had ended before is not told'

exits 0 shmctl put "$segment/other" one
exits 0 shmctl get "$segment/other"
exits 3 shmctl get --follow --nowait "$segment/other"
claim 'without a producer by role it has none'

mkfifo "$scratch/in" "$scratch/in2"
shmctl put --producer --stdin "$queue" <"$scratch/in" &
first=$!
exec 7>"$scratch/in"
# No process has a descriptor that another one waits for the end of.
shmctl get --follow --consumer "$queue" >"$scratch/got" 7>&- &
reader=$!
echo one >&7
await grep -qs one "$scratch/got"
shmctl put --producer --stdin "$queue" <"$scratch/in2" 7>&- &
second=$!
exec 8>"$scratch/in2"
echo two >&8
await grep -qs two "$scratch/got"
exec 7>&-
ends 0 $first
await waits 'get jobs'
exec 8>&-
ends 0 $second
ends 0 $reader
claim 'a reader ends when the last of its producers has'

shmctl put --producer --stdin "$queue" <"$scratch/in" &
first=$!
exec 7>"$scratch/in"
shmctl get --follow --consumer "$queue" >"$scratch/got2" 2>"$scratch/why" 7>&- &
reader=$!
echo one >&7
await grep -qs one "$scratch/got2"
kill -KILL $first
wait $first 2>/dev/null
exec 7>&-
ends 1 $reader
grep -q 'a producer of it has died' "$scratch/why" || fail "it says: $(cat "$scratch/why")"
claim 'it tells that a producer was killed'

shmctl get --follow --consumer "$queue" >"$scratch/got3" &
reader=$!
await waits 'get jobs'
{
    while echo line; do sleep 0.02; done
} 2>/dev/null | shmctl put --producer --stdin "$queue" 2>"$scratch/why2" &
writer=$!
await grep -qs line "$scratch/got3"
kill -KILL $reader
wait $reader 2>/dev/null
ends 5 $writer
grep -q 'the last consumer has gone' "$scratch/why2" || fail "it says: $(cat "$scratch/why2")"
claim 'a producer ends when the last consumer was killed'

# ---- streams ----

stream=$segment/signal
exits 0 shmctl stream append --producer "$stream" 1 2
exits 0 shmctl stream read --oldest --count 2 "$stream"
prints 1 2
exits 3 shmctl stream read --follow --nowait "$stream"
exits 2 shmctl stream read --producer "$stream"
exits 2 shmctl stream append --consumer "$stream" 1
reading() {
    shmctl ps -r -n -o WAITS "$segment" | grep -qx 'read\\x20signal'
}
# Behind the last producer, be it closed or killed: ends_reading STATUS SENTENCE, with the reader's
# command in $reads.
mkfifo "$scratch/samples"
follow() {
    "$@" >"$scratch/got4" 2>"$scratch/why4" 7>&- &
    reader=$!
    await reading
}
produce() {
    shmctl stream append --producer --stdin "$stream" <"$scratch/samples" &
    first=$!
    exec 7>"$scratch/samples"
    echo "$1" >&7
    await grep -qs "\(^\| \)$1\$" "$2"
}
follow shmctl stream read --follow "$stream"
produce 3 "$scratch/got4"
exec 7>&-
ends 0 $first
ends 0 $reader
grep -qx "shmctl: $stream: the last writer has gone, and all samples are read" "$scratch/why4" ||
    fail "it says $(cat "$scratch/why4")"
follow shmctl stream read --count 2 "$stream"
exits 0 shmctl stream append --producer "$stream" 4
ends 5 $reader
follow shmctl stream read --follow "$stream"
produce 5 "$scratch/got4"
kill -KILL $first
ends 137 $first
exec 7>&-
ends 1 $reader
grep -qx "shmctl: $stream: all samples are read, and a writer has died" "$scratch/why4" ||
    fail "it says $(cat "$scratch/why4")"
follow shmctl stream record "$stream" "$scratch/recorded"
produce 6 "$scratch/recorded"
exec 7>&-
ends 0 $first
ends 0 $reader
test "$(grep -vc '^#' "$scratch/recorded")" = 1 || fail "it is $(cat "$scratch/recorded")"
grep -qx "shmctl: $stream: the last writer has gone, and all samples are read" "$scratch/why4" ||
    fail "it says $(cat "$scratch/why4")"
follow shmctl stream read --follow "$stream"
exits 0 shmctl stream replay --producer "$scratch/recorded" "$stream"
ends 0 $reader
test "$(cat "$scratch/got4")" = 6 || fail "it reads $(cat "$scratch/got4")"
claim 'readers of a stream end behind its last producer, and tell whether one was killed'

follow shmctl stream read --follow --consumer "$stream"
{
    while echo 7; do sleep 0.02; done
} 2>/dev/null | shmctl stream append --producer --stdin "$stream" 2>"$scratch/why5" &
writer=$!
await grep -qs 7 "$scratch/got4"
kill -KILL $reader
ends 137 $reader
ends 5 $writer
grep -q 'the last consumer has gone' "$scratch/why5" || fail "it says: $(cat "$scratch/why5")"
claim 'a producer of a stream ends when the last consumer was killed'

follow shmctl stream read --follow "$stream"
shmctl demo sampler --rate 100 "$stream" 2>/dev/null &
writer=$!
await test -s "$scratch/got4"
kill -TERM $writer
ends 143 $writer
ends 0 $reader
follow shmctl stream read --follow "$stream"
exits 0 shmctl demo sampler --keep-readers --count 3 "$stream"
is_read() {
    test "$(wc -l <"$scratch/got4")" = 3
}
await is_read
await reading
shmctl demo sampler --rate 100 "$stream" 2>/dev/null &
writer=$!
not_three() {
    not is_read
}
await not_three
kill -KILL $writer
ends 137 $writer
ends 1 $reader
claim 'sampler is a producer, if it is not to be started again'

exits 4 shmctl wait --gone "$segment-none/reader"
exits 4 shmctl wait --gone "$segment/nothing"
complains "there is no member of that name"
shmctl --name reader get "$segment/none" &
reader=$!
await waits 'get none'
exits 3 shmctl wait --gone --nowait "$segment/reader"
exits 3 shmctl wait --gone --timeout 0.2 "$segment/reader"
complains 'timed out after 200 ms; a member of that name is there'
shmctl wait --gone "$segment/reader" >"$scratch/gone" &
supervisor=$!
sleep 0.1
kill -KILL $reader
wait $reader 2>/dev/null
ends 0 $supervisor
grep -qx "reader ($reader) died" "$scratch/gone" || fail "it prints: $(cat "$scratch/gone")"
exits 0 shmctl wait --gone "$segment/reader"
prints "reader ($reader) died"
shmctl --name writer get "$segment/none" --timeout 1 2>/dev/null &
writer=$!
await waits 'get none'
exits 0 shmctl wait --gone "$segment/writer"
prints "writer ($writer) left"
wait $writer
exits 2 shmctl wait --gone --until true "$segment/writer"
claim 'a supervisor learns that a member has died or left'
