# shellcheck shell=bash
# A chroot with a minimal Debian in it; each script that wants one begins with ". chroot.sh".
#
# Environment:
#   CLEAN_SUITE    of Debian: bookworm
#   CLEAN_MIRROR   where debootstrap gets it: debootstrap's own
#   CLEAN_BASE     a tar file of the chroot before anything else: used if it is there, else made
#   CLEAN_FOLDER   where the chroot and the logs are made: /var/tmp
# shellcheck disable=SC2034 # for those that read this
folder=${CLEAN_FOLDER:-/var/tmp}
suite=${CLEAN_SUITE:-bookworm}

say() {
    echo "${0##*/}: $*"
}
die() {
    echo "${0##*/}: $*" >&2
    exit 1
}
# Where a chroot cannot be had, nothing has been tried, and nothing has failed.
skip() {
    say "SKIPPED: $*"
    exit 77
}

# What a chroot wants of the machine.
needs_chroot() {
    test "$(id -u)" = 0 || skip "a chroot is made by root: sudo $0"
    command -v debootstrap >/dev/null || test -f "${CLEAN_BASE-}" ||
        skip "there is no debootstrap (Debian package: debootstrap)"
    unshare --mount --propagation private --pid --fork true 2>/dev/null ||
        skip "there are no namespaces of mounts and processes to be had"
}

# in_namespaces COMMAND...: in a mount and pid namespace of its own. Whatever happens, its mounts go
# with its last process.
in_namespaces() {
    unshare --mount --propagation private --pid --fork --kill-child "$@"
}

# in_chroot ROOT COMMAND...
in_chroot() {
    chroot "$1" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "${@:2}"
}

# make_chroot ROOT PACKAGE...: a minimal Debian with these packages, the devices that a container
# has, and a /dev/shm of 64 MiB. In namespaces.
make_chroot() {
    local root=$1 device name
    shift
    mkdir "$root"
    if test -f "${CLEAN_BASE-}"; then
        say "the base is $CLEAN_BASE"
        tar xpf "$CLEAN_BASE" -C "$root"
    else
        say "debootstrap $suite"
        debootstrap --variant=minbase --include=ca-certificates \
            "$suite" "$root" ${CLEAN_MIRROR:+"$CLEAN_MIRROR"} >"$root.log" 2>&1 </dev/null ||
            skip "debootstrap got no Debian: $(tail -n 1 "$root.log")"
        if test -n "${CLEAN_BASE-}"; then
            tar cpf "$CLEAN_BASE.new" -C "$root" . && mv "$CLEAN_BASE.new" "$CLEAN_BASE"
        fi
    fi

    mount -t proc proc "$root/proc"
    mount -t tmpfs -o mode=755,size=1m tmpfs "$root/dev"
    for device in null zero full random urandom tty; do
        touch "$root/dev/$device"
        mount --bind "/dev/$device" "$root/dev/$device"
    done
    mkdir "$root/dev/pts" "$root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    ln -s /proc/self/fd/0 "$root/dev/stdin"
    ln -s /proc/self/fd/1 "$root/dev/stdout"
    ln -s /proc/self/fd/2 "$root/dev/stderr"
    mount -t tmpfs -o mode=1777,size=64m tmpfs "$root/dev/shm"
    cp -L /etc/resolv.conf /etc/hosts "$root/etc"
    # No service is started there, as in a container.
    printf '%s\n' '#!/bin/sh' 'exit 101' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    for name in http_proxy https_proxy no_proxy; do
        test -z "${!name-}" || echo "$name=${!name}" >>"$root/etc/environment"
    done
    install_in "$root" "$@"
}

# install_in ROOT PACKAGE...: packages of Debian, which are there or the mirror is not.
install_in() {
    local root=$1
    {
        in_chroot "$root" apt-get update -q &&
            in_chroot "$root" apt-get install -q -y --no-install-recommends "${@:2}"
    } >>"$root.log" 2>&1 </dev/null ||
        skip "apt-get got no ${*:2}: $(tail -n 1 "$root.log")"
}
