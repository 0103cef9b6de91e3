#!/bin/bash
# shmctl metrics, watch, hz and show --interval of segments on etcd.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
. "$SHMKIT_SRCDIR/tests/cli/etcd.sh"
start_etcd
on_etcd=etcd:$segment

exits 4 shmctl metrics "$on_etcd"
exits 4 shmctl watch "$on_etcd" --batch -c 1
exits 4 shmctl hz "$on_etcd/jobs" -c 1
exits 0 shmctl create queue "$on_etcd/jobs" --capacity 2
exits 0 shmctl create event "$on_etcd/go"
exits 0 shmctl create semaphore "$on_etcd/seats" --value 3
exits 0 shmctl create barrier "$on_etcd/meet" --parties 3
exits 0 shmctl create stream "$on_etcd/signal"
exits 0 shmctl create rwlock "$on_etcd/books"
exits 0 shmctl put "$on_etcd/jobs" 1 2
exits 0 shmctl stream append "$on_etcd/signal" 1 2
exits 4 shmctl hz "$on_etcd/none" -c 1
complains "there is no object none in segment $on_etcd\$"
exits 1 shmctl hz "$on_etcd/jobs" -c 1
complains 'on etcd a queue has no rate'
exits 2 shmctl metrics "$on_etcd/jobs"
exits 2 shmctl watch "$on_etcd/jobs" -c 1
claim 'what has no figures says so'

# ---- metrics ----

mkfifo "$scratch/fifo"
shmctl lock "$on_etcd/till" -- sh -c "read line <'$scratch/fifo'" &
exec 3>"$scratch/fifo"
shmctl put "$on_etcd/jobs" 3 &
await waits_so 'put jobs'
is_held() {
    shmctl show -n -r -o STATE "$on_etcd/till" | grep -q '^held'
}
await is_held

# A figure: metric NAME [OBJECT]
metric() {
    sed -n "s/^shmkit_$1{segment=\"$on_etcd\"${2:+,object=\"$2\",kind=\"[a-z]*\"}} //p" "$out"
}
is() {
    test "$(metric "$2" "${3-}")" = "$1" || fail "$2 ${3-} is '$(metric "$2" "${3-}")', not $1"
}
has_all() {
    test ! -s "$err" || fail "it complains: $(cat "$err")"
    is 1 segment_good
    is 7 segment_objects
    is 2 segment_members
    is 2 queue_items jobs
    is 2 queue_capacity jobs
    is 0 queue_shut_down jobs
    is 1 object_waiters jobs
    is 0 object_waiters till
    is 0 event_set go
    is 1 lock_held till
    is 0 lock_held books
    is 0 lock_orphaned till
    is 3 barrier_parties meet
    is 3 semaphore_permits seats
    is 2 stream_samples_total signal
    awk -v w="$(metric queue_put_wait_seconds jobs)" 'BEGIN { exit !(w > 0 && w < 60) }' ||
        fail "a producer waits for $(metric queue_put_wait_seconds jobs)"
    # what is counted in shared memory alone is no 0
    for figure in segment_resident_bytes segment_max_members segment_max_objects; do
        is '' $figure
    done
    for figure in object_memory_bytes object_users object_rebuilds_total \
        object_holders_lost_total queue_puts_total queue_gets_total queue_high_water \
        queue_leased queue_delayed queue_came_back; do
        is '' $figure jobs
    done
    test "$(tail -n 1 "$out")" = '# EOF' || fail 'the end is missing'
}
exits 0 shmctl metrics "$on_etcd"
has_all
exits 0 shmctl metrics etcd:
has_all
grep -q 'segment="etcd:shmkit-test"' "$out" || fail 'another segment is missing'
exits 0 shmctl metrics "$on_etcd" --output "$scratch/etcd.prom"
prints_nothing
cp "$scratch/etcd.prom" "$out"
has_all
exits 0 shmctl metrics
not grep -q etcd: "$out" || fail 'metrics of this machine has what is on etcd'
claim 'metrics'

# ---- watch ----

exits 0 shmctl watch "$on_etcd" --batch -i 0.1 -c 1 -o PATH,KIND,STATE,WAITERS
grep -Eqx '[0-9:]{8}, every 100ms; segments: 1, objects: 7, members: 2, waiting: 1' "$out" ||
    fail "it prints $(cat "$out")"
grep -Eqx "$on_etcd/jobs +queue +2/2 items +1" "$out" || fail "it prints $(cat "$out")"
exits 0 shmctl watch etcd: -i 0.1 -c 2 -r -n -o PATH,WAITERS
test "$(grep -cx "$on_etcd/jobs 1" "$out")" = 2 || fail "it prints $(cat "$out")"
grep -qx 'etcd:shmkit-test/there 0' "$out" || fail "it prints $(cat "$out")"
exits 0 shmctl watch "$on_etcd" -i 0.1 -c 1 --json-lines
grep -q "\"path\": \"$on_etcd/jobs\", \"kind\": \"queue\", .*\"put-rate\": null" "$out" ||
    fail "it prints $(cat "$out")"
