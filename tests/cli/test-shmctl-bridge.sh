#!/bin/bash
# shmctl bridge, to one server of etcd on loopback.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
. "$SHMKIT_SRCDIR/tests/cli/etcd.sh"

from=$segment/jobs
to=etcd:$segment/jobs

exits 2 shmctl bridge "$from"
exits 2 shmctl bridge "$from" "$from"
complains 'a bridge leads from shared memory to etcd'
exits 2 shmctl bridge "$to" "$from"
claim 'operands'

start_etcd
exits 4 shmctl bridge --once --no-create "$from" "$to"
exits 0 shmctl create queue "$from" --capacity 100 --item-size 20
exits 4 shmctl bridge --once --no-create "$from" "$to"
complains "^shmctl: $to: "
exits 0 shmctl bridge --once "$from" "$to"
prints 0
exits 0 shmctl put "$from" one two three
exits 0 shmctl bridge --once "$from" "$to"
prints 3
exits 3 shmctl get --nowait "$from"
for item in one two three; do
    exits 0 shmctl get --nowait "$to"
    prints $item
done
exits 3 shmctl get --nowait "$to"
exits 1 shmctl put "$to" 'more than twenty bytes'
complains '22 bytes.*at most 20'
claim '--once carries what is there, into a queue that is made as the other'

shmctl bridge "$from" "$to" 2>"$scratch/bridge.err" &
bridge=$!
seq 1 150 | shmctl put --stdin "$from"
exits 0 shmctl get -c 150 "$to"
seq 1 150 | diff - "$out" || fail 'not the items that were put, in order'
exits 3 shmctl bridge --once "$from" "$to"
complains "^shmctl: $from: bridge ($bridge) has its consumer side: a bridge takes all items"
claim 'it goes on, and a second bridge is refused'

state() {
    shmctl ps -n -r -o NAME "$segment" | grep -q "^bridge$1"
}
kill_etcd
shmctl put "$from" away
await state ',\\x20unreachable\\x20since\\x20....-..-..\\x20..:..:..$'
for item in 1 2 3; do
    shmctl put "$from" "$item"
done
run_etcd
await state '$'
exits 0 shmctl get -c 4 "$to"
printf '%s\n' away 1 2 3 | diff - "$out" || fail 'not the items that were put meanwhile'
exits 3 shmctl get --nowait "$to"
grep -q "^shmctl: $to: no majority of etcd answers" "$scratch/bridge.err" || fail "no sentence"
grep -q "^shmctl: $to: reached again after .* s; . waiting" "$scratch/bridge.err" ||
    fail "no sentence: $(cat "$scratch/bridge.err")"
claim 'away for a while: ps says so, and each item comes once'

kill -TERM $bridge
wait $bridge
test $? = 143 || fail 'SIGTERM'
shmctl ps -n -r -o NAME "$segment" | grep -q bridge && fail 'it is still a member'
shmctl put "$from" four
exits 0 shmctl bridge --once "$from" "$to"
prints 1
claim 'SIGTERM ends it, and nothing is lost'

exits 0 shmctl put "$from" past by
exits 0 shmctl get "$from"
exits 1 shmctl bridge --once "$from" "$to"
complains "^shmctl: $from: its next item is number 159, and $to was given those before 158: "
grep -q -- '--resume-at 159 carries on' "$err" || fail "no way out: $(cat "$err")"
exits 1 shmctl bridge --once --resume-at 158 "$from" "$to"
complains 'are number 159 to 160: it cannot resume at 158'
exits 0 shmctl bridge --once --resume-at 159 "$from" "$to"
prints 1
exits 0 shmctl put "$from" dropped kept
exits 0 shmctl bridge --once --resume-at 161 "$from" "$to"
prints 1
exits 0 shmctl get -c 3 "$to"
printf '%s\n' four by kept | diff - "$out" || fail 'not the items'
claim 'items that were taken past it: it stops, and --resume-at goes on'

