#!/bin/bash
# Containers that share a queue, made with unshare(1) as an engine makes them: each has a mount and
# an ipc namespace of its own, a root that is read-only, and no /proc/sys; they share /dev/shm, of
# 64 MiB, as with --ipc=container:, and a pid namespace, as with --pid=container:. They run as user
# 65534 where the test runs as root. What is claimed here, shmkit-containers(7) says.
set -u
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"

skip() {
    echo "SKIPPED test-containers.sh: $*" | tee /dev/fd/9 2>/dev/null
    exit 77
}
for tool in unshare setpriv mount; do
    command -v $tool >/dev/null || skip "there is no $tool"
done
namespaces='--mount --pid --fork --kill-child --mount-proc'
test "$(id -u)" = 0 || namespaces="--user --map-root-user $namespaces"
# shellcheck disable=SC2086 # several words
unshare $namespaces mount -t tmpfs -o size=64m tmpfs /dev/shm 2>"$err" ||
    skip "no namespaces can be made here: $(cat "$err")"

# What runs in the outer namespaces. container NUMBER COMMAND...: the command in one of its own.
cat >"$scratch/pod" <<'POD'
set -u
mount -t tmpfs -o size=64m,mode=1777 tmpfs /dev/shm

cat >"$scratch/enter" <<'ENTER'
set -e
mount --make-rprivate /
test -z "$OWN_PIDS" || mount -t proc proc /proc
if test -z "$NO_PROC"; then
    mount -t tmpfs -o ro tmpfs /proc/sys
else
    mount -t tmpfs -o ro tmpfs /proc
fi
mount -o remount,bind,ro /
if test -e /proc/sys/kernel || touch /tried 2>/dev/null; then
    exit 99
fi
if test "$REAL_ROOT" = yes; then
    exec setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all \
        --no-new-privs "$@"
fi
exec setpriv --no-new-privs "$@"
ENTER
container() { # with OWN_PIDS=yes, a pid namespace of its own, too; with NO_PROC=yes, no /proc
    OWN_PIDS=${OWN_PIDS-} NO_PROC=${NO_PROC-} unshare --mount --ipc \
        ${OWN_PIDS:+--pid --fork --kill-child} sh "$scratch/enter" "$@"
}
claim() {
    echo "ok: $*"
}
fail() {
    echo "FAILED: $*" >&2
    exit 1
}
equal() { # WHAT FOUND WANTED
    test "$2" = "$3" || fail "$1: '$2', not '$3'"
}

container true || fail "a container cannot be made: $?"
test "$REAL_ROOT" = no || equal 'a container runs as' "$(container id -u)" 65534

# Two containers, a queue: one waits for items, the other puts, and is killed while it holds a lock.
container shmctl get --count 3 pod/jobs >"$scratch/got" 2>"$scratch/said" &
consumer=$!
for item in Swift Kotlin 存款者甲; do
    container shmctl put pod/jobs "$item" || fail "put $item"
done
wait $consumer || fail "the consumer: $(cat "$scratch/said")"
equal 'what came' "$(tr '\n' ' ' <"$scratch/got")" 'Swift Kotlin 存款者甲 '
claim 'two containers with one pid namespace and one /dev/shm share a queue'

container shmctl lock pod/till -- sleep 60 2>/dev/null &
until container shmctl ps -r -n -o HOLDS pod 2>/dev/null | grep -q till; do sleep 0.05; done
holder=$(container shmctl ps -r -n -o PID,HOLDS pod | sed -n 's/ till$//p')
kill -KILL "$holder"
equal 'the next holder' "$(container shmctl lock pod/till -- sh -c 'echo "$SHMKIT_ORPHANED"' \
    2>/dev/null)" 1
claim 'a container whose holder is killed leaves its lock to the next one, which is told'

# Without /proc.
NO_PROC=yes container sh -c 'test ! -e /proc/self' || fail 'there is a /proc'
NO_PROC=yes container shmctl put pod/jobs one || fail 'without /proc nothing can be put'
equal 'what came' "$(NO_PROC=yes container shmctl get pod/jobs)" one
NO_PROC=yes container shmctl lock pod/till -- sleep 60 2>/dev/null &
until container shmctl ps -r -n -o HOLDS pod 2>/dev/null | grep -q till; do sleep 0.05; done
kill -KILL "$(container shmctl ps -r -n -o PID,HOLDS pod | sed -n 's/ till$//p')"
equal 'the next holder without /proc' "$(NO_PROC=yes container shmctl lock pod/till -- \
    sh -c 'echo "$SHMKIT_ORPHANED"' 2>/dev/null)" 1
