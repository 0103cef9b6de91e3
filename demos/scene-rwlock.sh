#!/bin/sh
# A notice board under a rwlock: many read it at once, one writes. Readers and writers are killed in
# the middle, and no reader ever takes a half written edition for a whole one.
set -u
arguments=''
. "$(dirname "$0")/scene.sh"
board=$segment/board

# holds N: do so many members read?
holds() {
    test "$(shmctl show --raw --noheadings -o READERS "$board.lock" 2>/dev/null)" = "$1"
}

writes() {
    test "$(shmctl show --raw --noheadings -o WRITING "$board.lock" 2>/dev/null)" = yes
}

# Are there more than so many lines?
more_than() {
    test "$(wc -l <"$scratch/lines")" -gt "$1"
}

# ---- 1: together ----

note "A writer writes the first edition. Then three read it, at the same time:"
type_in board "$board" --write --name 编辑
for name in 甲 乙 丙; do
    echo "\$ shmctl demo board $board --name 读者$name --hold 60min &"
    board "$board" --name "读者$name" --hold 60min >"$scratch/$name" &
    echo $! >"$scratch/$name.pid"
done
await holds 3
type_in shmctl ps -o PID,COMMAND,NAME,HOLDS,WAITS "$segment"

# ---- 2: a reader is killed ----

note "A writer waits until all of them have read. Two come to an end, the third is" \
    "killed in the middle, and the writer goes on at once:"
echo "\$ shmctl demo board $board --write --name 编辑 &"
board "$board" --write --name 编辑 >"$scratch/written" &
writer=$!
await asleep 1 'acquire board.lock'
type_in shmctl why "$segment"
kill -TERM "$(cat "$scratch/甲.pid")" "$(cat "$scratch/乙.pid")"
echo "\$ kill -KILL $(cat "$scratch/丙.pid")"
kill -KILL "$(cat "$scratch/丙.pid")"
join "$writer" || fail "the writer ended with status $?"
cat "$scratch/written"
for name in 甲 乙 丙; do
    join "$(cat "$scratch/$name.pid")" 2>/dev/null
done

# ---- 3: a writer is killed ----

note "A writer is killed in the middle of an edition. Every reader is told:"
echo "\$ shmctl demo board $board --write --name 编辑 --hold 60min &"
board "$board" --write --name 编辑 --hold 60min &
writer=$!
await writes
echo "\$ kill -KILL $writer"
kill -KILL "$writer"
join "$writer" 2>/dev/null
for name in 甲 乙; do
    type_in board "$board" --name "读者$name" | tee -a "$scratch/told"
done
test "$(grep -c '只写了一半$' "$scratch/told")" = 2 || fail "a reader has not been told"
type_in shmctl show -o KIND,STATE,ORPHANED,HOLDERS-LOST "$board.lock"
note "The next writer mends it, and writes its own:"
type_in board "$board" --write --name 编辑
type_in board "$board" --name 读者甲 | tee "$scratch/mended"
grep -q '读到第 [0-9]* 版$' "$scratch/mended" || fail "it has not been mended"

# ---- 4: many deaths ----

note "Four readers and two writers at once. Again and again one is killed, at any moment," \
    "and another comes in its place:"
: >"$scratch/lines"
start() { # NUMBER: 5 and 6 write
    case $1 in
    5 | 6) set -- "$1" --write --name "编辑$1" --hold 1ms ;;
    *) set -- "$1" --name "读者$1" ;;
    esac
    number=$1
    shift
    board "$board" "$@" --times 1000000 >>"$scratch/lines" 2>>"$scratch/complaints" &
    echo $! >"$scratch/$number.pid"
}
for n in 1 2 3 4 5 6; do
    start $n
done
deaths=0
while test $deaths -lt 30; do
    seen=$(wc -l <"$scratch/lines")
    await more_than "$seen"
    n=$((deaths % 6 + 1))
    kill -KILL "$(cat "$scratch/$n.pid")"
    join "$(cat "$scratch/$n.pid")" 2>/dev/null
    test $? = 137 || fail "a process ended by itself: $(cat "$scratch/complaints")"
    start $n
    deaths=$((deaths + 1))
done
for n in 1 2 3 4 5 6; do
    kill -TERM "$(cat "$scratch/$n.pid")"
    join "$(cat "$scratch/$n.pid")" 2>/dev/null
    test $? = 143 || fail "a process ended by itself: $(cat "$scratch/complaints")"
done
reads=$(grep -c '读到第' "$scratch/lines")
editions=$(grep -c '写完第' "$scratch/lines")
mended=$(grep -c '修好第' "$scratch/lines")
echo "$reads times read, $editions editions written, $mended of them mended after a death"
test ! -s "$scratch/complaints" || fail "$(cat "$scratch/complaints")"
test "$reads" -gt 0 || fail 'no edition was read'
test "$editions" -gt 0 || fail 'no edition was written'
type_in shmctl show -o KIND,STATE,READERS,HOLDERS-LOST "$board.lock"
passed "three read at once; a killed reader kept the writer no longer; a killed writer was" \
    "told to every reader, until another had mended; $deaths deaths, and nothing was torn"
