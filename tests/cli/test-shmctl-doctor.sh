#!/bin/bash
# shmctl doctor, in a mount namespace whose /dev/shm and systemd are the test's own.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"

# What it says to $user about something: "STATE FINDING".
user=
says() {
    $user shmctl doctor -r -n -o ABOUT,STATE,FINDING 2>"$err" | sed 's/\\x20/ /g' |
        grep -F -- "$1 " | sed "s|^$1 ||"
}

expect() {
    local said
    said=$(says "$1")
    case $said in
    $2) ;;
    *) fail "about $1 it says '$said', not '$2': $(cat "$err")" ;;
    esac
}

outside() {
    # Out here others may have left problems, so only what is ours can be looked for.
    exits 0 shmctl create event "$segment/go"
    expect "segment $segment" 'ok members: 0 alive, 0 dead'
    head -c 8192 "/dev/shm/$segment" >"/dev/shm/$segment-truncated"
    expect "segment $segment-truncated" 'problem segment /*'
    exits 1 shmctl doctor
    grep -qx "         if it is not needed: shmctl rm -f $segment-truncated" "$out" ||
        fail "it says $(cat "$out")"
    exits 1 shmctl doctor --json
    grep -q "\"about\": \"segment $segment-truncated\"" "$out" ||
        fail "in JSON it says $(cat "$out")"
    (
        ulimit -f 1000
        expect 'file size limit' 'problem 1000K, *'
    ) || exit 1
    exits 1 shmctl rm "$segment-truncated"
    complains "; 'shmctl rm -f $segment-truncated' removes it all the same$"
    exits 0 shmctl rm -f "$segment-truncated"
    prints_nothing
    test ! -e "/dev/shm/$segment-truncated" || fail 'its advice is in vain'
    cp --sparse=always "/dev/shm/$segment" "/dev/shm/$segment-old"
    printf '\005' | dd of="/dev/shm/$segment-old" bs=1 seek=8 conv=notrunc status=none
    expect "segment $segment-old" 'problem segment /* by layout 5, this library reads layout *'
    exits 1 shmctl doctor
    advice='run all its users with one version of shmkit and one C library; if what is in it is not'
    grep -qx "         $advice needed: shmctl rm -f $segment-old" "$out" ||
        fail "it says $(cat "$out")"
    exits 0 shmctl rm -f "$segment-old"
    test ! -e "/dev/shm/$segment-old" || fail 'its advice is in vain'
    shmctl event wait "$segment/go" &
    sleeper=$!
    await waits 'set go'
    expect "segment $segment" 'ok members: 1 alive, 0 dead'
    kill -KILL $sleeper
    ends 137 $sleeper
    expect "segment $segment" 'problem all its members are dead (1)'
    exits 1 shmctl doctor
    grep -qx "         if what is in it is not needed: shmctl clean $segment" "$out" ||
        fail "it says $(cat "$out")"
    exits 0 shmctl clean "$segment"
    test ! -e "/dev/shm/$segment" || fail 'its advice is in vain'
    exits 0 shmctl create queue "$segment/jobs" --capacity 1
    exits 0 shmctl put "$segment/jobs" 1
    expect "queue $segment/jobs" 'ok full (1 item); producers that wait: 0'
    shmctl put "$segment/jobs" 2 &
    await waits 'put jobs'
    is_problem() {
        says "queue $segment/jobs" | grep -q '^problem full (1 item); .*: 1, for up to '
    }
    await is_problem
    exits 0 shmctl get "$segment/jobs" -c 2
    test "$(says "queue $segment/jobs")" = '' || fail 'an empty queue is full'
    exits 0 shmctl rm "$segment"
    exits 0 shmctl create queue "$segment/bytes" --capacity-bytes 10
    exits 0 shmctl put "$segment/bytes" 12345 67890
    expect "queue $segment/bytes" 'ok full (2 items, 10 bytes); producers that wait: 0'
    exits 0 shmctl get "$segment/bytes"
    test "$(says "queue $segment/bytes")" = '' || fail 'a queue with room for bytes is full'
    exits 0 shmctl purge "$segment/bytes"
    claim 'limits, full queues, damaged and deserted segments are found'
}

# ---- inside: this script once more ----

# Do what it says is to be done as root; of several ways the one with that word.
follow_advice() {
    local advice
    advice=$(shmctl doctor -r -n -o STATE,FIX | sed -n 's/\\x20/ /g; s/^problem .*as root: //p' |
        grep -F -- "$1" | head -n 1 | sed 's/, in a container.*//')
    test "$advice" || fail "there is no advice with $1: $(shmctl doctor)"
    $advice || fail "the advice fails: $advice"
}

