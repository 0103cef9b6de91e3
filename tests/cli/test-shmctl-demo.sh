#!/bin/bash
# shmctl demo: what it lists and how it starts it.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"

exits 0 shmctl demo
for name in account account-event queue list event plot producer consumer depositor drawer worker sampler plotter; do
    grep -Eq "^$name +[a-z]" "$out" || fail "shmctl demo does not list $name: $(cat "$out")"
done
exits 2 shmctl demo nonsense
complains '^shmctl: nonsense: '
grep -q '^account ' "$err" || fail 'what there is is not listed'
exits 2 shmctl demo ../producer
exits 0 shmctl demo producer --version
claim 'shmctl demo lists the programs and scenes, and runs them'

export SHMKIT_DEMOS=$scratch/demos
mkdir "$SHMKIT_DEMOS"
cat >"$SHMKIT_DEMOS/scene-event.sh" <<'END'
#!/bin/sh
echo "$SHMCTL"
printf '%s\n' "$@"
exit 9
END
exits 1 shmctl demo event
complains "^shmctl: $SHMKIT_DEMOS/scene-event.sh: "
chmod +x "$SHMKIT_DEMOS/scene-event.sh"
exits 0 shmctl demo
test "$(sed 's/ .*//' "$out")" = event || fail "it lists what is not there: $(cat "$out")"
exits 9 shmctl demo event --name 'a b' -x ''
sed 1d "$out" | diff - <(printf '%s\n' --name 'a b' -x '') || fail 'the arguments are not what they were'
test -x "$(head -n 1 "$out")" || fail "SHMCTL=$(head -n 1 "$out")"
exits 1 shmctl demo worker
complains "^shmctl: $SHMKIT_DEMOS/worker: "
claim "its arguments and its exit status are the program's own, and the program knows this shmctl"