yes 2.5 | shmctl stream append --stdin "$on_etcd/signal" &
writer=$!
moving() {
    shmctl watch "$on_etcd" -i 0.5 -c 1 -r -n -o PATH,PUT-RATE,GET-RATE >"$out" &&
        grep -qx "$on_etcd/jobs - -" "$out" &&
        grep -qx "$on_etcd/signal [0-9]*[1-9][0-9]*\.[0-9] -" "$out" &&
        shmctl hz "$on_etcd/signal" -i 0.5 -c 1 -r >"$out" &&
        grep -Eqx '[0-9]*[1-9][0-9]*\.[0-9]( [0-9.]+){3} 1' "$out" &&
        shmctl show -i 0.5 -n -r -o PUT-RATE "$on_etcd/signal" >"$out" &&
        grep -qx '[0-9]*[1-9][0-9]*\.[0-9]' "$out"
}
await moving
kill $writer
exits 0 shmctl show -i 0.1 -n -r -o ITEMS,PUT-RATE "$on_etcd/jobs"
prints '2 -'
claim 'watch, hz and show --interval'

ends_a_watch_at_interrupt "$on_etcd"
claim 'Ctrl-C ends it by that signal'

start_circle one two
exits 0 shmctl watch "$on_etcd" --batch --why -i 0.1 -c 1
grep -q '^deadlocked: ' "$out" || fail "it prints $(cat "$out")"
claim 'with --why it tells what does not go on'

# ---- on a screen ----

screen() {
    local columns=$1 rows=$2
    (while sleep 0.5; do printf q || exit; done) 2>/dev/null |
        timeout 180 script -qec "stty cols $columns rows $rows; TERM=vt100 shmctl watch $on_etcd" \
            /dev/null
}
if grep -q '^#define HAVE_NCURSESW 1' "$SHMKIT_TESTDIR/../config.h"; then
    for size in '80 24' '200 60'; do
        screen $size >"$scratch/screen" ||
            fail "on a screen of $size it exits with $?: $(cat "$scratch/screen")"
        grep -q "$on_etcd/j" "$scratch/screen" ||
            fail "on a screen of $size there is no object: $(cat "$scratch/screen")"
        grep -q 'deadlocked: ' "$scratch/screen" ||
            fail "on a screen of $size nothing is deadlocked: $(cat "$scratch/screen")"
    done
    claim 'on a screen it shows the objects until q is pressed'
fi
end_circle
kill_etcd
for what in "$on_etcd" etcd:; do
    rm -f "$scratch/watched" "$scratch/said"
    env --default-signal shmctl watch "$what" --batch -i 0.1 -r -n -o PATH \
        >"$scratch/watched" 2>"$scratch/said" &
    watcher=$!
    await grep -qs "^shmctl: .*no majority of etcd answers.*; it is asked again every 100ms\$" \
        "$scratch/said"
    test ! -s "$scratch/watched" || fail "it prints $(cat "$scratch/watched")"
    run_etcd
    await grep -q "^shmctl: $what: reached again after " "$scratch/said"
    await grep -qx "$on_etcd/jobs" "$scratch/watched"
    kill_etcd
    says_so() {
        test "$(grep -c 'no majority of etcd answers' "$scratch/said")" = 2
    }
    await says_so
    kill -INT $watcher
    ends 130 $watcher
    test "$(wc -l <"$scratch/said")" = 3 || fail "it says $(cat "$scratch/said")"
done
claim 'a watch says that no majority answers, and goes on when one does, from its first look on'

if grep -q '^#define HAVE_NCURSESW 1' "$SHMKIT_TESTDIR/../config.h"; then
    screen 80 24 >"$scratch/screen" || fail "it exits with $?: $(cat "$scratch/screen")"
    grep -q 'unreachable for .*, asked every 1s: .*no maj' "$scratch/screen" ||
        fail "it shows $(cat "$scratch/screen")"
    claim 'so does one on a screen'
fi
# Of "ps --follow" and "hz": it says that no majority answers, once, and goes on.
says_unreachable() {
    test "$(grep -c 'no majority of etcd answers.*; it is asked again every 100ms$' \
        "$scratch/said" 2>/dev/null)" = "$1"
}
goes_on() { # VERB PATTERN OPERAND OPTION...
    local verb=$1 pattern=$2 operand=$3 holder follower
    shift 3
    rm -f "$scratch/watched" "$scratch/said"
    env --default-signal shmctl "$verb" "$operand" -i 0.1 -r -n "$@" \
        >"$scratch/watched" 2>"$scratch/said" &
    follower=$!
    await says_unreachable 1
    test ! -s "$scratch/watched" || fail "it prints $(cat "$scratch/watched")"
    run_etcd
    await grep -q "^shmctl: $operand: reached again after " "$scratch/said"
    shmctl --name there lock "$on_etcd/follow" -- sleep 3 &
    holder=$!
    await grep -Eqx "$pattern" "$scratch/watched"
    ends 0 $holder
    kill_etcd
    await says_unreachable 2
    kill -INT $follower
    ends 130 $follower
    test "$(wc -l <"$scratch/said")" = 3 || fail "it says $(cat "$scratch/said")"
}
goes_on ps 'joined there' "$on_etcd" --follow -o EVENT,NAME
goes_on hz '[0-9.]+' "$on_etcd/signal" -o PUT-RATE
claim 'ps --follow and hz do so, too'

exits 1 shmctl metrics etcd:
complains 'no majority of etcd answers'
exits 1 shmctl metrics "$on_etcd" --output "$scratch/etcd.prom"
complains 'no majority of etcd answers'
grep -qx "shmkit_segment_good{segment=\"$on_etcd\"} 1" "$scratch/etcd.prom" ||
    fail 'the file is not as it was'
claim 'without a server'
