# shellcheck shell=bash
# What the tests of shmctl share; each begins with ". shmctl.sh". However a test ends, its processes
# and segments go away. The test's segment is $segment; others that it makes begin with that name.

set -u
. "$SHMKIT_SRCDIR/tests/processes.sh"
unset LANG LANGUAGE "${!LC_@}" # names are UTF-8 all the same
segment=$(basename "$0" .sh)-$$
script=$(basename "$0") # what shmctl's members are called
scratch=$(mktemp -d) || exit 1
out=$scratch/out
err=$scratch/err

clean_up() {
    local status=$?
    trap '' HUP INT TERM
    trap - EXIT
    jobs -p >"$scratch/jobs"
    # the shell's: kill(1) is not everywhere
    test ! -s "$scratch/jobs" || kill -KILL $(cat "$scratch/jobs") 2>/dev/null
    wait 2>/dev/null
    rm -f "/dev/shm/$segment"*
    rm -rf "$scratch"
    exit $status
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

fail() {
    echo "FAILED (line ${BASH_LINENO[*]}): $*" >&2
    exit 1
}

claim() {
    echo "ok: $*"
}

# Run a command, with its input from $input and its output to $out and $err: it must end with that
# exit status.
input=/dev/null
exits() {
    local wanted=$1 status
    shift
    timeout 300 "$@" <"$input" >"$out" 2>"$err"
    status=$?
    test $status = "$wanted" || fail "'$*' exits with $status, not $wanted: $(cat "$out" "$err")"
}

# The last command printed exactly these lines, and complained about nothing.
prints() {
    printf '%s\n' "$@" | diff - "$out" || fail "not what should be printed"
    test ! -s "$err" || fail "it complains: $(cat "$err")"
}

prints_nothing() {
    test ! -s "$out" || fail "it prints: $(cat "$out")"
    test ! -s "$err" || fail "it complains: $(cat "$err")"
}

# The last command's complaint matches, and it printed nothing.
complains() {
    grep -q -- "$1" "$err" || fail "'$(cat "$err")' does not say '$1'"
    test ! -s "$out" || fail "it prints: $(cat "$out")"
}

# What the last command printed is as in expected/NAME, but for what differs from run to run:
# process ids, times, memory in use, how wide a column is. With UPDATE_EXPECTED=1 in the environment
# that file is made anew, to be read with git diff.
as_expected() {
    sed -E "s/$segment/SEGMENT/g
        s/[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9:]{8}([+-][0-9]{4})?/DATE/g
        s/\"(pid|tid|creator|id|inode|namespace)\": [0-9]+/\"\\1\": N/
        s/\"(age|for|held|resident|size)\": [0-9.]+/\"\\1\": N/
        s/^(Creator|Inode|Namespace) +[0-9]+/\\1 N/
        s/^(Resident|Size|Age|Held) .*/\\1 N/
        s/^(Owner|Group) .*/\\1 NAME/; s/\"(owner|group)\": \"[^\"]*\"/\"\\1\": \"NAME\"/
        s/\"id\": \"[0-9a-f]{16}\"/\"id\": \"HEX\"/
        s/^Id +[0-9a-f]{16}/Id HEX/
        s/\\([0-9]+\\)/(PID)/g
        s/ for [0-9.]+(ms|s|m[0-9]+s)/ for TIME/g
        s/ +$//; s/([^ ])  +/\\1 /g" "$out" >"$scratch/normal"
    test ! -s "$err" || fail "it complains: $(cat "$err")"
    test -z "${UPDATE_EXPECTED-}" || cp "$scratch/normal" "$SHMKIT_SRCDIR/tests/cli/expected/$1"
    diff "$SHMKIT_SRCDIR/tests/cli/expected/$1" "$scratch/normal" || fail "not as in expected/$1"
}

# Run a command again and again until it succeeds, for a minute at most.
await() {
    local deadline=$((SECONDS + 300))
    until "$@"; do
        test $SECONDS -lt $deadline || fail "waited in vain for: $*"
        sleep 0.02
    done
}

# Does a member wait, so that WAITS in shmctl ps says it?
waits() {
    shmctl ps -n -r -o WAITS "$segment" 2>/dev/null | grep -qx -- "${1// /\\\\x20}"
}

# Does this process catch SIGINT? A shell that libtool has put before it does, too, and goes on.
catches_interrupts() {
    [[ $(readlink "/proc/$1/exe") != */*sh ]] &&
        grep -q '^SigCgt:.*[2367abef]$' "/proc/$1/status"
}

# "shmctl watch", which waits for its first display, is ended by Ctrl-C, and has printed nothing.
ends_a_watch_at_interrupt() { # SEGMENT
    env --default-signal shmctl watch "$1" --batch -i 1h >"$scratch/watched" 2>&1 &
    local watcher=$!
    await catches_interrupts $watcher
    kill -INT $watcher
    ends 130 $watcher
    test ! -s "$scratch/watched" || fail "it prints $(cat "$scratch/watched")"
}

is_over() {
    ! kill -0 "$1" 2>/dev/null
}

# A background process has ended, with that exit status.
ends() {
    local status
    await is_over "$2"
    wait "$2"
    status=$?
    test $status = "$1" || fail "process $2 exits with $status, not $1"
}

not() {
    ! "$@"
}

# Give a command a terminal that is so wide.
on_terminal() {
    local columns=$1
    shift
    script -qec "stty cols $columns rows 24; $*" /dev/null </dev/null | tr -d '\r'
}
