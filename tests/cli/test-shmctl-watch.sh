#!/bin/bash
# shmctl watch, hz and show --interval: what moves, and how fast. Rates are only asked whether there
# are any.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
queue=$segment/工作

exits 4 shmctl hz "$queue" -c 1
exits 4 shmctl watch "$segment" --batch -c 1
complains "^shmctl: $segment[: ]"
exits 0 shmctl create queue "$queue" --capacity 1 --item-size 8
exits 0 shmctl create stream "$segment/signal"
exits 0 shmctl create event "$segment/go"
exits 1 shmctl hz "$segment/go"
complains "it is no queue and no stream, and has no rate"
exits 4 shmctl hz "$segment/none" -c 1
for wrong in '--interval 0' '--interval x' '--window 0' '-c x'; do
    exits 2 shmctl hz "$queue" $wrong
done
exits 2 shmctl watch "$segment" -i 0
exits 2 shmctl watch "$segment/go" -c 1
claim 'what cannot be watched is told'

exits 0 shmctl hz "$queue" -i 10ms -c 2 -r
prints 'PUT-RATE PUT-MEAN PUT-MIN PUT-MAX GET-RATE GET-MEAN GET-MIN GET-MAX WINDOW' \
    '0.0 0.0 0.0 0.0 0.0 0.0 0.0 0.0 1' '0.0 0.0 0.0 0.0 0.0 0.0 0.0 0.0 2'
exits 0 shmctl hz "$segment/signal" -i 10ms -c 1 --json
as_expected hz.json
claim 'where nothing moves, the rate is 0'

# A process that puts, appends and takes until the test is over.
shmctl put --stdin "$queue" < <(yes 1) &
shmctl get --follow "$queue" >/dev/null &
shmctl stream append --stdin "$segment/signal" < <(yes 2.5) &
shmctl event wait "$segment/go" &
await waits 'set go'
moves() {
    test "$(shmctl show -n -r -o GETS "$queue")" -gt 0 \
        -a "$(shmctl show -n -r -o POSITION "$segment/signal")" -gt 0
}
await moves
# However busy the machine is: within some looks both have moved.
rates() {
    shmctl show -i 0.5 -n -r -o PUT-RATE,GET-RATE "$queue" |
        grep -qx '[0-9]*[1-9][0-9]*\.[0-9] [0-9]*[1-9][0-9]*\.[0-9]' &&
        shmctl show -i 0.5 -n -r -o PUT-RATE,GET-RATE "$segment/signal" |
            grep -qx '[0-9]*[1-9][0-9]*\.[0-9] -'
}
await rates
exits 0 shmctl show -n -r -o PUT-RATE,GET-RATE "$queue"
prints '- -'
exits 0 shmctl show --json -i 10ms -o PATH,PUT-RATE "$segment/go"
prints '{' '   "objects": [' '      {' "         \"path\": \"$segment/go\"," \
    '         "put-rate": null' '      }' '   ]' '}'
claim 'show --interval tells the rates'

hz() {
    shmctl hz "$1" -i 0.3 -c 4 --window 2 >"$out" 2>"$err"
    awk -v n="$2" 'NR == 1 { next }
        NF != n || $NF != (NR == 2 ? 1 : 2) { exit 1 }
        {
            for (i = 1; i < n; i += 4) {
                if ($(i + 1) < $(i + 2) || $(i + 1) > $(i + 3) || $(i + 3) <= 0)
                    exit 1
            }
        }
        END { if (NR != 5) exit 1 }' "$out"
}
await hz "$queue" 9
await hz "$segment/signal" 5
claim 'hz prints a line each interval, the mean between the lowest and the highest'

exits 0 shmctl watch "$segment" --batch -i 0.1 -c 1 -o PATH,KIND,WAITERS
grep -Eqx "[0-9:]{8}, every 100ms; segments: 1, objects: 3, members: 4, waiting: [1-4]" "$out" ||
    fail "it prints $(cat "$out")"
