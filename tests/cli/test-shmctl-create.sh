#!/bin/bash
# shmctl create and rm.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"

columns() {
    shmctl show -r -n -o "$1" "$2"
}

exits 0 shmctl create queue "$segment/jobs" --capacity 4
prints_nothing
test "$(columns OWNER,MODE,SIZE,OBJECTS "$segment")" = "$(id -un) 0600 64G 1" ||
    fail "$(shmctl show "$segment")"
test "$(columns KIND,CAPACITY,ITEM-SIZE,ORDER,ITEMS "$segment/jobs")" = 'queue 4 1K fifo 0' ||
    fail "not that queue"
exits 0 shmctl create queue "/$segment/jobs" --capacity 4 --item-size 1K
exits 0 shmctl create queue "$segment/jobs"
exits 1 shmctl create queue "$segment/jobs" --capacity 8
complains "^shmctl: $segment/jobs[: ]"
exits 1 shmctl create queue "$segment/jobs" --exclusive --capacity 4
complains "^shmctl: $segment/jobs[: ]"
exits 1 shmctl create event "$segment/jobs"
complains "^shmctl: $segment/jobs[: ]"
claim 'create makes what is absent, and accepts what is there only if it is the same'

exits 0 shmctl create queue "$segment/wide" --capacity 2 --item-size 64K
test "$(columns CAPACITY,ITEM-SIZE "$segment/wide")" = '2 64K' || fail "not that queue"
exits 0 shmctl create lock "$segment/plain"
exits 0 shmctl create lock "$segment/odd" --recursive --no-deadlock-check
test "$(columns RECURSIVE,DEADLOCK-CHECK "$segment/plain")" = 'no yes' || fail "not that lock"
test "$(columns RECURSIVE,DEADLOCK-CHECK "$segment/odd")" = 'yes no' || fail "not that lock"
exits 0 shmctl create cond "$segment/changed"
exits 0 shmctl create cond "$segment/native" --kind pthread
exits 0 shmctl create cond "$segment/with" --lock plain --kind robust
test "$(columns TYPE,LOCK,RECURSIVE "$segment/changed")" = 'robust - yes' ||
    fail "not that condition"
test "$(columns TYPE,LOCK "$segment/native")" = 'pthread -' || fail "not that condition"
test "$(columns TYPE,LOCK,STATE "$segment/with")" = 'robust plain with\x20lock\x20plain' ||
    fail "not that condition"
exits 4 shmctl create cond "$segment/without" --lock none
exits 0 shmctl create event "$segment/go"
test "$(columns KIND,SET "$segment/go")" = 'event no' || fail "not that event"
exits 0 shmctl create region "$segment/account" --size 24 --align 4K
test "$(columns KIND,DATA-SIZE,ALIGN "$segment/account")" = 'region 24 4096' ||
    fail "not that region"
exits 1 shmctl create region "$segment/none"
complains "^shmctl: $segment/none[: ]"
exits 0 shmctl create queue "$segment/bytes" --capacity-bytes 1K --item-size 2G
test "$(columns CAPACITY,CAPACITY-BYTES,ITEM-SIZE,BYTES "$segment/bytes")" = '0 1K 2G 0' ||
    fail "not that queue"
exits 0 shmctl put "$segment/bytes" "$(printf '%512s' x)" "$(printf '%512s' y)"
exits 3 shmctl put --timeout 0 "$segment/bytes" z
exits 1 shmctl put "$segment/bytes" "$(printf '%1025s' x)"
test "$(columns BYTES,FILL "$segment/bytes")" = '1K 100' || fail "not so many bytes"
exits 1 shmctl create queue "$segment/bytes" --capacity-bytes 2K
exits 0 shmctl create queue "$segment/list" --order lifo
test "$(columns CAPACITY,ORDER "$segment/list")" = '0 lifo' || fail "not that queue"
exits 1 shmctl create queue "$segment/list" --order priority
exits 2 shmctl create queue "$segment/none" --order upside-down
claim 'create makes every kind, as its options say'

(umask 077 &&
    exits 0 shmctl create segment "$segment-second" --segment-size 1M --max-members 7 \
    --max-objects 3 --mode 0640) || exit 1
