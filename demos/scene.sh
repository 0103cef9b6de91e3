# shellcheck shell=sh
# What the scenes share; each begins with ". scene.sh". However a scene ends, its processes and its
# segment go away. The programs are looked for in $SHMKIT_DEMOS, else beside the scenes; shmctl is
# $SHMCTL, else the one in PATH.

# A scene's arguments are in $arguments, "" for none; its comment at the top is its help.
help() {
    echo "Usage: shmctl demo ${scene#scene-}${arguments:+ $arguments}"
    echo
    sed -n '2,/^[^#]/s/^# //p' "$0"
    echo
    echo 'What a scene makes is removed at its end. Exit status: 0 if all came out as it should.'
    exit 0
}

here=$(cd "$(dirname "$0")" && pwd)
scene=$(basename "$0" .sh)
PATH=${SHMKIT_DEMOS:-$here}:${SHMCTL:+$(dirname "$SHMCTL"):}$PATH
segment=$scene-$$
scratch=
for argument in "$@"; do
    case $argument in -h | --help) help ;; esac
done
if test $# -gt 0 && test -z "$arguments"; then
    echo "$scene: it takes no arguments: $*" >&2
    exit 2
fi

clean_up() {
    status=$?
    trap '' HUP INT PIPE TERM
    trap - EXIT
    if test -n "$scratch"; then
        jobs -p >"$scratch/jobs"
        kill -KILL $(cat "$scratch/jobs") 2>/dev/null
        wait 2>/dev/null
        shmctl rm "$segment" 2>/dev/null
        # What the jobs had started may still write there, until it finds its segment gone.
        tries=0
        until rm -rf "$scratch" 2>/dev/null || test $((tries += 1)) -gt 50; do
            sleep 0.1
        done
    fi
    trap - HUP INT PIPE TERM
    test -z "$ended_by" || kill -s "$ended_by" $$
    exit "$status"
}

# A signal ends the scene, which then dies of it: a shell that runs one scene after the other would
# go on after an exit.
ended_by=
end_by() {
    ended_by=$1
    exit 1
}
trap clean_up EXIT
for signal in HUP INT PIPE TERM; do
    # shellcheck disable=SC2064 # the signal of now
    trap "end_by $signal" $signal
done
scratch=$(mktemp -d "${TMPDIR:-/tmp}/$scene.XXXXXX") || exit 1

# note LINE...
note() {
    echo
    printf '# %s\n' "$@"
}

# What a person would type for this command: the programs are not in PATH.
typed() {
    case $1 in
    shmctl) echo "\$ $*" ;;
    *) echo "\$ shmctl demo $*" ;;
    esac
}

# Type a command that a person would type, and run it.
type_in() {
    typed "$@"
    "$@"
}

fail() {
    echo "$scene: FAILED: $*" >&2
    exit 1
}

# passed LINE...
passed() {
    printf '\n%s: passed\n' "$scene"
    printf '  %s\n' "$@"
}

# Run a command again and again until it succeeds, for two minutes at most.
await() {
    tries=1200
    until "$@"; do
        tries=$((tries - 1))
        test $tries -gt 0 || fail "waited in vain for: $*"
        sleep 0.1
    done
}

# asleep N WHY: do so many members wait, as WHY ("notify account.changed") says it?
asleep() {
    test "$(shmctl ps --raw --noheadings -o WAITS "$segment" 2>/dev/null |
        grep -cx "${2% *}.*${2#* }")" = "$1"
}

# printed N FILE: have so many lines been printed?
printed() {
    test "$(wc -l <"$2")" = "$1"
}

ended() {
    ! kill -0 "$1" 2>/dev/null
}

# Wait for a background process, and return its exit code.
join() {
    await ended "$1"
    wait "$1"
}
