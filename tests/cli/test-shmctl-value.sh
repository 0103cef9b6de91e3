#!/bin/bash
# shmctl value and region: set, got, added to, waited for.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
config=$segment/config

exits 4 shmctl value get "$config"
exits 4 shmctl value --no-create set "$config" x
exits 0 shmctl value set "$config" colour=blue
exits 0 shmctl value get "$config"
prints colour=blue
exits 0 shmctl value set "$config" --if-version 1 值
exits 1 shmctl value set "$config" --if-version 1 no
complains "^shmctl: $config: the value has another version$"
exits 0 shmctl value get --json "$config"
grep -q '"version": 2' "$out" && grep -q '"length": 3' "$out" && grep -q '"value": "值"' "$out" ||
    fail "get --json prints $(cat "$out")"
printf 'two\nlines\n' >"$scratch/lines"
input=$scratch/lines exits 0 shmctl value set --stdin "$config"
shmctl value get --whole "$config" | cmp - "$scratch/lines" || fail 'the input has not come back'
exits 2 shmctl value set "$config"
exits 2 shmctl value get "$config" x
exits 2 shmctl value get --timeout 1 "$config"
exits 2 shmctl value take "$config"
head -c 2000 /dev/zero >"$scratch/long"
input=$scratch/long exits 1 shmctl value set --stdin "$config"
claim 'a value is set and got whole'

exits 0 shmctl create value "$segment/empty" --size 16
exits 4 shmctl value get "$segment/empty"
complains "^shmctl: $segment/empty: it has never been set$"
exits 0 shmctl value add "$segment/count" 5
prints 5
exits 0 shmctl value add "$segment/count" -- -7
prints -2
exits 0 shmctl value get --number "$segment/count"
prints -2
exits 0 shmctl value set -N "$segment/count" 40
exits 0 shmctl value add "$segment/count" 2
prints 42
exits 1 shmctl value add "$config" 1
exits 1 shmctl value get --number "$config"
claim 'a value is a number'

exits 3 shmctl value wait --nowait "$config"
exits 3 shmctl value wait --timeout 50ms "$config"
exits 0 shmctl value wait --nowait --newer-than 0 "$config"
prints 3
shmctl value wait "$config" >"$scratch/version" &
waiter=$!
await waits 'newer config'
exits 0 shmctl value set "$config" new
ends 0 $waiter
grep -qx 4 "$scratch/version" || fail "wait printed $(cat "$scratch/version")"
shmctl show "$config" | grep -q '^State  *version 4, 3 bytes$' || fail "$(shmctl show "$config")"
claim 'a newer version is waited for'

exits 4 shmctl region get "$segment/table"
exits 0 shmctl create region "$segment/table" --size 64
exits 0 shmctl region set "$segment/table" 1 2 -- -3
exits 0 shmctl region get "$segment/table" --count 4
prints "1
2
-3
0"
exits 0 shmctl region add "$segment/table" --offset 8 40
prints 42
exits 0 shmctl region set -F double --offset 32 "$segment/table" 1.5
exits 0 shmctl region get -F double --offset 32 "$segment/table"
prints 1.5
exits 0 shmctl region set -F uint8 --offset 63 "$segment/table" 255
exits 0 shmctl region add -F uint8 --offset 63 "$segment/table" 1
prints 0
exits 1 shmctl region get --offset 60 "$segment/table"
exits 1 shmctl region get --offset 65 "$segment/table"
exits 1 shmctl region add --offset 4 "$segment/table" 1
exits 2 shmctl region add -F double "$segment/table" 1
exits 2 shmctl region set -F uint8 "$segment/table" 256
exits 2 shmctl region set "$segment/table"
printf abc >"$scratch/bytes"
input=$scratch/bytes exits 0 shmctl region set -F raw --offset 3 "$segment/table"
shmctl region get -F raw --offset 3 -c 3 "$segment/table" | cmp - "$scratch/bytes" ||
    fail 'the bytes have not come back'
test "$(shmctl region get -F raw "$segment/table" | wc -c)" = 64 || fail 'not all bytes'
claim 'numbers and bytes of a region are got and set'
