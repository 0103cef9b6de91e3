#!/bin/bash
# shmctl demo: what it lists and how it starts it.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"

exits 0 shmctl demo
for name in account account-event queue list event plot producer consumer depositor drawer worker \
    sampler plotter; do
    grep -Eq "^$name +[a-z]" "$out" || fail "shmctl demo does not list $name: $(cat "$out")"
done
exits 2 shmctl demo nonsense
complains '^shmctl: nonsense: '
grep -q '^account ' "$err" || fail 'what there is is not listed'
exits 2 shmctl demo ../producer
exits 0 shmctl demo producer --version
claim 'shmctl demo lists the programs and scenes, and runs them'


for scene in account account-event queue list event plot; do
    exits 0 shmctl demo $scene --help
    grep -q "^Usage: shmctl demo $scene" "$out" && test "$(wc -l <"$out")" -gt 4 ||
        fail "demo $scene --help prints $(cat "$out")"
    test ! -s "$err" || fail "demo $scene --help complains: $(cat "$err")"
    exits 0 shmctl demo $scene -h
done
exits 2 shmctl demo queue nonsense
complains '^scene-queue: it takes no arguments: nonsense$'
exits 2 shmctl demo account nonsense
claim 'a scene that is asked for help prints its own'

export SHMKIT_DEMOS=$scratch/demos
exits 4 shmctl demo
complains "^shmctl: $SHMKIT_DEMOS: none of the demos is here"
mkdir "$SHMKIT_DEMOS"
exits 4 shmctl demo
exits 2 shmctl demo nonsense
complains "^shmctl: $SHMKIT_DEMOS: none of the demos is here"
cat >"$SHMKIT_DEMOS/scene-event.sh" <<'END'
#!/bin/sh
echo "$SHMCTL"
printf '%s\n' "$@"
exit 9
END
exits 1 shmctl demo event
complains "^shmctl: $SHMKIT_DEMOS/scene-event.sh: Permission denied"
chmod +x "$SHMKIT_DEMOS/scene-event.sh"
exits 1 shmctl demo event
complains "^shmctl: $SHMKIT_DEMOS/scene.sh: No such file"
echo : >"$SHMKIT_DEMOS/scene.sh"
exits 1 shmctl demo event
complains "^shmctl: $SHMKIT_DEMOS/worker: No such file"
mkdir "$SHMKIT_DEMOS/producer" # is no program, though it has the mode of one
exits 4 shmctl demo
exits 1 shmctl demo producer
complains "^shmctl: $SHMKIT_DEMOS/producer: Permission denied"
claim 'a scene that lacks one of its programs is not there, and says which'

cp "$(type -P true)" "$SHMKIT_DEMOS/worker"
exits 0 shmctl demo
test "$(sed 's/ .*//' "$out" | tr '\n' ' ')" = 'event worker ' ||
    fail "it lists what is not there: $(cat "$out")"
exits 9 shmctl demo event --name 'a b' -x ''
sed 1d "$out" | diff - <(printf '%s\n' --name 'a b' -x '') ||
    fail 'the arguments are not what they were'
test -x "$(head -n 1 "$out")" || fail "SHMCTL=$(head -n 1 "$out")"
exits 0 shmctl demo worker
claim "its arguments and its exit status are the program's own, and the program knows this shmctl"