claim 'a container without /proc shares with one that has it, and learns of a death'

# Without membarrier(2).
status=0
container "$without" shmctl put pod/jobs one 2>"$scratch/said" || status=$?
if test $status = 125; then
    echo "skipped: without membarrier: $(cat "$scratch/said")"
elif container "$without" --allowed; then
    test $status != 0 || fail 'without membarrier(2) a process joins a segment that needs it'
    grep -q 'SHK_MEMBARRIER=0' "$scratch/said" ||
        fail "it is not told what helps: $(cat "$scratch/said")"
    claim 'a process that may not call membarrier(2) is told so, and what helps'
fi
if test $status != 125; then
    container "$without" shmctl put quiet/jobs one 2>"$scratch/said" ||
        fail "without membarrier(2) no segment can be created: $(cat "$scratch/said")"
    SHK_MEMBARRIER=0 container shmctl put plain/jobs one
    container "$without" shmctl put plain/jobs two || fail 'SHK_MEMBARRIER=0 does not help'
    equal 'items' "$(container "$without" shmctl get --count 2 plain/jobs | tr '\n' ' ')" 'one two '
    claim 'with SHK_MEMBARRIER=0 a container with membarrier(2) shares with one without'
fi

# A pid namespace of its own: refused, but for inspection, as long as a member uses the segment.
container shmctl get pod/none >"$scratch/none" 2>&1 &
until container shmctl ps -r -n -o WAITS pod | grep -q none; do sleep 0.05; done
OWN_PIDS=yes container shmctl put pod/jobs one 2>"$scratch/said" &&
    fail 'a member of another pid namespace is let in'
grep -q 'another pid namespace' "$scratch/said" || fail "it says: $(cat "$scratch/said")"
OWN_PIDS=yes container shmctl ls pod | grep -q jobs || fail 'it cannot be inspected'
OWN_PIDS=yes container shmctl doctor >"$scratch/doctor"
grep -A1 'segment pod: it is of another pid namespace' "$scratch/doctor" |
    grep -q -- '--pid=container:NAME' || fail "doctor says: $(cat "$scratch/doctor")"
claim 'a container with pids of its own is refused with a sentence, may inspect, and doctor knows'
kill -KILL "$(container shmctl ps -r -n -o PID,WAITS pod | sed -n 's/ .*none$//p')"
until test -z "$(container shmctl ps -r -n -o WAITS pod | grep none)"; do sleep 0.05; done
OWN_PIDS=yes container shmctl put pod/jobs one || fail 'what no member uses does not give way'
equal 'what there was in it' "$(container shmctl ls -r -n -o NAME pod | tr '\n' ' ')" 'jobs '
container shmctl put pod/jobs one || fail 'nor the other way round'
claim 'a segment of a pid namespace that has ended gives way'

# 64 MiB.
container shmctl create queue pod/large --item-size 1M || fail 'a queue of large items'
head -c 1000000 /dev/zero >"$scratch/item"
n=0
while container shmctl put --nowait --whole pod/large <"$scratch/item" 2>"$scratch/said"; do
    n=$((n + 1))
    test $n -lt 200 || fail '200 MB fit into 64 MiB'
done
grep -qi 'no space\|full\|ENOSPC' "$scratch/said" || fail "it says: $(cat "$scratch/said")"
claim 'a full /dev/shm is an error that says so'

container shmctl rm -f pod plain quiet >/dev/null 2>&1
equal 'left in /dev/shm' "$(ls -A /dev/shm)" ''
POD

real_root=no
test "$(id -u)" != 0 || real_root=yes
# Where user 65534 can read it.
chmod 755 "$scratch"
mkdir "$scratch/bin" "$scratch/lib"
for program in tools/shmctl tests/containers/without_membarrier; do
    built=$SHMKIT_TESTDIR/../$(dirname $program)
    test ! -x "$built/.libs/${program##*/}" || built=$built/.libs
    cp "$built/${program##*/}" "$scratch/bin" || exit 1
done
cp "$SHMKIT_TESTDIR"/../.libs/libshmkit.so.* "$scratch/lib" 2>"$err" || :
chmod -R a+rX "$scratch/bin" "$scratch/lib"
export PATH="$scratch/bin:$PATH" LD_LIBRARY_PATH="$scratch/lib"
export REAL_ROOT=$real_root scratch without=without_membarrier
# shellcheck disable=SC2086 # several words
unshare $namespaces bash "$scratch/pod" || exit 1
