#!/bin/bash
# shmctl looks at segments on etcd: what is in them, which members hold and wait, on which machines,
# and what is wrong with the servers.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
. "$SHMKIT_SRCDIR/tests/cli/etcd.sh"
start_etcd
shmctl rm etcd:shmkit-test # start_etcd() has made it
on_etcd=etcd:$segment
export SHMKIT_ETCD_TTL=2

# The state of an object, from "show".
state() {
    shmctl show -n -r -o STATE "$on_etcd/$1" 2>/dev/null | sed 's/\\x20/ /g'
}
is() {
    # shellcheck disable=SC2053 # a pattern
    [[ $(state "$1") == $2 ]]
}

exits 0 shmctl ls etcd:
test "$(wc -l <"$out")" -le 1 || fail "it lists what is not there: $(cat "$out")"
exits 4 shmctl ls "$on_etcd"
exits 4 shmctl show "$on_etcd/jobs"
exits 4 shmctl ps "$on_etcd"
exits 4 shmctl why "$on_etcd"
complains "there is no segment $on_etcd"
claim 'what is absent'

exits 0 shmctl create queue "$on_etcd/jobs" --capacity 3
exits 0 shmctl put "$on_etcd/jobs" one two
exits 0 shmctl create event "$on_etcd/go"
exits 0 shmctl create lock "$on_etcd/till"
exits 0 shmctl create event "$on_etcd-2/go"
exits 0 shmctl create event "$segment/go"
exits 0 shmctl ls -n -r -o NAME,OBJECTS,MEMBERS etcd:
prints "$on_etcd 3 0" "$on_etcd-2 1 0"
exits 0 shmctl ls -n -r "$on_etcd"
prints 'go event clear 0' 'jobs queue 2/3\x20items 0' 'till lock free 0'
exits 0 shmctl ls -n -r -R -o PATH,KIND etcd:
prints "$on_etcd segment" "$on_etcd/go event" "$on_etcd/jobs queue" "$on_etcd/till lock" \
    "$on_etcd-2 segment" "$on_etcd-2/go event"
exits 0 shmctl ls -R -n -r -o PATH
sed -i "\\,^$segment,!d" "$out" # other tests have segments, too
prints "$segment" "$segment/go"
exits 0 shmctl ls --json "$on_etcd"
grep -q '"name": "jobs"' "$out" && grep -q '"kind": "queue"' "$out" || fail "JSON: $(cat "$out")"
exits 0 shmctl show -n -r -o ORDER,CAPACITY,ITEM-SIZE,ITEMS,FILL,SHUT-DOWN "$on_etcd/jobs"
prints 'fifo 3 1K 2 66 no'
exits 0 shmctl show "$on_etcd/jobs"
! grep -Eq '^(Size|Users|Puts|Rebuilds)' "$out" || fail "it shows what is not known: $(cat "$out")"
exits 0 shmctl show -n -r -o STATE,OBJECTS,MEMBERS "$on_etcd"
prints 'good 3 0'
exits 4 shmctl show "$on_etcd/nothing"
complains "there is no object nothing in segment $on_etcd"
exits 0 shmctl event set "$on_etcd/go"
is go set || fail "the event is $(state go)"
claim 'ls and show'

exits 0 shmctl create queue "$on_etcd/stack" --order lifo
exits 0 shmctl create queue "$on_etcd/soon" --order priority
for item in 1 3 2; do
    exits 0 shmctl put "$on_etcd/stack" $item
    exits 0 shmctl put "$on_etcd/soon" --priority $item $item
done
exits 0 shmctl peek -c 2 "$on_etcd/jobs"
grep -q one "$out" && grep -q two "$out" || fail "peek prints $(cat "$out")"
for queue in 'stack 2 3 1' 'soon 1 2 3'; do
    exits 0 shmctl peek -0 "$on_etcd/${queue%% *}"
    test "$(tr '\0' ' ' <"$out")" = "${queue#* } " || fail "peek prints $(cat "$out")"
    exits 0 shmctl rm "$on_etcd/${queue%% *}"
done
claim 'peek'

SHMKIT_ETCD_MACHINE=north shmctl --name teller lock "$on_etcd/till" -- sleep 600 &
teller=$!
await is till 'held by teller (* on north)*'
SHMKIT_ETCD_MACHINE=south shmctl --name clerk lock "$on_etcd/till" -- true &
clerk=$!
await waits_so 'acquire till'
exits 0 shmctl ps -n -r -o MACHINE,NAME,HOLDS,WAITS "$on_etcd"
sort "$out" | diff - <(printf '%s\n' 'north teller till -' 'south clerk - acquire\x20till') ||
    fail 'ps shows something else'
