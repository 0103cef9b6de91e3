#!/bin/bash
# shmctl stream: samples go in and come out as they are.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
stream=$segment/signal

position() {
    shmctl show -r -n -o POSITION "${1-$stream}"
}

exits 4 shmctl stream read --no-create "$stream"
exits 0 shmctl create event "$segment/go"
exits 4 shmctl stream append --no-create "$stream" 1
complains "^shmctl: $stream: no such stream; 'shmctl create stream $stream' creates it$"
exits 1 shmctl stream read "$segment/go"
complains "^shmctl: $segment/go[: ]"
exits 0 shmctl create stream "$stream" --history 100
exits 3 shmctl stream read "$stream" --nowait
complains "^shmctl: $stream: there are no new samples (--nowait)$"
exits 3 shmctl stream read "$stream" -t 0.1
exits 0 shmctl stream read "$stream" --latest 5
prints_nothing
claim 'without samples there is nothing to read'

exits 0 shmctl stream append "$stream" 1 2.5 ' 0.1' 1e300 nan -- -3
prints_nothing
exits 0 shmctl stream read "$stream" --latest 9
prints 1 2.5 0.1 1e+300 nan -3
exits 0 shmctl stream read "$stream" --latest 2
prints nan -3
exits 0 shmctl stream read "$stream" --oldest
prints 1
exits 0 shmctl stream read "$stream" --oldest --count 3
prints 1 2.5 0.1
exits 3 shmctl stream read "$stream" --oldest --follow --nowait
test "$(wc -l <"$out")" = 6 || fail "it prints $(cat "$out")"
exits 1 shmctl stream append "$stream" 4 5 x 6
grep -qx "shmctl: $stream: invalid double 'x'; a sample has 1 value" "$err" ||
    fail "it says $(cat "$err")"
grep -qx "shmctl: $stream: 2 samples were appended before" "$err" || fail "it says $(cat "$err")"
test "$(position)" = 8 || fail "at $(position)"
exits 1 shmctl stream append "$stream" '1 2'
complains "extra value '2'; a sample has 1 of format double$"
claim 'samples go in and come out as they are, in order'

# One thirds and the like come back to the last bit.
seq -f '%.17g' 0.1 0.1 1 >"$scratch/numbers"
input=$scratch/numbers exits 0 shmctl stream append --stdin "$stream"
exits 0 shmctl stream read "$stream" --latest 10
awk 'NR == FNR { a[FNR] = $1; next } a[FNR] + 0 != $1 + 0 { exit 1 }' "$scratch/numbers" "$out" ||
    fail "it prints $(cat "$out")"
printf '1\nx\n' >"$scratch/numbers"
input=$scratch/numbers exits 1 shmctl stream append --stdin "$stream"
grep -q "^shmctl: line 2: invalid double 'x'" "$err" || fail "it says $(cat "$err")"
claim 'lines of the standard input are samples'

shmctl stream read "$stream" -c 2 >"$scratch/got" &
reader=$!
await waits 'read signal'
exits 0 shmctl stream append "$stream" 42
exits 0 shmctl stream append "$stream" 43
ends 0 $reader
test "$(tr '\n' ' ' <"$scratch/got")" = '42 43 ' || fail "it prints $(cat "$scratch/got")"
mkfifo "$scratch/fifo"
env --default-signal shmctl stream read "$stream" --follow >"$scratch/fifo" &
reader=$!
exec 3<"$scratch/fifo"
await waits 'read signal'
for i in 1 2 3; do
    exits 0 shmctl stream append "$stream" $i
    read -r -t 60 line <&3 # it does not come late because it goes into a pipe
    test "$line" = $i || fail "after $i comes '$line'"
done
kill -INT $reader
ends 130 $reader
exec 3<&-
claim 'a reader that waits for samples gets them as they come'

env --default-signal=PIPE shmctl stream read "$stream" --follow >"$scratch/fifo" &
reader=$!
exec 3<"$scratch/fifo"
await waits 'read signal'
exec 3<&-
ends 141 $reader
claim 'the end of its own reader ends it, though no sample comes'

shmctl stream read "$stream" --follow -t 1h >"$scratch/got" 2>"$scratch/complaints" &
reader=$!
await waits 'read signal'
kill -STOP $reader
await grep -q '^State:.*stopped' /proc/$reader/status
seq 1000 >"$scratch/numbers"
input=$scratch/numbers exits 0 shmctl stream append --stdin "$stream"
kill -CONT $reader
await grep -qx 1000 "$scratch/got"
kill -KILL $reader
ends 137 $reader
sentence='samples were overwritten before they could be read'
lost=$(sed -n "s|^shmctl: $stream: \([0-9]*\) $sentence$|\1|p" "$scratch/complaints")
test "$lost" -gt 0 -a $((lost + $(wc -l <"$scratch/got"))) = 1000 ||
    fail "lost $lost: $(cat "$scratch/complaints")"
claim 'a reader that is too slow is told how many samples it has lost'

