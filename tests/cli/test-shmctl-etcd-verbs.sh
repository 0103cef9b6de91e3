#!/bin/bash
# Each verb of shmctl on etcd, as far as the other tests of etcd leave it out; and what cannot be
# there says so.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
. "$SHMKIT_SRCDIR/tests/cli/etcd.sh"

# Every verb that there is, is tried in one of these tests; demo in test-scenes.sh.
exits 0 shmctl --help
for verb in $(sed -n '/^  demo /d; s/^  \([a-z]*\)  *[a-z].*/\1/p' "$out"); do
    grep -Eq "^[^#]*shmctl (--name [a-z]+ )?$verb .*(on_etcd|etcd:|to)" \
        "$SHMKIT_SRCDIR"/tests/cli/test-*-{etcd*,bridge}.sh ||
        fail "no test tries 'shmctl $verb' on etcd"
done
claim 'every verb is tried'

start_etcd
on_etcd=etcd:$segment
export SHMKIT_ETCD_TTL=2

# ---- Queues ----

exits 0 shmctl put "$on_etcd/jobs" one two three
exits 0 shmctl purge "$on_etcd/jobs"
prints 3
exits 0 shmctl purge "$on_etcd/jobs"
prints 0
exits 4 shmctl purge "$on_etcd/none"
exits 0 shmctl join "$on_etcd/jobs"
exits 0 shmctl put "$on_etcd/jobs" one
exits 3 shmctl join -t 0.3 "$on_etcd/jobs"
shmctl join "$on_etcd/jobs" &
joiner=$!
await waits_so 'join jobs'
exits 0 shmctl get "$on_etcd/jobs"
ends 0 $joiner
claim 'purge and join'

seq 1 250 | shmctl put --stdin "$on_etcd/jobs" || fail 'put --stdin'
exits 0 shmctl peek -c 3 "$on_etcd/jobs"
exits 0 shmctl get -c 249 "$on_etcd/jobs"
seq 1 249 | diff - "$out" || fail 'not the items, in order'
exits 0 shmctl get -w "$on_etcd/jobs"
printf 250 | cmp - "$out" || fail "it prints $(cat "$out")"
printf 'a\0b\n' >"$scratch/item"
input=$scratch/item
exits 0 shmctl put --whole "$on_etcd/jobs"
exits 0 shmctl put --stdin --null "$on_etcd/jobs"
input=/dev/null
exits 0 shmctl get --whole "$on_etcd/jobs"
cmp "$scratch/item" "$out" || fail 'not the bytes'
exits 0 shmctl get -0 -c 2 "$on_etcd/jobs"
printf 'a\0b\n\0' | cmp - "$out" || fail 'not the bytes'
exits 1 shmctl put "$on_etcd/jobs" "$(head -c 2000 /dev/zero | tr '\0' x)"
complains '2000 bytes.*at most 1024'
exits 0 shmctl put -p 3 "$on_etcd/soon" late
exits 0 shmctl put -p -1 "$on_etcd/soon" early
exits 0 shmctl get -c 2 "$on_etcd/soon"
prints early late
shmctl get -f "$on_etcd/jobs" >"$scratch/followed" &
follower=$!
exits 0 shmctl put "$on_etcd/jobs" x y
exits 0 shmctl shutdown "$on_etcd/jobs"
ends 0 $follower
printf '%s\n' x y | diff - "$scratch/followed" || fail 'not what was put'
exits 0 shmctl reopen "$on_etcd/jobs"
claim 'put and get, as they are called'