exits 0 shmctl create queue "$segment/wide" --item-size 30
exits 0 shmctl put "$segment/wide" short 'more than twenty bytes' last
exits 1 shmctl bridge --once "$segment/wide" "$to"
test "$(cat "$out")" = 1 || fail 'the one before is not carried'
grep -q -- '22 bytes.*at most 20.*--resume-at 2 ' "$err" || fail "$(cat "$err")"
exits 0 shmctl bridge --once --resume-at 2 "$segment/wide" "$to"
prints 1
exits 0 shmctl get -c 2 "$to"
printf '%s\n' short last | diff - "$out" || fail 'not the items'
claim 'an item that is too long for the other queue'

exits 0 shmctl create queue "$to-small" --capacity 2
exits 0 shmctl put "$from" 1 2 3
exits 3 shmctl bridge --once -t 2s "$from" "$to-small"
test "$(cat "$out")" = 2 || fail 'it carries what there is room for'
grep -q 'the queue has been full for 2 s' "$err" || fail "$(cat "$err")"
exits 0 shmctl get -c 2 "$to-small"
exits 0 shmctl bridge --once "$from" "$to-small"
prints 1
exits 0 shmctl shutdown "$to-small"
exits 0 shmctl put "$from" 4
exits 5 shmctl bridge --once "$from" "$to-small"
claim 'the other queue is full, or shut down'

exits 0 shmctl create queue "$segment/stack" --order lifo
exits 1 shmctl bridge --once "$segment/stack" "$to"
complains 'LIFO'
claim 'only a FIFO queue has an order to carry'

exits 0 shmctl create queue "$segment/worked"
exits 0 shmctl put "$segment/worked" 60
shmctl work -c 1 "$segment/worked" sleep &
worker=$!
leased() {
    test "$(shmctl show -r -n -o LEASED "$segment/worked")" = 1
}
await leased
exits 1 shmctl bridge --once "$segment/worked" "$to"
complains 'workers have leased 1 of its items'
kill -KILL $worker
wait $worker 2>/dev/null
claim 'items that workers have leased'

shmctl bridge "$from" "$to-other" &
bridge=$!
exits 0 shmctl get "$to-other"
exits 0 shmctl put "$from" 5
exits 0 shmctl shutdown "$from"
ends 0 $bridge
exits 0 shmctl get "$to-other"
prints 5
claim 'it ends when its queue is shut down and drained'

exits 0 shmctl reopen "$from"
kill_etcd
exits 0 shmctl put "$from" late
exits 3 shmctl bridge -t 1s "$from" "$to-other"
grep -q "^shmctl: $to-other: unreachable for 1 s: " "$err" || fail "$(cat "$err")"
run_etcd
exits 0 shmctl bridge --once "$from" "$to-other"
claim 'without a server: --timeout'

exits 0 shmctl create stream "$segment/eeg" --sample-size 8 --history 1000
exits 2 shmctl bridge --resume-at 4 "$segment/eeg" "etcd:$segment/eeg"
seq 1 300 >"$scratch/samples"
input=$scratch/samples
exits 0 shmctl stream append --stdin "$segment/eeg"
input=/dev/null
exits 0 shmctl bridge --once "$segment/eeg" "etcd:$segment/eeg"
prints 300
exits 0 shmctl stream read --oldest -c 300 "etcd:$segment/eeg"
seq 1 300 | diff - "$out" || fail 'not the samples that were appended'
shmctl bridge "$segment/eeg" "etcd:$segment/eeg" 2>"$scratch/bridge.err" &
bridge=$!
await state '$'
# Another one would have each sample come twice. Stopped it is the only one, too.
held_by() {
    shmctl ps -n -r -o PID,HOLDS "$segment" | grep -q "^$1 bridge-[0-9a-f]*$"
}
await held_by $bridge
for signal in CONT STOP; do
    kill -$signal $bridge
    exits 3 env SHMKIT_ETCD_MACHINE=north shmctl bridge --once "$segment/eeg" "etcd:$segment/eeg"
    complains "^shmctl: $segment/eeg: bridge ($bridge on north) carries it to etcd:$segment/eeg: "
    grep -q 'end that one first, or name another stream' "$err" || fail "no way out: $(cat "$err")"
