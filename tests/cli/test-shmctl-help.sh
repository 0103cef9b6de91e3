#!/bin/bash
# shmctl's help, its usage errors, and that the man page tells all of it.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
page=$scratch/page
sed 's/\\-/-/g; s/\\f.//g' "$SHMKIT_SRCDIR/tools/shmctl.1" >"$page"

exits 0 shmctl --help
verbs=$(sed -n 's/^  \([a-z]\+\) .*/\1/p' "$out")
test "$(echo $verbs | wc -w)" -ge 11 || fail "few verbs: $verbs"
awk 'length > 80 { print "too wide: " $0; exit 1 }' "$out" || exit 1
cp "$out" "$scratch/help"
for way in -h help; do
    exits 0 shmctl $way
    cmp "$out" "$scratch/help" || fail "shmctl $way prints something else than --help"
done
claim 'shmctl --help lists the verbs'

# section WORD...: those sections of the man page whose first word is one of these.
section() {
    awk -v words=" $* " '/^\.S[SH] / { on = index(words, " " $2 " ") } on' "$page"
}

awk '/^\.SS / { print $2 }' "$page" | sort -u >"$scratch/paged"
printf '%s\n' $verbs | sort | diff - "$scratch/paged" ||
    fail 'shmctl(1) has other verbs (>) than shmctl --help (<)'
claim 'the verbs of the man page are those of shmctl'

for verb in $verbs; do
    exits 0 shmctl help "$verb"
    cp "$out" "$scratch/help"
    exits 0 shmctl "$verb" --help
    cmp "$out" "$scratch/help" || fail "shmctl help $verb and shmctl $verb --help differ"
    exits 0 shmctl "$verb" -h
    head -n 1 "$out" | grep -q "^Usage: shmctl $verb" ||
        fail "$verb --help begins with $(head -n 1 "$out")"
    awk 'length > 80 { print "too wide: " $0; exit 1 }' "$out" || exit 1

    # The options of many verbs are in sections of their own: TABLE OPTIONS, OTHER OPTIONS.
    for option in $(grep -o '^  \(-., \|    \)--[a-z-]*' "$out" | grep -o -- '--.*'); do
        test $option = --help || section "$verb" TABLE OTHER | grep -q -e "$option\([^a-z-]\|$\)" ||
            fail "shmctl(1) does not tell about $option of $verb"
    done
    for option in $(section "$verb" | grep -o -- '--[a-z][a-z-]*' | sort -u); do
        grep -q -- "$option" "$out" || fail "shmctl(1) invents $option of $verb"
    done

    exits 2 shmctl "$verb" --nonsense
    complains "^shmctl: .*nonsense"
    complains "^Try 'shmctl $verb --help'\.$"
done
claim 'every verb and option is in its --help and in the man page, and nothing else is'

exits 0 shmctl --version
grep -Eqx 'shmctl \(shmkit\) [0-9.]+' "$out" || fail "--version prints $(cat "$out")"
exits 2 shmctl
complains '^shmctl: missing verb; usage: shmctl VERB '
complains "^Try 'shmctl --help'\.$"
exits 2 shmctl nonsense
complains "^shmctl: unknown verb 'nonsense'$"
complains "^Try 'shmctl --help'\.$"
exits 2 shmctl help nonsense
complains "^shmctl: unknown verb 'nonsense'$"
exits 2 shmctl --nonsense ls
complains "unknown option '--nonsense' before the verb"
claim 'an unknown verb is a usage error, with a hint'

for path in '' / bank/ /bank/ //x "$(printf '%0201d' 0)" "bank/$(printf '%064d' 0)"; do
    exits 2 shmctl show "$path"
    complains '^shmctl: '
done
for verb in put get shutdown; do
    exits 2 shmctl $verb
    complains "^shmctl: missing operand; usage: shmctl $verb \[OPTION...\] QUEUE"
    exits 2 shmctl $verb bank item
    complains "^shmctl: "
done
exits 2 shmctl get bank/jobs item
complains '^shmctl: too many operands; usage: shmctl get '
exits 2 shmctl put bank item
complains "'bank' is a segment, not an object: SEGMENT/OBJECT"
exits 2 shmctl put bank/jobs
exits 2 shmctl put bank/jobs --stdin item
exits 2 shmctl ls bank/jobs
complains "'bank/jobs' is an object"
exits 2 shmctl ls one two
exits 2 shmctl ps bank/jobs
exits 2 shmctl show
exits 2 shmctl rm
exits 2 shmctl lock bank/till
exits 2 shmctl event set
exits 2 shmctl event jump bank/go
complains "unknown action 'jump'; known: set, clear, wait, is-set$"
exits 2 shmctl event set bank/go --timeout 1
complains "are for 'event wait'"
for time in '' x 1x 1.2.3s 1e400 9999999999999 nan; do
    exits 2 shmctl get bank/jobs "--timeout=$time"
    complains "time '$time'"
done
for number in '' x -1 +1 1.5 99999999999999999999; do
    exits 2 shmctl get bank/jobs "--count=$number"
    complains "number '$number'"
done
for size in '' x -1 1x 1e30; do
    exits 2 shmctl create region bank/x "--size=$size"
    complains "size '$size'"
done
claim 'operands, times, numbers and sizes are checked before anything is touched'

exits 1 bash -c 'shmctl --help >/dev/full'
complains '^shmctl: standard output: '
claim 'output that cannot be written is an error'