exits 0 shmctl ps --json etcd:
grep -q '"machine": "north"' "$out" || fail "JSON: $(cat "$out")"
exits 0 shmctl why "$on_etcd"
grep -Eq "^waiting: clerk \([0-9]+ on south\) waits to acquire $on_etcd/till, for " "$out" ||
    fail "why says: $(cat "$out")"
grep -Eq '^  held by teller \([0-9]+ on north\)( for [0-9.]+m?s)?, which has a lease' "$out" ||
    fail "why says: $(cat "$out")"
test "$(shmctl ls -n -r -o WAITERS "$on_etcd" | tail -n 1)" = 1 || fail 'it has no waiter'
exits 0 shmctl why etcd:
grep -q 'clerk' "$out" || fail "why etcd: says: $(cat "$out")"
claim 'ps and why, across machines'

# The guard of a command that is run ends it when shmctl is killed.
kill -KILL "$teller"
wait "$teller" 2>/dev/null
ends 0 "$clerk"
is till free || fail "the lock is $(state till)"
SHMKIT_ETCD_MACHINE=north shmctl --name teller lock "$on_etcd/till" -- sleep 600 &
teller=$!
await is till 'held by teller *'
kill -STOP "$teller"
await is till 'free, orphaned'
exits 0 shmctl ps -n -r -o NAME "$on_etcd"
prints_nothing
kill -CONT "$teller"
kill "$teller"
wait "$teller" 2>/dev/null
claim 'a holder that is killed, and one that is stopped for longer than its lease'

shmctl --name taker get "$on_etcd/empty" &
taker=$!
await waits_so 'get empty'
exits 0 shmctl why "$on_etcd"
grep -q "^waiting: taker .* waits to get from $on_etcd/empty" "$out" || fail "why: $(cat "$out")"
exits 0 shmctl put "$on_etcd/empty" item
ends 0 "$taker"
shmctl --name putter put "$on_etcd/jobs" three four &
putter=$!
await waits_so 'put jobs'
exits 0 shmctl get "$on_etcd/jobs"
ends 0 "$putter"
exits 0 shmctl event clear "$on_etcd/go"
shmctl event wait "$on_etcd/go" &
waiter=$!
await waits_so 'set go'
exits 0 shmctl event set "$on_etcd/go"
ends 0 $waiter
claim 'waits for items, places and events'

exits 0 shmctl create lock "$on_etcd/book"
start_circle till book
exits 7 shmctl why "$on_etcd"
grep -q '^deadlocked: ' "$out" || fail "why says: $(cat "$out")"
end_circle
claim 'a circle of locks'

exits 0 shmctl clean "$on_etcd"
complains 'nothing is cleaned on etcd: what a process held goes when its lease ends'
exits 4 shmctl clean "$on_etcd-3"
exits 0 shmctl clean etcd:
exits 0 shmctl ls "$on_etcd"
exits 4 shmctl peek "$on_etcd/nothing"
exits 1 shmctl peek "$on_etcd/go"
complains 'no queue'
exits 1 shmctl create region "$on_etcd/memory" --size 64
complains 'cannot be on etcd'
exits 1 shmctl value set "$on_etcd/rate" 1
complains 'cannot be on etcd'
claim 'what does not work there says so'

exits 0 shmctl doctor etcd:
grep -Eq '^ok +http://127.0.0.1:[0-9]+ \(default\): leads, etcd [0-9.]+, answers in ' "$out" ||
    fail "doctor: $(cat "$out")"
for about in majority alarms compaction writes leases; do
    grep -q "^ok  *$about: " "$out" || fail "doctor says nothing of $about: $(cat "$out")"
done
grep -q 'its database has .*, of 2G that it may have$' "$out" || fail "doctor: $(cat "$out")"
exits 2 shmctl doctor "$on_etcd"
there=$ETCDCTL_ENDPOINTS
export ETCDCTL_ENDPOINTS=http://127.0.0.1:1,$there
exits 1 shmctl doctor etcd:
grep -q '^problem  *http://127.0.0.1:1: it does not answer: ' "$out" || fail "doctor: $(cat "$out")"
grep -q '^ok  *majority: ' "$out" || fail "doctor: $(cat "$out")"
export ETCDCTL_ENDPOINTS=http://127.0.0.1:1
exits 1 shmctl doctor etcd:
grep -q '^problem  *majority: a read is not answered: ' "$out" || fail "doctor: $(cat "$out")"
for verb in ls ps why; do
    exits 1 shmctl $verb "$on_etcd"
    complains 'no majority of etcd answers'
done
export ETCDCTL_ENDPOINTS=$there
claim 'doctor, and what is said without a majority'

exits 0 shmctl rm -f "$on_etcd" "$on_etcd-2"
exits 0 shmctl ls -n -r -o NAME etcd:
prints_nothing
kill "$etcd"
wait "$etcd" 2>/dev/null
claim 'rm'