inside() {
    mount -t tmpfs -o size=1M tmpfs /dev/shm || fail 'no tmpfs'
    exits 0 shmctl doctor
    grep -qx 'ok       /dev/shm: 1M, 0 % in use' "$out" || fail "it says $(cat "$out")"
    head -c 950000 /dev/zero >/dev/shm/ballast
    exits 1 shmctl doctor
    grep -Eqx 'problem  /dev/shm: 1M, 9[0-9] % in use' "$out" || fail "it says $(cat "$out")"
    rm /dev/shm/ballast
    umount /dev/shm
    mount --bind "$scratch" /dev/shm || fail 'no bind mount'
    test "$(stat -f -c %T /dev/shm)" = tmpfs || expect /dev/shm 'problem no tmpfs*'
    umount /dev/shm
    mount -t tmpfs -o size=1M tmpfs /dev/shm || fail 'no tmpfs'

    # What it advises is done, and helps.
    mount -o remount,ro /dev/shm || fail 'no read-only mount'
    expect /dev/shm 'problem no segment can be created: Read-only*'
    follow_advice '/dev/shm'
    expect /dev/shm 'ok 1M, *'
    mount -o remount,nr_inodes=2 /dev/shm && : >/dev/shm/one
    shmctl doctor -r -n -o FINDING | grep -q '^it.x20cannot' ||
        fail 'it does not see that no file can be created'
    follow_advice 'nr_inodes'
    : >/dev/shm/two || fail 'its advice is in vain'
    rm -f /dev/shm/one /dev/shm/two
    head -c 950000 /dev/zero >/dev/shm/ballast
    follow_advice 'size='
    expect /dev/shm 'ok 2M, *'
    rm /dev/shm/ballast
    # A container's segment, whose pid namespace has gone: with a member that was killed, and
    # without.
    if unshare --pid --fork true 2>/dev/null; then
        exits 0 unshare --pid --fork --kill-child shmctl put "$segment/jobs" 1
        expect "segment $segment" 'problem it is of another pid namespace*'
        exits 1 shmctl doctor
        grep -q "^         if its container has ended: shmctl rm -f $segment; else " "$out" ||
            fail "it says $(cat "$out")"
        exits 0 shmctl rm -f "$segment"
        test ! -e "/dev/shm/$segment" || fail 'its advice is in vain'
        exits 137 unshare --pid --fork sh \
            -c 'shmctl lock "$0" -- sh -c "kill -KILL \$PPID"; exit $?' "$segment/till"
        exits 0 shmctl rm -f "$segment"
        test ! -e "/dev/shm/$segment" || fail 'rm -f is in vain'
        exits 137 unshare --pid --fork sh \
            -c 'shmctl lock "$0" -- sh -c "kill -KILL \$PPID"; exit $?' "$segment/till"
        exits 0 shmctl put "$segment/jobs" 1
        exits 0 shmctl clean "$segment"
    fi

    mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system /run/systemd/logind.conf.d ||
        fail 'no /run'
    mkdir -p /etc/systemd && mount -t tmpfs tmpfs /etc/systemd &&
        mkdir /etc/systemd/logind.conf.d || fail 'no /etc/systemd'
    expect RemoveIPC 'ok not for system users'
    user='setpriv --reuid=1234 --regid=1234 --clear-groups'
    if ! $user shmctl --version >/dev/null 2>&1; then
        echo 'not tried: another user may not run shmctl here'
        return
    fi
    expect RemoveIPC 'problem systemd removes*'
    printf '[Login]\n#RemoveIPC=yes\nRemoveIPC=no\n' >/etc/systemd/logind.conf
    expect RemoveIPC 'ok segments outlive*'
    printf '[Login]\nRemoveIPC=yes\n' >/run/systemd/logind.conf.d/50-b.conf
    expect RemoveIPC 'problem systemd removes*'
    printf '[Login]\nRemoveIPC=no\n' >/etc/systemd/logind.conf.d/20-a.conf
    expect RemoveIPC 'problem systemd removes*'
    printf '[Login]\n' >/etc/systemd/logind.conf.d/50-b.conf
    printf '[Login]\nRemoveIPC=no\n' >/etc/systemd/logind.conf.d/60-c.conf
    expect RemoveIPC 'ok segments outlive*'
    rmdir /run/systemd/system
    rm -r /etc/systemd/logind.conf.d
    expect RemoveIPC 'ok segments outlive*'
}

if test "${1-}" = inside; then
    inside
    exit 0
fi
outside
if unshare -m --propagation private mount -t tmpfs tmpfs /dev/shm 2>/dev/null; then
    unshare -m --propagation private bash "$0" inside || fail 'inside'
    claim 'a full /dev/shm, and systemd that removes segments, are found'
else
    echo 'not tried: what needs a mount namespace of its own'
fi
