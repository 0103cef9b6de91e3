#!/bin/bash
# Segments that cannot be used: foreign, damaged, of another layout, of another user, forbidden.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"
state() {
    shmctl ls --all -r -n -o NAME,STATE | sed -n "s/^$1 //p"
}

exits 0 shmctl create queue "$segment/jobs" --capacity 4
exits 0 shmctl put "$segment/jobs" 1 2
good=/dev/shm/$segment
test -f "$good" || fail "no file $good"

# name, what is done to a copy, the state that it shall have
make() {
    local file=/dev/shm/$segment-$1
    cp --sparse=always "$good" "$file" && chmod 600 "$file"
}
make truncated && truncate -s 8192 "/dev/shm/$segment-truncated"
make layout && printf '\377' | dd of="/dev/shm/$segment-layout" bs=1 seek=8 conv=notrunc status=none
make noise &&
    dd if=/dev/urandom of="/dev/shm/$segment-noise" bs=4064 count=1 oflag=seek_bytes seek=32 \
    conv=notrunc status=none
head -c 10000 /dev/urandom >"/dev/shm/$segment-foreign"
: >"/dev/shm/$segment-empty"

exits 0 shmctl ls
test "$(state "$segment")" = good || fail "the good one is $(state "$segment")"
test "$(state "$segment-layout")" = mismatch || fail "of another layout: $(state "$segment-layout")"
test "$(state "$segment-truncated")" = corrupt || fail "truncated: $(state "$segment-truncated")"
test "$(state "$segment-foreign")" = foreign || fail "foreign: $(state "$segment-foreign")"
test "$(state "$segment-empty")" = foreign || fail "empty: $(state "$segment-empty")"
case $(state "$segment-noise") in
mismatch | corrupt) ;;
*) fail "full of noise: $(state "$segment-noise")" ;;
esac
exits 0 shmctl ls
for problem in truncated layout noise; do
    grep -Eq "^$segment-$problem .* (corrupt|mismatch) +[^ ]+ [^ ]+ " "$out" ||
        fail "ls does not say what is wrong: $(cat "$out")"
done
not grep -q "^$segment-\(foreign\|empty\) " "$out" ||
    fail "ls lists what is not shmkit's: $(cat "$out")"
exits 0 shmctl ls --all
for problem in foreign empty; do
    grep -q "^$segment-$problem .* foreign" "$out" ||
        fail "ls --all does not list the $problem one: $(cat "$out")"
done
exits 0 shmctl ls --all --json
grep -q "\"name\": \"$segment-noise\"" "$out" || fail 'not in JSON'
claim 'ls shows segments that cannot be used, and what is wrong'

for problem in truncated layout noise foreign empty; do
    for command in "ls $segment-$problem" "show $segment-$problem" "show $segment-$problem/jobs" \
        "ps $segment-$problem" "put $segment-$problem/jobs item" \
        "get $segment-$problem/jobs --nowait" "shutdown $segment-$problem/jobs" \
        "event set $segment-$problem/jobs" "create queue $segment-$problem/jobs --capacity 4" \
        "rm $segment-$problem/jobs" "lock $segment-$problem/jobs -- true"; do
        exits 1 shmctl $command
        complains "^shmctl: $segment-$problem"
    done
done
exits 0 shmctl ps
not grep -q "^$segment" "$out" || fail "ps lists $(cat "$out")"
exits 0 shmctl get "$segment/jobs" -c 2
prints 1 2
claim 'everything else refuses them, with a sentence'

for problem in truncated layout noise foreign empty; do
    exits 1 shmctl rm "$segment-$problem"
    complains "; 'shmctl rm -f $segment-$problem' removes it all the same$"
    exits 0 shmctl rm -f "$segment-$problem"
    prints_nothing
    test ! -e "/dev/shm/$segment-$problem" || fail "rm -f leaves $problem"
done
exits 0 shmctl rm -f "$segment-truncated"
mkdir "/dev/shm/$segment-directory"
exits 1 shmctl rm -f "$segment-directory"
complains "^shmctl: $segment-directory[: ]"
rmdir "/dev/shm/$segment-directory"
claim 'rm -f removes them'

# ---- other users; only root can be another one ----

if test "$(id -u)" != 0 || ! command -v setpriv >/dev/null; then
    echo 'not tried: what needs root and setpriv'
    exit 0
fi
unprivileged="setpriv --reuid=65534 --regid=65534 --clear-groups"
if ! $unprivileged shmctl --version >/dev/null 2>&1; then
    echo 'not tried: user 65534 may not run shmctl here'
    exit 0
fi
exits 0 $unprivileged shmctl ls
grep -q "^$segment .* denied " "$out" || fail "what may not be read: $(cat "$out")"
for command in "ls $segment" "show $segment" "ps $segment" "put $segment/jobs 1" \
    "get $segment/jobs" "rm $segment" "rm $segment/jobs" "create queue $segment/jobs"; do
    exits 1 $unprivileged shmctl $command
    complains "^shmctl: $segment"
done
for option in '' -f; do
    exits 1 $unprivileged shmctl rm $option "$segment"
    complains "^shmctl: $segment: segment $segment belongs to $(id -un) ($(id -u)); "
    complains '; only that user and root may remove it$'
done
exits 1 $unprivileged shmctl put "$segment/jobs" 1
owner="segment $segment belongs to $(id -un) ($(id -u))"
complains "^shmctl: $segment/jobs: permission denied: $owner, mode 0600$"
exits 0 $unprivileged shmctl ps
chmod 644 "$good"
exits 0 $unprivileged shmctl show "$segment/jobs" -n -o ITEMS
prints 0
exits 0 $unprivileged shmctl ls "$segment"
exits 1 $unprivileged shmctl put "$segment/jobs" 1
claim 'the permission to read is enough to look'

exits 0 $unprivileged shmctl create queue "$segment-other/jobs" --capacity 2
for command in "put $segment-other/jobs 1" "get $segment-other/jobs --nowait" \
    "shutdown $segment-other/jobs" "event set $segment-other/go" "create event $segment-other/go" \
    "rm $segment-other/jobs" "lock $segment-other/till true"; do
    exits 1 shmctl $command
    complains "^shmctl: $segment-other"
done
exits 1 shmctl put "$segment-other/jobs" 1
owner="segment $segment-other belongs to $(id -un 65534) (65534)"
complains "^shmctl: $segment-other/jobs: $owner; use --any-owner if you trust that user$"
exits 0 shmctl put "$segment-other/jobs" 1 --any-owner
exits 0 shmctl get "$segment-other/jobs" --any-owner
prints 1
exits 0 shmctl create event "$segment-other/go" --any-owner
exits 0 shmctl event set "$segment-other/go" --any-owner
exits 0 shmctl create lock "$segment-other/till" --any-owner
exits 0 shmctl lock "$segment-other/till" --any-owner -- true
exits 0 shmctl shutdown "$segment-other/jobs" --any-owner
exits 0 shmctl rm "$segment-other/jobs" --any-owner
exits 0 shmctl ls -r -n -o NAME,OWNER
grep -qx "$segment-other $(id -un 65534)" "$out" || fail "the owner: $(cat "$out")"
claim "another user's segment is worked on with --any-owner only"
