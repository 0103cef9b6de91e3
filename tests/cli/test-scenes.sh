#!/bin/bash
# Every scene passes its own check when it is started as a person would, and leaves nothing behind,
# also when interrupted.
set -u
scratch=$(mktemp -d) || exit 1
output=$(mktemp) || exit 1
trap 'rm -rf "$scratch" "$output"' EXIT
export TMPDIR=$scratch

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# Of a program that is killed, what it has started itself may live for a moment longer: the command
# of a worker, a server, libtool's scripts in the build tree.
await_end_of_processes() {
    local deadline=$((SECONDS + 300))
    while grep -lsa "scene-[a-z-]*-$1/\|$scratch/" /proc/[0-9]*/cmdline; do
        test $SECONDS -lt $deadline || return 1
        sleep 0.05
    done
}

# No segment, no process, no file of scene $1, which ran as process $2.
left_nothing() {
    test -z "$(ls -d /dev/shm/scene-*-"$2" 2>/dev/null)" || fail "$1 left its segment"
    await_end_of_processes "$2" || fail "$1 left a process"
    test -z "$(ls "$scratch")" || fail "$1 left files: $(ls "$scratch")"
}

# In the end of scene $1, of process $2, shmctl why says what is in expected/; in which order the
# depositors came is chance.
ends_waiting() {
    sed -E -n "s/scene-$1-$2/SEGMENT/; s/\([0-9]+\)/(PID)/; s/ for [0-9.]+(ms|s)\$/ for TIME/
        /^waiting:/,/^  /p" "$output" |
        LC_ALL=C sort | diff "$SHMKIT_SRCDIR/tests/cli/expected/scene-$1.txt" - ||
        fail "the end of $1 is not as in expected/scene-$1.txt"
}

scenes='account account-event queue list pipeline work event rwlock python plot'
if ! command -v gnuplot >/dev/null; then
    echo 'SKIPPED test-scenes.sh: the scene plot: there is no gnuplot' | tee /dev/fd/9 2>/dev/null
    scenes=${scenes% plot}
fi
if command -v etcd >/dev/null && test -e "$SHMKIT_TESTDIR/../libshmkit-etcd.la"; then
    scenes+=' cluster'
    without=$(mktemp -d) # programs, of which etcd is none
    for program in sh dirname basename sed mktemp rm cat kill sleep; do
        ln -s "$(type -P $program)" "$without/$program"
    done
    PATH=$without "$without/sh" "$SHMKIT_DEMOS/scene-cluster.sh" 2>&1 |
        grep -q "there is no etcd here: './bootstrap cluster' installs it" ||
        fail 'the scene cluster does not say what it lacks'
    rm -rf "$without"
else
    echo 'SKIPPED test-scenes.sh: the scene cluster: there is no etcd' | tee /dev/fd/9 2>/dev/null
fi
$PYTHON -c 'import shmkit' 2>/dev/null ||
    echo 'SKIPPED test-scenes.sh: the scene python: the module for Python is not there' |
    tee /dev/fd/9 2>/dev/null

for name in $scenes; do
    echo "==== shmctl demo $name"
    shmctl demo $name </dev/null >"$output" &
    wait $!
    status=$?
    cat "$output"
    test $status = 0 || fail "shmctl demo $name exits with $status"
    left_nothing $name $!
    case $name in account*) ends_waiting $name $! ;; esac

    echo "==== shmctl demo $name, of which no more than a line is read"
    shmctl demo $name </dev/null > >(head -n 1 >/dev/null) 2>/dev/null &
    wait $!
    left_nothing $name $!

    echo "==== shmctl demo $name, interrupted"
    for delay in 0.05 0.2 0.8; do
        shmctl demo $name </dev/null >/dev/null 2>&1 &
        sleep $delay
        kill -TERM $! 2>/dev/null
        wait $!
        left_nothing $name $!
    done
done

# A scene that is interrupted at the keyboard dies of the signal: a shell that runs one after the
# other, as make demo does, ends, too.
if script -qec true /dev/null </dev/null >/dev/null 2>&1; then
    mkfifo "$scratch.keys"
    timeout 600 script -qec "bash -c 'shmctl demo queue </dev/null; echo the next scene'" \
        /dev/null <"$scratch.keys" >"$output" &
    terminal=$!
    exec 8>"$scratch.keys"
    rm -f "$scratch.keys"
    for ((i = 0; i < 6000; i++)); do
        grep -q 1111111111 "$output" && break
        sleep 0.05
    done
    printf '\003' >&8
    wait $terminal
    status=$?
    exec 8>&-
    cat "$output"
    test $status = 130 || fail "after Ctrl-C the shell ends with $status"
    ! grep -q 'the next scene' "$output" || fail 'the shell goes on with the next scene'
    test -z "$(ls "$scratch")" || fail "files are left: $(ls "$scratch")"
fi
echo 'all scenes pass, and leave nothing behind'
