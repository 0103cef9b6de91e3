#!/bin/bash
# What "make package" has built: lintian finds nothing, a second build elsewhere gives the same
# bytes, and in a clean chroot the packages are installed, debian/tests run, and a purge leaves
# nothing.
#
#     tests/packages/test.sh FOLDER [lintian | reproducible TARBALL | chroot]...
#
# FOLDER has the packages. chroot wants root, and what tests/clean/chroot.sh wants.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)
packages=$(cd "$1" && pwd)
shift
. "$source/tests/clean/chroot.sh"
ls "$packages"/*.deb >/dev/null 2>&1 || die "there are no packages in $packages: make package"

run_lintian() {
    command -v lintian >/dev/null || die "there is no lintian (Debian package: lintian)"
    local found
    found=$(lintian --allow-root -EvIL +pedantic "$packages"/*.changes 2>&1 | grep -v '^N:') || :
    test -z "$found" || die "lintian: $found"
    say 'lintian -EvIL +pedantic: nothing'
}

# Another folder, user mask, time zone and language; the tests have run in the first build.
build_again() { # TARBALL
    local again name differ=0
    again=$(mktemp -d)
    (umask 027 && export TZ=Pacific/Apia LC_ALL=C DEB_BUILD_OPTIONS=nocheck &&
        "$here/build.sh" "$1" "$again/a folder/packages") || die 'the second build failed'
    for name in "$packages"/*.deb "$packages"/*.dsc "$packages"/*.tar.*; do
        cmp "$name" "$again/a folder/packages/${name##*/}" || differ=1
    done
    test $differ = 0 || die "they differ: diffoscope $packages $again"
    rm -rf "$again"
    say "reproducible: $(ls "$packages"/*.deb | wc -l) packages and their source, byte for byte"
}

# In namespaces: $work/root.
try_out() {
    local root=$work/root test
    make_chroot "$root"
    in_it() {
        chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"
    }
    mkdir "$root/packages" "$root/source"
    cp "$packages"/*.deb "$root/packages"
    cp -r "$source/debian" "$source/README.md" "$root/source"
    in_it apt-get update -q >"$work/apt.log" 2>&1 ||
        die "apt-get update: $(tail -n 3 "$work/apt.log")"

    # What debian/tests/control wants beside the packages; it is there before, and stays.
    # shellcheck disable=SC2046 # several words
    in_it apt-get install -q -y --no-install-recommends pkg-config \
        $(dpkg-deb -f "$packages"/shmkit_*.deb Depends | tr ',' '\n' | sed 's/ *(.*//' |
            grep -v libshmkit) >>"$work/apt.log" 2>&1
    in_it dpkg-query -W -f '${Package} ${db:Status-Status}\n' >"$work/before"
    files "$root" >"$work/files-before"

    in_it sh -c 'apt-get install -q -y --no-install-recommends /packages/*.deb' \
        >>"$work/apt.log" 2>&1 || die "apt-get install: $(tail -n 5 "$work/apt.log")"
    say "installed: $(in_it dpkg-query -W -f '${Package} ${Version}, ' '*shmkit*')"
    for test in $(sed -n 's/^Tests: //p' "$source/debian/tests/control"); do
        in_it sh -c "mkdir -p /tmp/t && cd /source && AUTOPKGTEST_TMP=/tmp/t debian/tests/$test" \
            >"$work/$test.log" 2>&1 || die "debian/tests/$test: $(tail -n 20 "$work/$test.log")"
        say "debian/tests/$test: passed; it ended with: $(tail -n 1 "$work/$test.log")"
    done
    in_it rm -rf /tmp/t

    in_it apt-get purge -q -y libshmkit0 libshmkit-dev shmkit >>"$work/apt.log" 2>&1 ||
        die "apt-get purge: $(tail -n 5 "$work/apt.log")"
    in_it dpkg-query -W -f '${Package} ${db:Status-Status}\n' >"$work/after"
    files "$root" >"$work/files-after"
    diff "$work/before" "$work/after" || die 'a purge leaves packages'
    diff "$work/files-before" "$work/files-after" || die 'a purge leaves files'
    test -z "$(ls -A "$root/dev/shm")" || die "left in /dev/shm: $(ls -A "$root/dev/shm")"
    say 'purged: nothing is left'
}

# What dpkg and ld.so write down, and the logs of apt, are not a package's.
files() {
    find "$1" -xdev ! -path "$1/var/lib/dpkg/*" ! -path "$1/var/log/*" ! -path "$1/var/cache/*" \
        ! -path "$1/var/lib/apt/*" ! -path "$1/etc/ld.so.cache" ! -type d -printf '%P\n' |
        LC_ALL=C sort
}

try_in_chroot() {
    test "$(id -u)" = 0 || die "a chroot is made by root"
    work=$(mktemp -d "$folder/shmkit-packages.XXXXXX")
    local status=0
    WORK=$work in_namespaces "$0" "$packages" in-namespaces || status=$?
    test $status != 0 || rm -rf --one-file-system "$work"
    test $status = 0 || say "the chroot and the logs: $work"
    return $status
}

test $# -gt 0 || set -- lintian chroot
while test $# -gt 0; do
    case $1 in
    lintian) run_lintian ;;
    reproducible) build_again "$(realpath "$2")" && shift ;;
    chroot) try_in_chroot ;;
    in-namespaces) work=$WORK try_out ;;
    *) die "there is no $1" ;;
    esac
    shift
done