exits 0 shmctl put "$on_etcd/jobs" 1 2 3
exits 4 shmctl move "$on_etcd/jobs" "$on_etcd/other"
complains "no such queue; 'shmctl create queue $on_etcd/other' creates it"
exits 0 shmctl create queue "$on_etcd/other"
exits 0 shmctl create queue "$segment/local"
exits 0 shmctl move -c 1 "$on_etcd/jobs" "$on_etcd/other"
prints 1
exits 0 shmctl move "$on_etcd/jobs" "$segment/local"
prints 2
exits 0 shmctl get -c 2 "$segment/local"
prints 2 3
exits 0 shmctl put "$segment/local" back
exits 0 shmctl move "$segment/local" "$on_etcd/other"
prints 1
exits 0 shmctl get -c 2 "$on_etcd/other"
prints 1 back
exits 3 shmctl get --nowait "$on_etcd/jobs"
exits 3 shmctl get --nowait "$segment/local"
exits 0 shmctl create queue "$on_etcd/narrow" --capacity 1
exits 0 shmctl put "$on_etcd/jobs" 1 2
exits 3 shmctl move --nowait "$on_etcd/jobs" "$on_etcd/narrow"
grep -q "$on_etcd/narrow: the queue is full" "$err" || fail "it says $(cat "$err")"
exits 0 shmctl get -c 1 "$on_etcd/jobs"
prints 2
exits 0 shmctl put -p 7 "$on_etcd/soon" seven
exits 0 shmctl put -p 3 "$on_etcd/soon" three
exits 0 shmctl create queue "$on_etcd/later" --order priority
exits 0 shmctl move "$on_etcd/soon" "$on_etcd/later"
exits 0 shmctl put -p 5 "$on_etcd/later" five
exits 0 shmctl get -c 3 "$on_etcd/later"
prints three five seven
claim 'move, on etcd and between it and shared memory'

exits 3 shmctl work --nowait "$on_etcd/jobs" -- true
exits 0 shmctl put "$on_etcd/jobs" 1 2 3 4
exits 0 shmctl work -j 2 -c 4 --results "$on_etcd/results" "$on_etcd/jobs" -- printf 'did %s'
exits 0 shmctl get -c 4 "$on_etcd/results"
sort "$out" | diff - <(printf 'did %d\n' 1 2 3 4) || fail "it prints $(cat "$out")"
exits 0 shmctl put "$on_etcd/jobs" bad
exits 1 shmctl work -c 1 --retries 1 --failed "$on_etcd/failed" "$on_etcd/jobs" -- false
grep -q "item 'bad': false exited with 1; given up after 2 attempts" "$err" ||
    fail "it says $(cat "$err")"
exits 0 shmctl get "$on_etcd/failed"
prints bad
exits 0 shmctl put "$on_etcd/jobs" long
shmctl --name slow work -c 1 "$on_etcd/jobs" -- sleep &
worker=$!
kill -KILL $worker
wait $worker 2>/dev/null
exits 0 shmctl work -c 1 "$on_etcd/jobs" -- printf %s
printf long | cmp - "$out" || fail "it prints $(cat "$out")"
claim 'work'

# ---- What is held over a part of a script ----

exec 9>/dev/null
exits 0 shmctl lock --fd 9 "$on_etcd/till"
exits 3 shmctl lock -n "$on_etcd/till" -- true
exits 0 shmctl lock --unlock --fd 9 "$on_etcd/till"
exits 0 shmctl lock -n "$on_etcd/till" -- true
exits 0 shmctl lock --fd 9 "$on_etcd/till"
exec 9>&-
exits 0 shmctl lock -t 10 "$on_etcd/till" -- true
exits 7 shmctl lock "$on_etcd/till" -c 'exit 7'
exits 77 shmctl lock "$on_etcd/till" -- shmctl lock -n -E 77 "$on_etcd/till" -- true
claim 'lock, as flock(1)'

# ---- Streams ----

seq 1 100 | shmctl stream append --stdin "$on_etcd/signal" || fail 'append'
exits 0 shmctl stream read --oldest --count 100 "$on_etcd/signal"
seq 1 100 | diff - "$out" || fail 'not the samples'
exits 0 shmctl create stream "$on_etcd/stamped" --stamped --rate 100
shmctl stream record -c 50 "$on_etcd/stamped" "$scratch/recording" &
recorder=$!
await waits_so 'read stamped'
seq 1 50 | shmctl stream append --stdin "$on_etcd/stamped"
ends 0 $recorder
exits 0 shmctl stream replay --speed 100 "$scratch/recording" "$on_etcd/again"
exits 0 shmctl stream read --oldest -c 50 "$on_etcd/again"
seq 1 50 | diff - "$out" || fail 'not the samples that were recorded'
claim 'stream: append, read, record and replay'