for format in int8 int16 int32 int64 uint8 uint16 uint32 uint64 float; do
    bytes=$(echo $format | sed 's/[^0-9]*//')
    bytes=$((${bytes:-32} / 8))
    case $format in
    float) values='1 -2.5 0.1 1e+30' ;;
    uint*) values="0 1 77 $(echo "2^(8*$bytes)-1" | bc 2>/dev/null || echo 200)" ;;
    int*) values='-128 -1 0 127' ;;
    esac
    exits 0 shmctl create stream "$segment/$format" --sample-size $bytes
    exits 0 shmctl stream append -F $format "$segment/$format" -- $values
    exits 0 shmctl stream read --format $format "$segment/$format" --latest 4
    prints $values
    test $bytes = 8 || exits 2 shmctl stream read "$segment/$format"
    test $bytes = 8 || complains "are not doubles; --format says what they are"
done
exits 1 shmctl stream append -F int8 "$segment/int8" 128
complains "invalid int8 '128', or out of range"
exits 1 shmctl stream append -F uint8 "$segment/int8" -- -1
complains "invalid uint8 '-1', or out of range"
exits 2 shmctl stream append -F int32 "$segment/int8" 1
exits 2 shmctl stream append -F word "$segment/int8" 1
exits 0 shmctl create stream "$segment/pairs" --sample-size 8
exits 0 shmctl stream append -F int32 "$segment/pairs" 1,2 '3 4' ' -5,  6 '
exits 0 shmctl stream read -F int32 "$segment/pairs" --latest 3
prints '1 2' '3 4' '-5 6'
exits 1 shmctl stream append -F int32 "$segment/pairs" 1
complains "invalid int32 ''; a sample has 2 values"
claim 'the values of a sample may be of any usual type'

head -c 1024 /dev/urandom >"$scratch/bytes"
exits 0 shmctl create stream "$segment/raw" --sample-size 64
input=$scratch/bytes exits 0 shmctl stream append --format raw --stdin "$segment/raw"
test "$(position "$segment/raw")" = 16 || fail "at $(position "$segment/raw")"
exits 0 shmctl stream read --format raw --oldest -c 16 "$segment/raw"
cmp "$scratch/bytes" "$out" || fail 'the bytes are not what they were'
head -c 65 "$scratch/bytes" >"$scratch/more"
input=$scratch/more exits 1 shmctl stream append --format raw --stdin "$segment/raw"
grep -q '^shmctl: standard input: incomplete sample at the end: 1 of 64 bytes$' "$err" ||
    fail "it says $(cat "$err")"
exits 2 shmctl stream append --format raw "$segment/raw" x
claim 'raw samples are bytes'

exits 0 shmctl create stream "$segment/lines" --sample-size 10 --stamped
printf 'a line\n\nü 1,2\n' >"$scratch/lines"
input=$scratch/lines exits 0 shmctl stream append --format text --stdin "$segment/lines"
exits 0 shmctl stream read --format text --latest 9 "$segment/lines"
prints 'a line' '' 'ü 1,2'
exits 1 shmctl stream append --format text "$segment/lines" 'ten bytes, or more'
complains "lines: the text has 18 bytes; a sample has room for 10$"
exits 0 shmctl stream append --format text "$segment/new-lines" 'a line'
exits 0 shmctl stream read --format text --latest 9 "$segment/new-lines"
prints 'a line'
claim 'samples may be lines of text'

exits 0 shmctl stream read --stamps --format text --latest 9 "$segment/lines"
awk '{ now = $1 } NR > 1 && now < last { exit 1 } { last = now } !/^[0-9]+\.[0-9]+ / { exit 1 }' \
    "$out" || fail "stamps that are none, or go back: $(cat "$out")"
test "$(cut -d' ' -f2- "$out" | head -n 1)" = 'a line' || fail 'the sample is missing'
exits 0 shmctl stream read --stamps --format text --oldest --count 3 "$segment/lines"
test "$(wc -l <"$out")" = 3 || fail 'not the three samples'
exits 1 shmctl stream read --stamps --latest 9 "$stream"
complains "is a stream without time stamps$"
claim 'time stamps can be read'

# ---- recordings ----

exits 0 shmctl create stream "$segment/three" --channels 3 --rate 20
printf '%s\n' '1 0.1 nan' '2 1e300 -inf' '3 -0 0.3333333333333333' >"$scratch/samples"
input=$scratch/samples exits 0 shmctl stream append --stdin "$segment/three"
exits 0 shmctl stream record --oldest --count 3 "$segment/three" "$scratch/three"
grep -v '^#' "$scratch/three" >"$scratch/lines"
printf '%s\n' '0.000000000 1 0.1 nan' '0.050000000 2 1e+300 -inf' \
    '0.100000000 3 -0 0.3333333333333333' | diff - "$scratch/lines" || fail 'not what was recorded'
