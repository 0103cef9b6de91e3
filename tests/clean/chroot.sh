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

# in_namespaces COMMAND...: in a mount and pid namespace of its own. Whatever happens, its mounts go
# with its last process.
in_namespaces() {
    unshare --mount --propagation private --pid --fork --kill-child "$@"
}

# make_chroot FOLDER: a minimal Debian with a compiler, git and sudo, the devices that a container
# has, and a /dev/shm of 64 MiB. In namespaces.
make_chroot() {
    local root=$1 device name
    mkdir "$root"
    if test -f "${CLEAN_BASE-}"; then
        say "the base is $CLEAN_BASE"
        tar xpf "$CLEAN_BASE" -C "$root"
    else
        command -v debootstrap >/dev/null || die "there is no debootstrap"
        say "debootstrap $suite"
        debootstrap --variant=minbase --include=git,gcc,libc6-dev,sudo,ca-certificates \
            "$suite" "$root" ${CLEAN_MIRROR:+"$CLEAN_MIRROR"} >"$root.log" 2>&1 ||
            die "debootstrap failed; the end of $root.log: $(tail -n 3 "$root.log")"
        test -z "${CLEAN_BASE-}" || tar cpf "$CLEAN_BASE" -C "$root" .
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
    for name in http_proxy https_proxy no_proxy; do
        test -z "${!name-}" || echo "$name=${!name}" >>"$root/etc/environment"
    done
}