# ---- Roles ----

exits 0 shmctl put --producer "$on_etcd/orders" one two three
exits 0 shmctl get --follow "$on_etcd/orders"
prints one two three
exits 3 shmctl get --nowait "$on_etcd/orders"
exits 0 shmctl put --producer "$on_etcd/orders" one
exits 5 shmctl get --count 2 "$on_etcd/orders"
grep -q "^shmctl: $on_etcd/orders: the last producer has gone, and the queue is drained$" "$err" ||
    fail "it says $(cat "$err")"
mkfifo "$scratch/lines"
# A producer that puts what is written to descriptor 7, and a consumer.
start_roles() {
    shmctl put --producer --stdin "$on_etcd/orders" <"$scratch/lines" 2>"$scratch/put.err" &
    producer=$!
    exec 7>"$scratch/lines"
    shmctl get --follow --consumer "$on_etcd/orders" >"$scratch/got" 2>"$scratch/get.err" 7>&- &
    consumer=$!
    echo four >&7
    await grep -qs four "$scratch/got"
}
start_roles
exec 7>&-
ends 0 $producer
ends 0 $consumer
start_roles
kill -KILL $producer
wait $producer 2>/dev/null
exec 7>&-
ends 1 $consumer
grep -q 'a producer of it has died' "$scratch/get.err" || fail "it says $(cat "$scratch/get.err")"
start_roles
kill -KILL $consumer
wait $consumer 2>/dev/null
await eval '(echo more >&7) 2>/dev/null; is_over $producer'
ends 5 $producer
exec 7>&-
grep -q 'the last consumer has gone' "$scratch/put.err" || fail "it says $(cat "$scratch/put.err")"
claim 'put --producer and get --consumer'

# The writer of a stream closes it, and then is killed.
for ends in 'closed 0 the last writer has gone, and all samples are read' \
    'killed 1 all samples are read, and a writer has died'; do
    read -r how status sentence <<<"$ends"
    shmctl stream append --producer --stdin "$on_etcd/$how" <"$scratch/lines" &
    producer=$!
    exec 7>"$scratch/lines"
    echo 1 >&7
    await shmctl stream read --oldest --count 1 "$on_etcd/$how" >"$out" 2>"$err"
    shmctl stream read --follow --oldest --consumer "$on_etcd/$how" \
        >"$scratch/got" 2>"$scratch/get.err" 7>&- &
    consumer=$!
    await grep -qsx 1 "$scratch/got"
    test $how = closed || kill -KILL $producer
    exec 7>&-
    wait $producer 2>/dev/null
    ends "$status" $consumer
    grep -qx "shmctl: $on_etcd/$how: $sentence" "$scratch/get.err" ||
        fail "it says $(cat "$scratch/get.err")"
done
claim 'stream append --producer and stream read --consumer'

# ---- What cannot be there ----

exits 1 shmctl region get "$on_etcd/x"
complains 'cannot be on etcd'
exits 1 shmctl value get "$on_etcd/x"
complains 'cannot be on etcd'
exits 1 shmctl once "$on_etcd/x" -- true
complains 'cannot be on etcd'
exits 1 shmctl create value "$on_etcd/x"
complains 'cannot be on etcd'
exits 1 shmctl create once "$on_etcd/x"
complains 'cannot be on etcd'
exits 1 shmctl create cond "$on_etcd/x" --kind pthread
complains 'on etcd'
exits 1 shmctl create queue "$on_etcd/x" --capacity 10001
complains '10,\?000'
exits 1 shmctl create queue "$on_etcd/x" --item-size 2M
complains '1048576\|1 MiB'
exits 4 shmctl show "$on_etcd/x"
claim 'what cannot be there says so'