done
kill -CONT $bridge
exits 0 shmctl bridge --once "$segment/eeg" "etcd:$segment/copy"
exits 0 shmctl create stream "$segment/ecg" --sample-size 8
exits 0 shmctl bridge --once "$segment/ecg" "etcd:$segment/eeg"
kill -KILL $bridge
wait $bridge 2>/dev/null
shmctl bridge "$segment/eeg" "etcd:$segment/eeg" 2>"$scratch/bridge.err" &
bridge=$!
await held_by $bridge
claim 'a second bridge of a stream is refused; one that is killed leaves its place to the next'

shmctl stream read -f "etcd:$segment/eeg" >"$scratch/live" &
reader=$!
is_live() { # it may begin behind the first
    shmctl stream append "$segment/eeg" 1000 2>/dev/null && grep -q 1000 "$scratch/live"
}
await is_live
for i in {1..5}; do
    seq "${i}001" "${i}100" | shmctl stream append --stdin "$segment/eeg"
done
await grep -q 5100 "$scratch/live"
grep -v '^1000$' "$scratch/live" >"$scratch/seen"
for i in {1..5}; do
    seq "${i}001" "${i}100"
done | diff - "$scratch/seen" >"$out" || fail "not the samples: $(head -5 "$out")"
kill_etcd
seq 1 20000 | shmctl stream append --stdin "$segment/eeg"
sleep 4
seq 1 20000 | shmctl stream append --stdin "$segment/eeg"
run_etcd
await grep -q ' samples were overwritten before they could be carried' "$scratch/bridge.err"
shmctl stream append "$segment/eeg" 77777
await grep -q 77777 "$scratch/live"
kill $bridge $reader
wait $bridge
test $? = 143 || fail 'SIGTERM'
exits 0 shmctl ls -n -r -o NAME "$segment"
not grep -q '^bridge-' "$out" || fail "a lock is left: $(cat "$out")"
claim 'a stream, as it comes; what is lost meanwhile is told'

# ---- on a terminal ----

exits 0 shmctl create queue "$segment/shown" --capacity 100
exits 0 shmctl create queue "$to-shown" --capacity 3
script -qec "stty cols 100; shmctl bridge $segment/shown $to-shown" /dev/null \
    </dev/null >"$scratch/shown" &
terminal=$!
shows() {
    tr '\r' '\n' <"$scratch/shown" | grep -Eq "$1"
}
await shows '^0 items carried, 0\.0/s, 0 waiting'
seq 1 5 | shmctl put --stdin "$segment/shown"
await shows '^[1-5] items? carried, [0-9.]+/s, [0-4] waiting, queue on etcd full for [0-9]+ s'
exits 0 shmctl get -c 5 "$to-shown"
await shows '^5 items carried, [0-9.]+/s, 0 waiting.\[K$'
kill_etcd
exits 0 shmctl put "$segment/shown" 6
await shows '^5 items carried, 0\.0/s, 1 waiting, etcd unreachable for [0-9]+ s'
run_etcd
await shows "shmctl: $to-shown: reached again after"
exits 0 shmctl get "$to-shown"
exits 0 shmctl shutdown "$segment/shown"
ends 0 $terminal
claim 'on a terminal it shows how many it has carried, how fast, how many wait, and why'

if systemd-analyze --version >/dev/null 2>&1; then
    sed "s,^ExecStart=shmctl,ExecStart=$(command -v true)," \
        "$SHMKIT_SRCDIR/tools/shmkit-bridge.service" >"$scratch/shmkit-bridge.service"
    systemd-analyze verify --man=no "$scratch/shmkit-bridge.service" >"$out" 2>&1 ||
        fail "the unit: $(cat "$out")"
    claim 'systemd takes the unit'
fi
kill_etcd
