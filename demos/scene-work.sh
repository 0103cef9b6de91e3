#!/bin/sh
# A queue of 200 jobs, four workers that run a command for each, and thirty kills with SIGKILL, of
# workers and of commands, at random moments. The journal of the commands proves that each job is
# done, and that no two commands work on the same job at a time.
set -u
arguments=''
. "$(dirname "$0")/scene.sh"

jobs=$segment/jobs
journal=$scratch/journal
: >"$journal"

# ---- 1: by hand ----

note "A worker runs a command for each job. One that fails is tried again, and is then put aside:"
type_in shmctl put "$jobs" wash dry iron
echo "\$ shmctl work --count 3 --retries 1 --failed $segment/failed $jobs --" \
    "sh -c 'echo \$0; test \$0 != dry'"
shmctl work --count 3 --retries 1 --failed "$segment/failed" "$jobs" -- \
    sh -c 'echo $0; test $0 != dry' 2>&1
type_in shmctl get "$segment/failed" | tee "$scratch/failed"
test "$(tail -n 1 "$scratch/failed")" = dry || fail "dry has not been put aside"

# ---- 2: the kills ----

note "Four workers, which are started again when they have been killed, and 200 jobs:"
cat >"$scratch/job" <<'END'
echo "begin $2 $$" >>"$1"
sleep 0.2
echo "done $2 $$" >>"$1"
END
echo "\$ while ! shmctl work --jobs 2 --retries 100 $jobs -- ./job; do :; done &     # four times"
seq -f 'job-%03g' 200 >"$scratch/all"
typed shmctl put "$jobs" --stdin
for n in 1 2 3 4; do
    (
        status=137
        while test $status -gt 128; do
            shmctl work --jobs 2 --retries 100 "$jobs" -- sh "$scratch/job" "$journal" &
            echo $! >"$scratch/worker-$n"
            wait $!
            status=$?
        done
        exit $status
    ) 2>"$scratch/said-$n" &
    echo $! >"$scratch/loop-$n"
done

# A random number below $1.
random() {
    echo $(($(od -A n -t u4 -N 4 /dev/urandom) % $1))
}

# A random one of the commands that have begun and not ended.
running() {
    LC_ALL=C awk '
        $1 == "begin" { at[$2] = $3 }
        $1 == "done" { delete at[$2] }
        END { for (job in at) print at[job] }' "$journal" |
        sort -R | head -n 1
}

workers=0
commands=0
while test $((workers + commands)) -lt 30; do
    first=$((6 * (workers + commands) + 1))
    sed -n "$first,$((first + 5))p" "$scratch/all" >"$scratch/some"
    victim=
    shmctl put "$jobs" --stdin <"$scratch/some" || fail "put ended with status $?"
    while test -z "$victim"; do
        sleep "0.0$((1 + $(random 9)))"
        if test "$(random 2)" = 0; then
            victim=$(cat "$scratch/worker-$((1 + $(random 4)))")
            kill -KILL "$victim" 2>/dev/null && workers=$((workers + 1)) || victim=
        else
            victim=$(running)
            kill -KILL "${victim:-none}" 2>/dev/null && commands=$((commands + 1)) || victim=
        fi
    done
done
echo "\$ kill -KILL ...     # $workers times a worker, $commands times a command"
sed -n '181,$p' "$scratch/all" | shmctl put "$jobs" --stdin || fail "put ended with status $?"
type_in shmctl shutdown "$jobs"
for n in 1 2 3 4; do
    join "$(cat "$scratch/loop-$n")" ||
        fail "worker $n ended with status $?: $(cat "$scratch/said-$n")"
done

# ---- 3: the journal ----

note "The journal has a line when a command begins with a job, and when it is done:"
begun=$(grep -c ^begin "$journal")
echo "$begun commands have begun, $(grep -c ^done "$journal") have come to their end."
awk '$1 == "done" { print $2 }' "$journal" | sort -u | cmp - "$scratch/all" ||
    fail "there are jobs that are not done"
LC_ALL=C awk '
    $1 == "begin" { last[$2] = $3 }
    $1 == "done" && last[$2] != $3 { print $2 ": " $3 " and " last[$2] " at a time"; bad = 1 }
    END { exit bad }' "$journal" || fail "two commands have worked on a job at a time"
passed "200 jobs are done, though $workers workers and $commands commands were killed;" \
    "$((begun - 200)) attempts more than jobs, and none beside another one of the same job"
