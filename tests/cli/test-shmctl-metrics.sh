#!/bin/bash
# shmctl metrics: figures for a monitoring system.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"

# A figure: metric NAME [OBJECT]
metric() {
    sed -n "s/^shmkit_$1{segment=\"$segment\"${2:+,object=\"$2\",kind=\"[a-z]*\"}} //p" "$out"
}

is() {
    test "$(metric "$2" "${3-}")" = "$1" || fail "$2 ${3-} is '$(metric "$2" "${3-}")', not $1"
}

exits 4 shmctl metrics "$segment"
exits 2 shmctl metrics -i 1
exits 2 shmctl metrics "$segment/jobs"
exits 0 shmctl create queue "$segment/jobs" --capacity 2
exits 0 shmctl create event "$segment/a\"\\b存"
exits 0 shmctl create queue "$segment/log"
exits 0 shmctl create lock "$segment/till"
exits 0 shmctl create barrier "$segment/meet" --parties 3
exits 0 shmctl create semaphore "$segment/seats" --value 3
exits 0 shmctl create stream "$segment/signal"
exits 0 shmctl stream append "$segment/signal" 1 2
exits 0 shmctl put "$segment/jobs" 1 2
exits 0 shmctl get "$segment/jobs"
exits 0 shmctl put "$segment/jobs" 3
head -c 8192 "/dev/shm/$segment" >"/dev/shm/$segment-damaged"
shmctl put "$segment/jobs" 4 &
await waits 'put jobs'
mkfifo "$scratch/fifo"
shmctl lock "$segment/till" -- sh -c "read line <'$scratch/fifo'" &
exec 3>"$scratch/fifo"

exits 0 shmctl metrics
test ! -s "$err" || fail "it complains: $(cat "$err")"
is 1 segment_good
is 7 segment_objects
is 2 segment_members
is 256 segment_max_objects
is 2 queue_items jobs
is 2 queue_capacity jobs
is '' queue_capacity log
is 3 queue_puts_total jobs
is 1 queue_gets_total jobs
is 1 object_waiters jobs
is 0 object_waiters log
is 1 lock_held till
is 3 barrier_parties meet
is 3 semaphore_permits seats
is 2 stream_samples_total signal
awk -v w="$(metric queue_put_wait_seconds jobs)" 'BEGIN { exit !(w > 0 && w < 60) }' ||
    fail "a producer waits for $(metric queue_put_wait_seconds jobs)"
awk -v w="$(metric lock_held_seconds till)" 'BEGIN { exit !(w > 0 && w < 60) }' ||
    fail "the lock is held for $(metric lock_held_seconds till)"
grep -Fqx "shmkit_event_set{segment=\"$segment\",object=\"a\\\"\\\\b存\",kind=\"event\"} 0" "$out" ||
    fail 'a name is not as it should be'
grep -qx "shmkit_segment_good{segment=\"$segment-damaged\"} 0" "$out" ||
    fail 'a damaged segment is not there'
test "$(tail -n 1 "$out")" = '# EOF' || fail 'the end is missing'
claim 'it has the figures of segments and objects'

parsed=
for python in python3 /usr/bin/python3; do
    $python -c 'import prometheus_client.openmetrics.parser' 2>/dev/null || continue
    $python - "$out" <<'END_OF_PYTHON' || fail 'prometheus_client cannot read it'
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text

lines = open(sys.argv[1], encoding="utf-8").read()
families = {f.name: f for f in openmetrics(lines)}
assert families["shmkit_queue_puts"].type == "counter"
assert families["shmkit_lock_held_seconds"].unit == "seconds"
assert all(f.documentation and f.name.startswith("shmkit_") for f in families.values())
# The older format knows these types alone, and is what node_exporter reads.
assert {f.type for f in families.values()} == {"counter", "gauge"}
def samples_of(families):
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}

samples, again = samples_of(text(lines)), samples_of(families.values())
assert samples == again and len(samples) > 50, (len(samples), len(again))
END_OF_PYTHON
    parsed=yes
    break
done
if test $parsed; then
    claim 'OpenMetrics and the older text format read the same in it'
else
    echo 'not tried: there is no prometheus_client (Debian package: python3-prometheus-client)'
fi