test "$(columns MODE,SIZE,MAX-MEMBERS,MAX-OBJECTS,OBJECTS "$segment-second")" = '0640 1M 7 3 0' ||
    fail "not that segment"
exits 0 shmctl create segment "$segment-second"
exits 1 shmctl create segment "$segment-second" --exclusive
for i in 1 2 3; do
    exits 0 shmctl create event "$segment-second/$i"
done
exits 1 shmctl create event "$segment-second/4"
complains "^shmctl: $segment-second/4[: ]"
claim 'create makes segments, as their options say'

exits 0 shmctl create queue "$segment-银行/工作" --capacity 1
exits 0 shmctl put "$segment-银行/工作" 存款
exits 0 shmctl get "/$segment-银行/工作"
prints 存款
exits 1 shmctl create event "$segment/"$'\xff'
exits 1 shmctl create event "$segment/"$'a\tb'
claim 'names may be UTF-8, and nothing else'

exits 2 shmctl create
exits 2 shmctl create queue
exits 2 shmctl create thing "$segment/x"
complains "unknown kind 'thing'; known: lock, "
exits 2 shmctl create queue "$segment"
complains 'is a segment, not an object'
exits 2 shmctl create segment "$segment/x"
complains 'is an object, not a segment'
exits 2 shmctl create event "$segment/x" --capacity 3
complains '\-\-capacity is for a queue'
exits 2 shmctl create lock "$segment/x" --kind robust
exits 2 shmctl create cond "$segment/x" --kind soft
exits 2 shmctl create segment "$segment-x" --mode 999
complains "invalid mode '999'"
exits 2 shmctl create segment "$segment-x" --mode ''
exits 4 shmctl show "$segment-x"
claim 'options of another kind are a usage error'

exits 0 shmctl rm "$segment/go" "/$segment/odd"
prints_nothing
exits 4 shmctl show "$segment/go"
exits 4 shmctl rm "$segment/go"
complains "^shmctl: $segment/go[: ]"
exits 0 shmctl rm -f "$segment/go"
prints_nothing
exits 4 shmctl rm "$segment/none" "$segment/plain"
exits 4 shmctl show "$segment/plain"
exits 0 shmctl rm "$segment-second" "$segment-银行"
exits 4 shmctl rm "$segment-second"
complains "^shmctl: $segment-second[: ]"
exits 0 shmctl rm --force "$segment-second" "$segment-second/x"
prints_nothing
claim 'rm removes objects and segments, each that is there'

shmctl get "$segment/jobs" >"$scratch/sleeper" 2>&1 &
sleeper=$!
await waits 'get jobs'
exits 0 shmctl rm "$segment/jobs"
ends 4 $sleeper
grep -q "^shmctl: $segment/jobs[: ]" "$scratch/sleeper" || fail "and says $(cat "$scratch/sleeper")"
shmctl get "$segment/wide" 2>/dev/null &
sleeper=$!
await waits 'get wide'
exits 0 shmctl rm "$segment"
ends 4 $sleeper
exits 4 shmctl ls "$segment"
claim 'rm wakes the members that sleep on it'

for wrong in 'queue --item-size 4G' 'stream --history 2000000' 'region --size 1T' \
    'cond --lock none' 'barrier'; do
    kind=${wrong%% *}
    exits $(test $kind = cond && echo 4 || echo 1) shmctl create $wrong "$segment-new/$kind" \
        --segment-size 1M
    complains "^shmctl: $segment-new/$kind[: ]"
    test ! -e "/dev/shm/$segment-new" || fail "create $wrong leaves a segment"
done
exits 0 shmctl create event "$segment-old/go"
exits 1 shmctl create region --size 1T "$segment-old/account"
exits 1 shmctl event is-set "$segment-old/go"
exits 0 shmctl create segment "$segment-bare"
exits 1 shmctl create barrier "$segment-bare/start"
test -e "/dev/shm/$segment-bare" || fail 'it took away what it has not made'
claim 'what cannot be created leaves no segment behind that was made for it'

# ---- created on first use ----

