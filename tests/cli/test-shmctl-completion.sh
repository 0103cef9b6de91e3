#!/bin/bash
# What bash offers when tab is pressed in a shmctl command.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
. "$SHMKIT_SRCDIR/tools/completion/shmctl"

# The words that are offered after these; the last one is being typed.
offers() {
    COMP_WORDS=(shmctl "$@")
    COMP_CWORD=$#
    _shmctl
    printf '%s\n' "${COMPREPLY[@]}" | sort >"$out"
}

is_offered() {
    offers "${@:2}"
    grep -qx -- "$1" "$out" || fail "'$1' is not offered after '${*:2}': $(cat "$out")"
}

are() {
    local wanted=$1
    shift
    offers "$@"
    test "$(tr '\n' ' ' <"$out")" = "$wanted " || fail "after '$*' are offered: $(cat "$out")"
}

for verb in $(shmctl --help | sed -n 's/^  \([a-z]\+\) .*/\1/p'); do
    is_offered "$verb" ''
    is_offered "$verb" help ''
    for option in $(shmctl "$verb" --help | grep -o '^  \(-., \|    \)--[a-z-]*' |
        grep -o -- '--.*'); do
        is_offered "$option" "$verb" --
    done
    for option in $(shmctl "$verb" --help |
        sed -n 's/^  \(-., \|    \)\(--[a-z-]*\) [A-Z].*/\2/p'); do
        _shmctl_takes_argument "$option" ||
            fail "the completion does not know that $option takes an argument"
    done
done
are 'show shutdown' sh
are '--item-size' create queue x/y --it
are '' nonsense --verb
claim 'verbs and options are offered, as --help tells them'

exits 0 shmctl create queue "$segment/jobs" --capacity 1
exits 0 shmctl create queue "$segment/jokes" --capacity 1
exits 0 shmctl create event "$segment/go"
exits 0 shmctl create lock "$segment/till"
exits 0 shmctl create cond "$segment/changed"
exits 0 shmctl create cond "$segment/存款"
exits 0 shmctl create cond "$segment/a b"
are "$segment" ls "$segment"
are "$segment" ps --json "$segment"
are "$segment/" put "$segment"
are "$segment/jobs $segment/jokes" put "$segment/"
are "$segment/jokes" get --nowait "$segment/jok"
are "$segment/jobs" put -t 2 "$segment/job"
are '' put "$segment/jobs" "$segment"
are "$segment/go" event set "$segment/"
are 'clear' event c
exits 0 shmctl create stream "$segment/signal"
echo >"$scratch/file"
are "$segment/signal" stream record "$segment/"
are "$scratch/file" stream record "$segment/signal" "$scratch/fi"
are "$scratch/file" stream replay --speed 2 "$scratch/fi"
are "$segment/signal" stream replay "$scratch/file" "$segment/"
are "$segment/changed $segment/till $segment/存款" lock "$segment/"
are "$segment/存款" notify "$segment/存"
are "$segment $segment/" rm "$segment"
are "$segment/till" show "$segment/t"
are 'queue' create q
are 'robust' create cond --kind r
are '' get "$segment/jobs" --timeout ''
is_offered sleep lock "$segment/till" -- slee
is_offered sleep lock "$segment/till" slee
is_offered sleep lock -t 1 "$segment/till" --nowait slee
is_offered --nowait lock "$segment/till" --now
is_offered sleep work "$segment/jobs" -- slee
is_offered sleep work --failed "$segment/jokes" "$segment/jobs" slee
are "$segment/jobs $segment/jokes" work --failed "$segment/"
are '' lock "$segment/till" echo --now
are "$segment/jobs $segment/jokes" work "$segment/"
are 'work worker' demo w
are '--name' --na
are '' --name ''
are 'show shutdown' --name 夜班 sh
are "$segment/go" --name 夜班 event set "$segment/"
claim 'segments, and objects of the right kind, are offered'