exits 1 shmctl stream record --oldest "$segment/three" "$scratch/three"
complains "^shmctl: $scratch/three: it is there already"
begun=$(date +%s%N)
exits 0 shmctl stream replay "$scratch/three" "$segment/replayed"
test $((($(date +%s%N) - begun) / 1000000)) -ge 100 || fail 'it was replayed too fast'
exits 0 shmctl stream read --latest 9 "$segment/replayed"
prints '1 0.1 nan' '2 1e+300 -inf' '3 -0 0.3333333333333333'
test "$(shmctl show -r -n -o CHANNELS,RATE,STAMPED "$segment/replayed")" = '3 20 no' ||
    fail 'not a stream like the one that was recorded'
exits 0 shmctl stream replay --speed 2 --count 2 "$scratch/three" "$segment/replayed"
test "$(shmctl show -r -n -o POSITION,RATE "$segment/replayed")" = '5 40' ||
    fail 'not twice as fast'
exits 1 shmctl stream replay "$scratch/three" "$stream"
exits 0 shmctl stream record --format text --oldest --count 3 "$segment/lines" -
cp "$out" "$scratch/lines"
input=$scratch/lines exits 0 shmctl stream replay - "$segment/again"
exits 0 shmctl stream read --format text --latest 9 "$segment/again"
prints 'a line' '' 'ü 1,2'
test "$(shmctl show -r -n -o STAMPED "$segment/again")" = yes || fail 'not one with time stamps'
claim 'a recording has each digit, and is replayed at its pace into a stream like its own'

exits 3 shmctl stream record --oldest --timeout 0.1 "$segment/three" "$scratch/timed"
test "$(grep -vc '^#' "$scratch/timed")" = 3 || fail 'the samples that there were are missing'
shmctl stream record "$segment/three" "$scratch/killed" &
recorder=$!
await waits 'read three'
input=$scratch/samples exits 0 shmctl stream append --stdin "$segment/three"
has_lines() {
    test "$(grep -vc '^#' "$1")" = "$2"
}
await has_lines "$scratch/killed" 3
kill -KILL $recorder
ends 137 $recorder
printf '0.5 7 8' >>"$scratch/killed" # what a death in the middle of a line leaves
exits 0 shmctl stream replay --speed 100 "$scratch/killed" "$segment/from-killed"
complains "^shmctl: $scratch/killed: its last line is cut, and is left out$"
exits 0 shmctl stream read --latest 9 "$segment/from-killed"
prints '1 0.1 nan' '2 1e+300 -inf' '3 -0 0.3333333333333333'
env --default-signal shmctl stream record "$segment/three" "$scratch/ended" 2>"$scratch/said" &
recorder=$!
await waits 'read three'
kill -INT $recorder
ends 130 $recorder
grep -q "^shmctl: $scratch/ended: 0 samples, 0.0 s$" "$scratch/said" ||
    fail "$(cat "$scratch/said")"
claim 'a recorder that is killed leaves a recording that is good up to its last line'

printf '%s\n' '# shmkit recording 1' '# format double' '# sample-size 8' '0 1' '1e6 2' \
    >"$scratch/long"
env --default-signal shmctl stream replay "$scratch/long" "$segment/long" 2>"$scratch/said" &
player=$!
has_position() {
    test "$(position "$1" 2>/dev/null)" = "$2"
}
await has_position "$segment/long" 1
kill -INT $player
ends 130 $player
grep -q "^shmctl: $segment/long: 1 samples were appended$" "$scratch/said" ||
    fail "$(cat "$scratch/said")"
for bad in '0 x' 'x 1' '0' '0 1 2'; do
    sed "4s/.*/$bad/" "$scratch/long" >"$scratch/bad"
    exits 1 shmctl stream replay "$scratch/bad" "$segment/bad"
    complains "^shmctl: $scratch/bad, line 4: "
done
for head in 's/double/word/' 's/sample-size 8/sample-size 9/' '/format/d' '1s/.*/1 2/' 1,9d; do
    sed "$head" "$scratch/long" >"$scratch/bad"
    exits 1 shmctl stream replay "$scratch/bad" "$segment/worse"
    complains "^shmctl: $scratch/bad"
done
exits 4 shmctl stream replay "$scratch/absent" "$segment/worse"
exits 4 shmctl show "$segment/worse"
claim 'Ctrl-C ends a replay, and what is no recording is told as that'

exits 2 shmctl stream read "$stream" --stdin
exits 2 shmctl stream append "$stream" 1 --follow
exits 2 shmctl stream append "$stream"
exits 2 shmctl stream read "$stream" 1
exits 2 shmctl stream read "$stream" --latest 1 --follow
exits 2 shmctl stream write "$stream"
complains "unknown action 'write'; known: append, read, record, replay$"
exits 2 shmctl stream record "$stream" --follow
complains "^shmctl: --follow is not for 'stream record'"
exits 2 shmctl stream replay "$stream"
exits 2 shmctl stream replay "$scratch/x" "$stream" --oldest
exits 2 shmctl stream replay "$scratch/x" "$stream" --timeout 1
exits 2 shmctl stream replay "$scratch/x" "$stream" --speed 0
exits 2 shmctl stream record "$stream" "$scratch/x" --format raw
test ! -e "$scratch/x" || fail 'wrong usage has made a file'
claim 'what does not go together is a usage error'
