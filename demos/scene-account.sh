#!/bin/sh
# An account that several processes share: three depositors pay in and one drawer draws, strictly in
# turn. They wait for a condition; with --event for events beside a lock.
set -u
case $0 in
*-event.sh) way=--event arguments='' ;;
*) way=${1-} arguments='[--event]' ;;
esac
. "$(dirname "$0")/scene.sh"
account=$segment/account
lines=$scratch/lines
case $way in
'') why='notify account.changed' ;;
--event) why='set account.drawn' ;;
*) echo "usage: $0 [--event]" >&2 && exit 2 ;;
esac

# The first program makes the segment and the account. Here that is a depositor: were the drawer
# there already, one depositor might have made its hundred deposits before the others start.
note "Three depositors. One of them pays in, and all wait for a drawer:"
depositor $way "$account" --name 存款者甲 --times 100 >>"$lines" &
first=$!
depositor $way "$account" --name 存款者乙 --times 100 >>"$lines" &
second=$!
depositor $way "$account" --name 存款者丙 --times 100 >>"$lines" &
third=$!
await printed 2 "$lines"
await asleep 3 "$why"
type_in shmctl ps -o PID,COMMAND,NAME,HOLDS,WAITS,FOR "$segment"

note "A drawer that draws a hundred times:"
drawer $way "$account" --name 取钱者 --times 100 >>"$lines" &
join $! || fail "the drawer ended with status $?"
await printed 402 "$lines"
await asleep 3 "$why"
head -n 8 "$lines"
echo ...
tail -n 8 "$lines"

note "The drawer has gone, and all three depositors are asleep:"
type_in shmctl ps -o PID,COMMAND,NAME,HOLDS,WAITS,FOR "$segment"
type_in shmctl why "$segment" >"$scratch/why"
status=$?
cat "$scratch/why"
test $status = 0 || fail "why ends with status $status, not 0: a drawer may still come"
test "$(grep -c '^waiting: 存款者' "$scratch/why")" = 3 || fail "why does not call all three waiting"
test "$(grep -c '^  nothing is attached now that could' "$scratch/why")" = 3 ||
    fail "why does not say that nothing could wake them"
echo "Blocked is not deadlocked: no process holds a lock that another waits for."
echo "One more drawer, and they would go on."

LC_ALL=C awk '
    NR % 4 == 1 && /^存款者(甲|乙|丙) 存款:800$/ { deposits++; next }
    NR % 4 == 2 && /^账户余额为：800$/ { next }
    NR % 4 == 3 && /^取钱者 +取钱:800$/ { draws++; next }
    NR % 4 == 0 && /^账户余额为：0$/ { next }
    { print "line " NR " is out of turn: " $0; wrong = 1; exit }
    END { exit wrong || deposits != 101 || draws != 100 }
' "$lines" || fail "the lines are not 101 deposits and 100 draws, strictly alternating"

kill "$first" "$second" "$third"
for depositor in "$first" "$second" "$third"; do
    join "$depositor" 2>/dev/null
    test $? = 143 || fail "a depositor did not end as it was told to"
done
passed "101 deposits and 100 draws in turn, 800 after each deposit and" \
    "0 after each draw; in the end three depositors were left waiting"
