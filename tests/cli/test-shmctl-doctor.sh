#!/bin/bash
# shmctl doctor, in a mount namespace whose /dev/shm and systemd are the test's own.
. "$SHMKIT_SRCDIR/tests/cli/shmctl.sh"

# What it says to $user about something: "STATE FINDING".
user=
says() {
    $user shmctl doctor -r -n -o ABOUT,STATE,FINDING 2>"$err" | sed 's/\\x20/ /g' | grep -F -- "$1 " | sed "s|^$1 ||"
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
    expect "segment $segment" 'ok 0 members, 0 dead ones'
    head -c 8192 "/dev/shm/$segment" >"/dev/shm/$segment-truncated"
    expect "segment $segment-truncated" 'problem segment /*'
    exits 1 shmctl doctor
    grep -qx "         if nobody needs it: rm /dev/shm/$segment-truncated" "$out" || fail "it says $(cat "$out")"
    exits 1 shmctl doctor --json
    grep -q "\"about\": \"segment $segment-truncated\"" "$out" || fail "in JSON it says $(cat "$out")"
    (
        ulimit -f 1000
        expect 'file size limit' 'problem 1000K, *'
    ) || exit 1
    rm "/dev/shm/$segment-truncated"
    shmctl event wait "$segment/go" &
    sleeper=$!
    await waits 'set go'
    expect "segment $segment" 'ok 1 members, 0 dead ones'
    kill -KILL $sleeper
    ends 137 $sleeper
    expect "segment $segment" 'problem all its members are dead (1)'
    exits 0 shmctl rm "$segment"
    claim 'limits, damaged and deserted segments are found'
}

# ---- inside: this script once more ----

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

    mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system /run/systemd/logind.conf.d || fail 'no /run'
    mkdir -p /etc/systemd && mount -t tmpfs tmpfs /etc/systemd && mkdir /etc/systemd/logind.conf.d || fail 'no /etc/systemd'
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
