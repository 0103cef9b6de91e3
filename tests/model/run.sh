#!/bin/bash
# The models hold, in every state that they can get into; and each of them fails when a fence, a
# check or a repair is taken out of it. With MODEL_EVERY=N in the environment one in N of those with
# millions of states is checked, others in each run.
set -u
skip() {
    echo "SKIPPED: $1"
    test -z "${TEST_CONSOLE-}" || echo "SKIPPED tests/model: $1" >&"$TEST_CONSOLE"
    exit 77
}
read -ra cc <<<"${CC:-cc}"
read -ra spin <<<"${SPIN:-spin}"
command -v "${spin[0]}" >/dev/null ||
    skip "there is no spin, so the models were not checked (Debian package: spin)"
command -v "${cc[0]}" >/dev/null || skip "there is no C compiler, so the models were not checked"

# A model with fewer than two million states takes longer to compile with a compiler that optimises
# than it runs; tcc compiles it at once.
quick=("${cc[@]}" -O0)
! command -v tcc >/dev/null || quick=(tcc)
every=${MODEL_EVERY:-1}
turn=$((EPOCHSECONDS / 1000))

models=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0

# Check model $1 with the switches that follow, compiled by `compiler`; what was said is in `out`
# then.
check() {
    local model=$1
    shift
    rm -rf ./*
    # -E: the models say themselves what may be the end.
    "${spin[@]}" -a "$@" "$models/$model.pml" >out 2>&1 &&
        "${compiler[@]}" -w -DSAFETY -DMEMLIM=2000 -o pan pan.c >>out 2>&1 &&
        ./pan -E -n -m100000 >out 2>&1
}

holds() {
    local compiler=("${quick[@]}")
    must_hold "$@"
}

# With more than two million states.
holds_large() {
    local compiler=("${cc[@]}" -O2 -DCOLLAPSE)
    if ((turn++ % every == 0)); then
        must_hold "$@"
    else
        printf '%-5s is left to another run (MODEL_EVERY=%d)%s\n' "$1" "$every" "${2:+: ${*:2}}"
    fi
}

must_hold() {
    local states
    check "$@"
    states=$(awk '/states, stored/ { print $1 }' out)
    if ! grep -q 'errors: 0$' out || test -z "$states" ||
        grep -qE 'not completed|too small|out of memory|aborted|error:' out; then
        cat out
        echo "FAILED: $*"
        failed=1
    else
        printf '%-5s holds in all of %7d states%s\n' "$1" "$states" "${2:+: ${*:2}}"
    fi
}

fails() { # MODEL WHAT-IS-OFF SWITCH...
    local compiler=("${quick[@]}")
    check "$1" "-D$2" "${@:3}" # found soon
    if grep -q 'assertion violated' out && grep -q 'errors: 1$' out; then
        printf '%-5s fails, as it must, with %s%s\n' "$1" "$2" "${3:+: ${*:3}}"
    else
        cat out
        echo "FAILED: $1 holds with $2"
        failed=1
    fi
}

# Without deaths no waiter needs the recheck.
holds eventcount
holds eventcount -DDEADLINES=1 -DPUTS=1
holds_large eventcount -DPUTTERS=2 -DPUTS=1
holds_large eventcount -DSHUTDOWN -DPUTS=1
holds eventcount -DSYMMETRIC
fails eventcount NO_EC1_HEAVY
fails eventcount NO_EC1_NOTIFIER
fails eventcount NO_EC1_NOTIFIER -DSYMMETRIC
fails eventcount NO_CHECK
fails eventcount NO_CASCADE
fails eventcount NO_EC2_RELEASE
fails eventcount USED_UP_UNSEEN
# A shutdown that a reopen follows at once is told to all that waited when it came.
holds eventcount -DSHUTDOWN -DREOPEN -DWAITERS_FIRST -DPUTTERS=0
holds eventcount -DSHUTDOWN -DREOPEN -DRECHECK -DPUTTERS=0
fails eventcount NO_COUNT -DSHUTDOWN -DREOPEN -DRECHECK -DPUTTERS=0
fails eventcount COUNT_LATE -DSHUTDOWN -DREOPEN -DWAITERS_FIRST -DPUTTERS=0
fails eventcount NO_POST_ALL -DSHUTDOWN -DREOPEN -DWAITERS_FIRST -DPUTTERS=0
# With deaths, all others go on.
holds_large eventcount -DCRASHES=1
holds_large eventcount -DCRASHES=1 -DGETTERS=1 -DGETS=2 -DPUTTERS=2 -DPUTS=1
fails eventcount NO_RECHECK -DCRASHES=1
fails eventcount NOT_ROBUST -DCRASHES=1

holds cond -DDEADLINES=1
holds cond -DCRASHES=1
holds_large cond -DCRASHES=1 -DDEADLINES=1 -DNOTIFIES=1
holds_large cond -DWAITERS=3 -DCRASHES=2 -DNOTIFIES=1 -DONE_BY_ONE -DAT_ONCE
# A waiter reads in its own node what it was released for.
holds cond -DVERDICTS -DDEADLINES=1
holds cond -DVERDICTS -DCRASHES=1 -DNOTIFIES=1
fails cond VERDICT_LATE -DVERDICTS
fails cond NO_RECHECK -DCRASHES=1
fails cond NO_REBUILD -DCRASHES=1
fails cond NO_FORWARD -DCRASHES=1
fails cond RESUME_EARLY -DCRASHES=1
fails cond COUNT_EARLY -DCRASHES=1
fails cond NO_NOTIFY_BOUND -DWAITERS=3 -DCRASHES=2 -DNOTIFIES=1 -DONE_BY_ONE -DAT_ONCE

holds event -DDEADLINES=1
holds event -DSETTERS=2
holds event -DCRASHES=1 -DDEADLINES=1
holds event -DSETTERS=2 -DSETS=1 -DCRASHES=1
holds event -DUNLINK
holds event -DUNLINK -DSETS=1 -DCRASHES=1
fails event UNLINK_COUNTS -DUNLINK
fails event NO_NUMBER
fails event NO_COMPARISON
fails event MARK_APART
fails event NO_BACKSTOP -DCRASHES=1

holds stream
holds stream -DCRASHES=1 -DAPPENDS=1
for taken_out in NO_ST1_FENCE NO_ST2_RELEASE NO_ST2_ACQUIRE NO_ST3 NO_RECHECK NO_ST4 NO_ST5; do
    fails stream $taken_out
done
fails stream NO_BACKSTOP -DCRASHES=1 -DAPPENDS=1

# A mark that a waker has taken down is answered, also where another one has the line.
holds_large poll
holds poll -DWAKERS=1 -DCRASHES=1
for taken_out in NO_PW6 NO_ANSWER ASK_LATE MARK_LATE; do
    fails poll $taken_out
done
fails poll NO_BACKSTOP -DWAKERS=1 -DCRASHES=1

holds biased
holds biased -DCRASHES=1
holds biased -DMEMBERS=3 -DVISITS=1
holds biased -DMEMBERS=3 -DVISITS=1 -DCRASHES=1
for taken_out in NO_SECOND_CHECK NO_BL1_HEAVY NO_BL2_WAIT; do
    fails biased $taken_out
done
fails biased NO_BL3_REVOKING -DMEMBERS=3 -DCRASHES=1
fails biased NO_ME2_ID_FIRST -DCRASHES=1

holds rwlock
holds rwlock -DCRASHES=1
holds rwlock -DWRITERS=2 -DREADERS=1 -DTAKE_BACK
holds rwlock -DWRITERS=2 -DREADERS=1 -DCRASHES=1
for taken_out in NO_RW1_HEAVY TELL_EARLY SAY_LATE; do
    fails rwlock $taken_out
done
fails rwlock NO_RW1_FENCE -DVISITS=2
fails rwlock WAITERS_DO_NOT_COUNT -DVISITS=2
fails rwlock BIAS_ENDS_EARLY -DWRITERS=2 -DREADERS=1 -DCRASHES=1
fails rwlock NO_RW3_FENCE -DWRITERS=2 -DREADERS=1
fails rwlock ENTER_UNASKED -DTAKE_BACK -DWRITERS=2
for taken_out in NO_KERNEL NO_PASSING_ON ORPHANED_LATE; do
    fails rwlock $taken_out -DCRASHES=1
done

holds queue
holds queue -DPRODUCERS=2
for taken_out in NO_BL4 NO_BL1 NO_SD2; do
    fails queue $taken_out
done

# Bytes that are read without the lock go with the count that was read; the limit is for all alike.
holds place
holds place -DPUTS=1 -DGETS=1 -DCRASHES=1
for taken_out in NO_BY1_RELEASE NO_BY1_ACQUIRE NO_SECOND_READ NO_CH2_RELEASE; do
    fails place $taken_out
done
fails place FITS -DLIMIT=3 -DGETS=1
for taken_out in ONE_PLACE COMMIT_FIRST; do
    fails place $taken_out -DPUTS=1 -DGETS=1 -DCRASHES=1
done

# Permits of the dead come back, once.
holds semaphore -DROUNDS=2
holds semaphore -DMEMBERS=2 -DCRASHES=1
holds semaphore -DCRASHES=1
holds semaphore -DCRASHES=2
fails semaphore NO_WITHHELD
for taken_out in ADD_BACK NO_RECOUNT NOT_DUE; do
    fails semaphore $taken_out -DCRASHES=1
done
# A permit that is promised to a waiter that does not run goes to another one, which came later.
holds semaphore -DSTOPS=2
holds semaphore -DSTOPS=1 -DCRASHES=1
for taken_out in NO_TAKE_BACK NO_SKIP NO_RECOVER UNSEEN NO_PROMISE; do
    fails semaphore $taken_out -DSTOPS=1
done

# A reader gets a version whole, or begins again, whatever has become of the writers.
holds value
holds value -DCRASHES=1
holds value -DREADERS=2 -DSETS=1 -DCRASHES=1
holds value -DWRITERS=2 -DSETS=1 -DCRASHES=1
holds value -DBUFFERS=4 -DSETS=5 -DCRASHES=1
for taken_out in NO_VA1_FENCE VERSION_LATE NO_VA2_RELEASE NO_VA2_ACQUIRE NO_VA3_FENCE \
    NO_SECOND_READ; do
    fails value $taken_out
done
fails value NO_LOCK -DSETS=3
fails value ONE_BUFFER -DCRASHES=1

# An item that is leased is done once, or comes back when its consumer dies.
holds_large lease
holds lease -DPUT_LATE -DROUNDS=1
holds lease -DCRASHES=1 -DROUNDS=1
holds lease -DCRASHES=2 -DROUNDS=1 -DITEMS=1
for taken_out in NO_LS2 NO_LS3 NO_SECOND_READ; do
    fails lease $taken_out
done
fails lease CLEARED_FOR_THE_LIVING -DPUT_LATE
for taken_out in FILLED_LATE NO_REPAIR NO_BEFORE NO_LS4 NO_CHECK_OF_BACK; do
    fails lease $taken_out -DCRASHES=1 -DROUNDS=1
done
fails lease NO_NUMBER -DCRASHES=1 -DROUNDS=1 -DCHECKERS=2 -DITEMS=1

# A line ends only without a producer, and tells of deaths.
holds roles
holds_large roles -DCRASHES=2
holds roles -DCHECKERS=2 -DCRASHES=1 -DROUNDS=1 -DCHECKS=1
fails roles RO1_FIRST
fails roles NO_OPENERS
fails roles DIED_LATE -DCRASHES=2

# On ARM loads overtake loads and stores, too: litmus tests of three protocols, order by order.
holds arm_biased
holds arm_biased -DSYMMETRIC
for taken_out in NO_SECOND_CHECK NO_BL1_HEAVY NO_BL2_RELEASE NO_BL2_ACQUIRE NO_BL2_WAIT; do
    fails arm_biased $taken_out
done
fails arm_biased NO_BL1_LIGHT -DSYMMETRIC
fails arm_biased NO_BL1_HEAVY -DSYMMETRIC

holds arm_eventcount
holds arm_eventcount -DSYMMETRIC
holds arm_eventcount -DWAITERS=2
holds arm_eventcount -DWAITERS=2 -DSYMMETRIC
for taken_out in NO_EC1_WAITER NO_EC1_NOTIFIER; do
    fails arm_eventcount $taken_out
    fails arm_eventcount $taken_out -DSYMMETRIC
done
fails arm_eventcount NO_EC1_HEAVY
fails arm_eventcount NO_EC2_RELEASE -DWAITERS=2
fails arm_eventcount NO_CASCADE -DWAITERS=2

holds arm_ring
for taken_out in NO_RQ1_RELEASE NO_RQ1_ACQUIRE NO_RQ2_RELEASE NO_RQ3_RELEASE NO_RQ3_ACQUIRE; do
    fails arm_ring $taken_out
done
holds arm_ring -DNO_RQ2_ACQUIRE # ARM keeps it by a branch, if the compiler has kept that
fails arm_ring NO_RQ2_ACQUIRE -DNO_BRANCH

holds waitlist_leave
fails waitlist_leave NO_WL4_FENCE
fails waitlist_leave NO_SECOND_READ

exit $failed