first=$segment-first
columns=NAME,KIND
# In a segment of its own each: absent with --no-create, and the status of a first use without.
use() {
    local status=$1 verb=$2 path=$first/$3
    shift 3
    exits 4 shmctl $verb --no-create "$path" "$@"
    complains "^shmctl: $path: no such .*; 'shmctl create .* $path.*' creates it$"
    test ! -e "/dev/shm/$first" || fail "--no-create of $verb creates a segment"
    exits "$status" shmctl $verb "$path" "$@"
    exits 0 shmctl ls -r -n -o "$columns" "$first"
    cat "$out" >>"$scratch/created"
    exits 0 shmctl rm "$first"
}
use 0 put queue x
use 3 'get --nowait' queue
use 3 'work --nowait' queue true
use 0 lock lock true
use 0 'event set' event
use 0 'event clear' event
use 3 'event wait --nowait' event
use 0 'semaphore acquire' semaphore
use 0 'semaphore release' semaphore
use 3 'barrier wait --parties 2 --nowait' barrier
use 0 'stream append' stream 1
use 3 'stream read --nowait' stream
use 0 notify cond
use 3 'wait --timeout 0.1' cond
columns=NAME,KIND,ORDER
use 0 'put --priority 1' urgent x
columns=NAME,KIND,SAMPLE-SIZE
use 0 'stream append --format int16' short 7
{
    printf '%s\n' 'queue queue' 'queue queue' 'queue queue' 'lock lock' 'event event' \
        'event event' 'event event'
    printf '%s\n' 'semaphore semaphore' 'semaphore semaphore' 'barrier barrier' 'stream stream' \
        'stream stream'
    printf '%s\n' 'cond cond' 'cond cond' 'urgent queue priority' 'short stream 2'
} | diff - "$scratch/created" || fail 'other objects have been created'
for look in 'event is-set' 'semaphore value' 'barrier wait' 'barrier reset' 'barrier abort' \
    shutdown; do
    exits 4 shmctl $look "$first/x"
    test ! -e "/dev/shm/$first" || fail "$look creates a segment"
done
exits 0 shmctl create segment "$first" --max-objects 1
exits 0 shmctl create event "$first/go"
exits 1 shmctl put "$first/queue" x
exits 1 shmctl put "$first/go" x
on_terminal 80 "shmctl event set $first-2/go" >"$scratch/said"
grep -qx "shmctl: $first-2/go: event created" "$scratch/said" ||
    fail "on a terminal it says $(cat "$scratch/said")"
on_terminal 80 "shmctl event set $first-2/go" >"$scratch/said"
test ! -s "$scratch/said" || fail "it says $(cat "$scratch/said")"
claim 'the first to use an object creates it, and a look creates nothing'

# ---- the examples of the page, one after the other ----

mkdir "$scratch/yard"
cp "$scratch/created" "$scratch/yard/some-file"
sed -n '/^\.SH EXAMPLES/,/^\.SH SEE/p' "$SHMKIT_SRCDIR/tools/shmctl.1" |
    sed -n 's/\\-/-/g; s/^\$ \\fB\(.*\)\\fR$/\1/p' |
    sed "s,\(bank\|yard\|race\)\(/\| \|$\),$segment-\1\2,g; s/--timeout 10/--timeout 0.2/;
            s,/var/lib/prometheus/node-exporter/,,; s/ -i 15\$//" \
        >"$scratch/examples"
test "$(wc -l <"$scratch/examples")" -ge 10 || fail 'where are the examples?'
while read -r line; do
    rm -f "$scratch/yard/count"* # gzip takes all that is there
    printf '#!/bin/sh\necho counted\n' >"$scratch/yard/count-the-money"
    chmod +x "$scratch/yard/count-the-money"
    (cd "$scratch/yard" && exits 0 bash -c "$line") || fail "'$line' of shmctl(1) fails"
    case $line in
    *race*) grep -qx 'exit status 3' "$out" || fail "'$line' prints $(cat "$out")" ;;
    *get*) prints Python ;;
    *count*) prints counted ;;
    esac
done <"$scratch/examples"
test -f "$scratch/yard/some-file.gz" || fail 'the work has not been done'
claim 'the examples of shmctl(1) run as they stand'
