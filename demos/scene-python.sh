#!/bin/sh
# C, Python and a shell at the same objects: a producer in C, a shell in between, consumers in
# Python, of which one is killed; a lock that passes from Python to the shell; the tutorial's
# account, of which an actor is killed; a signal of the sampler in C, plotted with matplotlib.
# Where the module for Python is not there, the scene says so, and ends well.
set -u
arguments=''
. "$(dirname "$0")/scene.sh"
programs=${SHMKIT_DEMOS:-$here}/python

for python in "${PYTHON:-python3}" python3 /usr/bin/python3 ''; do
    test -n "$python" || break
    "$python" -c 'import shmkit' 2>/dev/null && break
done
if test -z "$python"; then
    echo "$scene: skipped: no Python here has the module shmkit, which configure builds with the" \
        "Debian package python3-dev"
    exit 0
fi

lines=$segment/lines
marked=$segment/marked

note "A consumer in Python, a shell in between, and a producer in C:"
type_in shmctl create queue "$lines" --capacity 8
echo "\$ python3 consumer.py $marked &"
"$python" "$programs/consumer.py" "$marked" >"$scratch/got" &
consumer=$!
echo "\$ shmctl get --follow $lines | sed -u 's/.*/[&]/' | shmctl put --stdin --producer $marked &"
shmctl get --follow "$lines" | sed -u 's/.*/[&]/' |
    shmctl put --stdin --producer "$marked" 2>"$scratch/put-says" &
between=$!
await asleep 1 'get marked'
type_in shmctl ps -o PID,COMMAND,ROLES,WAITS "$segment"
seq -f 'line %g, from C' 300 >"$scratch/in"
echo "\$ seq -f 'line %g, from C' 300 | shmctl demo producer $lines --stdin"
producer "$lines" --stdin <"$scratch/in" || fail "the producer ended with $?"
await printed 300 "$scratch/got"
sed 's/.*/[&]/' "$scratch/in" | cmp - "$scratch/got" || fail "not what the producer has put"
tail -n 2 "$scratch/got"

note "A second consumer. The first one is killed while it waits, and the second one goes on:"
echo "\$ python3 consumer.py $marked &"
"$python" "$programs/consumer.py" "$marked" >"$scratch/got" &
second=$!
await asleep 2 'get marked'
echo "\$ kill -KILL $consumer"
kill -KILL "$consumer"
wait "$consumer" 2>/dev/null
type_in shmctl put "$lines" 'one more line'
await grep -qxF '[one more line]' "$scratch/got"
cat "$scratch/got"
type_in shmctl shutdown "$lines"
join "$between" || fail "the shell in between ended with $?"
join "$second" || fail "the consumer ended with $?"
echo "All three have ended: the queue of the shell has no producer any more."

note "A lock, which a program in Python holds when it is killed, passes to the shell:"
"$python" -c 'import shmkit, sys, time
shmkit.Lock(sys.argv[1]).acquire()
time.sleep(1000)' "$segment/till" &
holder=$!
holds() { shmctl ps --raw --noheadings -o HOLDS "$segment" 2>/dev/null | grep -qx till; }
await holds
type_in shmctl ps -o PID,COMMAND,HOLDS "$segment"
echo "\$ kill -KILL $holder"
kill -KILL "$holder"
wait "$holder" 2>/dev/null
type_in shmctl lock "$segment/till" -- printenv SHMKIT_ORPHANED >"$scratch/said" 2>&1 ||
    fail "the lock was not to be had"
cat "$scratch/said"
grep -qx 1 "$scratch/said" || fail "the shell was not told that a holder has died"

note "The tutorial's account: each actor is the tutorial's program, started by itself, here" \
    "with the names of this scene. A depositor is killed while it waits, and the others go on:"
for program in actors Account account; do
    sed "s,\"account/,\"$segment/," "$programs/$program.py" >"$scratch/$program.py"
done
actor() {
    echo "\$ python3 account.py $1 &"
    "$python" "$scratch/account.py" "$1" >>"$scratch/lines" &
}
: >"$scratch/lines"
actor 存款者甲 && first=$!
actor 存款者乙 && second=$!
actor 存款者丙 && third=$!
await asleep 3 'notify changed'
echo "\$ kill -KILL $first"
kill -KILL "$first"
wait "$first" 2>/dev/null
actor 取钱者 && drawer=$!
eight() { test "$(wc -l <"$scratch/lines")" -ge 8; }
await eight
kill -KILL "$second" "$third" "$drawer" 2>/dev/null # those that have not come to their end
wait "$second" "$third" "$drawer" 2>/dev/null
head -n 8 "$scratch/lines"
LC_ALL=C awk '
    NR % 4 == 1 && /^存款者(甲|乙|丙) 存款:800$/ { next }
    NR % 4 == 2 && /^账户余额为：800$/ { next }
    NR % 4 == 3 && /^取钱者 取钱:800$/ { next }
    NR % 4 == 0 && /^账户余额为：0$/ { next }
    NR <= 8 { print "line " NR " is out of turn: " $0; wrong = 1; exit }
    END { exit wrong }
' "$scratch/lines" || fail "deposits and draws are not strictly in turn"

if "$python" -c 'import matplotlib, numpy' 2>/dev/null; then
    note "A signal of the sampler in C, plotted with matplotlib:"
    signal=$segment/eeg
    echo "\$ shmctl demo sampler $signal --eeg &"
    sampler "$signal" --eeg --count 30000 2>"$scratch/rate" &
    sampler=$!
    is_there() { shmctl show "$signal" >/dev/null 2>&1; }
    await is_there
    echo "\$ python3 plotter.py $signal eeg.png"
    "$python" "$programs/plotter.py" "$signal" "$scratch/eeg.png" >"$scratch/said" ||
        fail "the plotter ended with $?"
    echo "eeg.png: 100 samples, $(wc -c <"$scratch/eeg.png") bytes"
    header=$(od -An -tx1 -N8 "$scratch/eeg.png" | tr -d ' \n')
    test "$header" = 89504e470d0a1a0a || fail "not a PNG"
    kill -INT "$sampler"
    join "$sampler"
    plotted=" and a plot of the sampler's signal"
else
    note "The plot is left out: matplotlib is not there (Debian package: python3-matplotlib)."
    plotted=
fi
passed "300 lines went from C through a shell to Python; a killed consumer, holder and depositor" \
    "disturbed no other; the shell was told of the holder$plotted"