grep -Eqx "$segment/go +event +1" "$out" || fail "it prints $(cat "$out")"
test "$(tail -n 1 "$out")" = '' || fail 'no empty line after a look'
exits 0 shmctl watch "$segment" -i 0.1 -c 2 -r -n -o PATH,WAITERS
test "$(grep -cx "$segment/go 1" "$out")" = 2 || fail "it prints $(cat "$out")"
exits 0 shmctl watch "$segment" -i 0.1 -c 1 --json -o PATH,KIND
as_expected watch.json
moving() {
    shmctl watch "$segment" -i 0.5 -c 1 -r -n -o KIND,PUT-RATE,GET-RATE >"$out"
    grep -qx 'event - -' "$out" && grep -qx 'stream [0-9]*[1-9][0-9]*\.[0-9] -' "$out" &&
        grep -qx 'queue [0-9]*[1-9][0-9]*\.[0-9] [0-9]*[1-9][0-9]*\.[0-9]' "$out"
}
await moving
claim 'watch --batch prints one look after the other'

exits 0 shmctl watch "$segment" -i 0.1 -c 2 --json-lines
test "$(wc -l <"$out")" = 6 || fail "it prints $(cat "$out")"
test "$(grep -c '^{"time": "20[-0-9]*T[:0-9]*\.[0-9]*[-+][0-9]*", "path": "' "$out")" = 6 ||
    fail "it prints $(cat "$out")"
line="\"path\": \"$segment/go\", \"kind\": \"event\", \"state\": \"clear\", \"fill\": null, "
test "$(grep -cF "$line" "$out")" = 2 || fail "it prints $(cat "$out")"
if command -v python3 >/dev/null; then
    python3 -c 'import json, sys; [json.loads(line) for line in sys.stdin]' <"$out" ||
        fail 'a line is no JSON'
fi
claim 'with --json-lines each object has a line'

ends_a_watch_at_interrupt "$segment"
claim 'Ctrl-C ends it by that signal'

# A holder is stopped, and another member waits for it.
shmctl lock "$segment/till" -- sleep 1000 &
holder=$!
held() {
    shmctl ps -r -n -o HOLDS "$segment" | grep -qx till
}
await held
shmctl lock "$segment/till" -- true &
await waits 'acquire till'
kill -STOP $holder
stalled() {
    shmctl watch "$segment" --batch --why -i 0.1 -c 1 >"$out"
    grep -q "^stalled: .* waits to acquire $segment/till, for " "$out"
}
await stalled
exits 0 shmctl watch "$segment" --batch -i 0.1 -c 1
not grep -q '^stalled: ' "$out" || fail "it prints $(cat "$out")"
claim 'with --why it tells what does not go on'

# ---- on a screen ----

screen() {
    local columns=$1 rows=$2
    (while sleep 0.3; do printf q || exit; done) 2>/dev/null |
        timeout 180 script -qec "stty cols $columns rows $rows; TERM=vt100 shmctl watch $segment" \
            /dev/null
}
if grep -q '^#define HAVE_NCURSESW 1' "$SHMKIT_TESTDIR/../config.h"; then
    for size in '80 24' '200 60' '40 6'; do
        screen $size >"$scratch/screen" ||
            fail "on a screen of $size it exits with $?: $(cat "$scratch/screen")"
        grep -q "$segment/g" "$scratch/screen" ||
            fail "on a screen of $size there is no object: $(cat "$scratch/screen")"
        test "$size" = '40 6' || grep -q 'stalled: ' "$scratch/screen" ||
            fail "on a screen of $size nothing is stalled: $(cat "$scratch/screen")"
    done
    claim 'on a screen it shows the objects until q is pressed'
    exits 0 script -qec "stty cols 200; TERM=dumb shmctl watch $segment -i 0.1 -c 2" /dev/null
    test "$(grep -c "^$segment/go  *event " "$out")" = 2 ||
        fail "on a dumb terminal it prints $(cat "$out")"
    claim 'a terminal on which the cursor cannot be placed gets one look after the other'
else
    screen 80 24 >"$scratch/screen" && fail 'without ncurses there is no screen'
    grep -q 'libncurses-dev.*--batch' "$scratch/screen" || fail "it says $(cat "$scratch/screen")"
    claim 'without ncurses it names what is missing'
fi
exits 1 script -qec "TERM=nonsense shmctl watch $segment" /dev/null
grep -q "a terminal of the type 'nonsense' cannot be used; --batch needs none\|libncurses-dev" \
    "$out" || fail "it says $(cat "$out")"
claim 'a terminal that cannot be used is told'