# Leases, bytes, roles, values.
exits 0 shmctl create queue "$segment/long" --item-size 1M --capacity-bytes 4K
exits 0 shmctl put "$segment/long" 1 22 333
exits 0 shmctl create value "$segment/rate" --size 16
mkfifo "$scratch/work" "$scratch/lines"
shmctl work -c 2 --delay 1h "$segment/long" -- sh -c 'test "$1" != 1 || exit 1; cat "$0"' \
    "$scratch/work" >/dev/null 2>&1 &
worker=$!
has_leased() {
    shmctl show -r -n -o LEASED,DELAYED "$segment/long" | grep -qx '1 1'
}
await has_leased
shmctl put --producer --stdin "$segment/lines" <"$scratch/lines" &
producer=$!
exec 4>"$scratch/lines"
echo line >&4
is_put() {
    shmctl metrics "$segment" >"$out"
    test "$(metric object_producers lines)" = 1 -a "$(metric queue_items lines)" = 1
}
await is_put
exits 0 shmctl metrics "$segment"
is 2 queue_items long
is 1 queue_leased long
is 1 queue_came_back long
is 1 queue_delayed long
is 1 queue_longest_lease_attempts long
is 4 queue_bytes long
is 4096 queue_capacity_bytes long
is '' queue_bytes jobs
is '' queue_capacity_bytes jobs
is 0 queue_leased jobs
is 0 queue_longest_lease_seconds jobs
is 0 queue_longest_lease_attempts jobs
awk -v w="$(metric queue_longest_lease_seconds long)" 'BEGIN { exit !(w > 0 && w < 60) }' ||
    fail "an item is leased for $(metric queue_longest_lease_seconds long)"
is 0 object_consumers lines
is 0 object_producers_gone lines
is 0 object_producers_died lines
is 0 object_producers signal
is '' object_producers till
is 0 value_versions_total rate
is 0 value_bytes rate
is 16 value_max_bytes rate
kill -KILL $producer
exec 4>&-
ends 137 $producer
exits 0 shmctl value set "$segment/rate" 1.5
exits 0 shmctl value set "$segment/rate" 12
exits 1 shmctl get --follow "$segment/lines" # by which the death is found
exits 0 shmctl metrics "$segment"
is 2 value_versions_total rate
is 2 value_bytes rate
is 0 object_producers lines
is 1 object_producers_gone lines
is 1 object_producers_died lines
is 0 object_consumers_gone lines
kill -KILL $worker
claim 'it has leases, bytes, producers and consumers, values'

# One segment alone.
exits 0 shmctl metrics "$segment"
not grep -q "$segment-damaged" "$out" || fail 'another segment is in it'

# Into a file: whole at any time.
mkdir "$scratch/textfile"
exits 0 shmctl metrics "$segment" --output "$scratch/textfile/shmkit.prom"
prints_nothing
cp "$scratch/textfile/shmkit.prom" "$out"
is 2 queue_items jobs
test "$(ls -A "$scratch/textfile")" = shmkit.prom || fail "$(ls -A "$scratch/textfile")"
(umask 027 && shmctl metrics "$segment" --output "$scratch/textfile/shmkit.prom") || exit 1
test "$(stat -c %a "$scratch/textfile/shmkit.prom")" = 640 || fail 'its mode'
exits 1 shmctl metrics --output "$scratch/none/shmkit.prom"
complains "none/shmkit.prom: No such file"
(ulimit -f 1 && trap '' XFSZ && shmctl metrics --output "$scratch/textfile/shmkit.prom") \
    2>/dev/null && fail 'a disk that is full is not told'
test "$(ls -A "$scratch/textfile")" = shmkit.prom || fail "$(ls -A "$scratch/textfile")"
test "$(tail -n 1 "$scratch/textfile/shmkit.prom")" = '# EOF' || fail 'the file has been cut'
claim 'a file is replaced as a whole, or not at all'

shmctl metrics "$segment" --output "$scratch/textfile/shmkit.prom" --interval 20ms &
writer=$!
exits 0 shmctl get "$segment/jobs"
await grep -q "queue_gets_total{segment=\"$segment\",object=\"jobs\",kind=\"queue\"} 2" \
    "$scratch/textfile/shmkit.prom"
kill -TERM $writer
ends 143 $writer
claim 'with --interval it goes on until it is told to end'
