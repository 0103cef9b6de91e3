#!/bin/bash
# What "make package" has built: lintian finds nothing, a second build elsewhere gives the same
# bytes; and in a clean chroot, two of README's ways to install: the tarball builds without
# autotools, git and network, is installed and uninstalled; the packages are installed, debian/tests
# run, and a purge leaves nothing.
#
#     tests/packages/test.sh FOLDER [lintian | reproducible TARBALL | chroot TARBALL]...
#
# FOLDER has the packages. chroot wants root, and what tests/clean/chroot.sh wants; where that is
# not to be had, the exit status is 77.
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
        "$here/build.sh" "$1" "$again/another-folder/packages") || die 'the second build failed'
    for name in "$packages"/*.deb "$packages"/*.dsc "$packages"/*.tar.*; do
        cmp "$name" "$again/another-folder/packages/${name##*/}" || differ=1
    done
    test $differ = 0 || die "they differ: diffoscope $packages $again"
    rm -rf "$again"
    say "reproducible: $(ls "$packages"/*.deb | wc -l) packages and their source, byte for byte"
}

# As user u.
as_u() {
    in_chroot "$root" su u -c "cd && set -eux && $1"
}

# It ends here unless the command ends well; its output goes to $work/NAME.log.
must() { # NAME COMMAND...
    "${@:2}" >"$work/$1.log" 2>&1 </dev/null || die "$1: $(tail -n 20 "$work/$1.log")"
}

try_tarball() { # TARBALL
    local name
    name=$(basename "$1" .tar.gz)
    for program in autoconf automake libtoolize pkg-config git python3; do
        test ! -e "$root/usr/bin/$program" || die "there is $program in the chroot"
    done
    in_chroot "$root" useradd --create-home u
    files -type f >"$work/files-before"
    cp "$1" "$root/home/u"
    must build unshare --net chroot "$root" su - u -c \
        "tar xzf $name.tar.gz && cd $name && ./configure && make -j$(nproc)"
    must install in_chroot "$root" sh -c "cd /home/u/$name && make install && ldconfig"
    must account as_u 'shmctl demo account'
    awk '/^```c$/ { inside = 1; next } /^```/ && inside { exit } inside' "$source/README.md" \
        >"$root/home/u/words.c"
    must words as_u 'cc words.c -o words -lshmkit && ./words Swift Kotlin &&
        test "$(shmctl get --count 2 bank/jobs | tr "\n" ,)" = Swift,Kotlin, && shmctl rm bank'
    must uninstall in_chroot "$root" make -C "/home/u/$name" uninstall
    rm -r "$root/home/u/$name"* "$root/home/u/words"*
    files -type f >"$work/files-after"
    diff "$work/files-before" "$work/files-after" || die 'make uninstall leaves files'
    nothing_in_shm
    say "$name.tar.gz: configure, make, make install without autotools, git and network; it ended" \
        "with: $(tail -n 1 "$work/account.log"); uninstalled: nothing is left"
}

try_packages() {
    local names test
    names=$(for name in "$packages"/*.deb; do dpkg-deb -f "$name" Package; done)
    mkdir "$root/packages" "$root/source"
    cp "$packages"/*.deb "$root/packages"
    cp -r "$source/debian" "$source/README.md" "$root/source"

    # What the packages and debian/tests/control want beside them; it is there before, and stays.
    # shellcheck disable=SC2046 # several words
    install_in "$root" $({
        for name in "$packages"/*.deb; do
            dpkg-deb -f "$name" Depends
        done
        sed -n 's/^Depends: //p' "$source/debian/tests/control"
    } | tr ',' '\n' | sed 's/ *[(|].*//; s/:any//; s/^ *//' | grep -v shmkit | sort -u)
    in_chroot "$root" dpkg-query -W -f '${Package} ${db:Status-Status}\n' >"$work/before"
    files >"$work/files-before"

    must apt-install unshare --net chroot "$root" env DEBIAN_FRONTEND=noninteractive sh -c \
        'apt-get install -q -y --no-install-recommends /packages/*.deb'
    say "installed: $(echo $(in_chroot "$root" dpkg-query -W -f '${Package} ${Version}, ' $names))"
    for test in $(sed -n 's/^Tests: //p' "$source/debian/tests/control"); do
        must "test-$test" in_chroot "$root" sh -c \
            "mkdir -p /tmp/t && cd /source && AUTOPKGTEST_TMP=/tmp/t debian/tests/$test"
        say "debian/tests/$test: passed; it ended with: $(tail -n 1 "$work/test-$test.log")"
        in_chroot "$root" rm -rf /tmp/t
    done
    # shellcheck disable=SC2086 # several words
    must apt-purge in_chroot "$root" apt-get purge -q -y $names
    in_chroot "$root" dpkg-query -W -f '${Package} ${db:Status-Status}\n' >"$work/after"
    files >"$work/files-after"
    diff "$work/before" "$work/after" || die 'a purge leaves packages'
    diff "$work/files-before" "$work/files-after" || die 'a purge leaves files'
    nothing_in_shm
    say 'purged: nothing is left'
}

# What dpkg and ld.so write down, and the logs of apt, are not a package's.
files() { # find's TEST...
    find "$root" -xdev ! -path "$root/var/lib/dpkg/*" ! -path "$root/var/log/*" \
        ! -path "$root/var/cache/*" ! -path "$root/var/lib/apt/*" ! -path "$root/etc/ld.so.cache" \
        "$@" -printf '%P\n' | LC_ALL=C sort
}

nothing_in_shm() {
    test -z "$(ls -A "$root/dev/shm")" || die "left in /dev/shm: $(ls -A "$root/dev/shm")"
}

try_in_chroot() { # TARBALL
    needs_chroot
    work=$(mktemp -d "$folder/shmkit-packages.XXXXXX")
    chmod 755 "$work"
    local status=0
    WORK=$work in_namespaces "$0" "$packages" in-namespaces "$1" || status=$?
    if test $status = 0 || test $status = 77; then
        rm -rf --one-file-system "$work"
    else
        say "the chroot and the logs: $work"
    fi
    return $status
}

# In namespaces.
try_out() { # TARBALL
    work=$WORK root=$WORK/root
    make_chroot "$root" gcc libc6-dev make
    say "in $(. "$root/etc/os-release" && echo "$PRETTY_NAME")"
    try_tarball "$1"
    try_packages
}

test $# -gt 0 || set -- lintian
while test $# -gt 0; do
    case $1 in
    lintian) run_lintian ;;
    reproducible)
        build_again "$(realpath "$2")"
        shift
        ;;
    chroot)
        try_in_chroot "$(realpath "$2")"
        shift
        ;;
    in-namespaces)
        try_out "$2"
        shift
        ;;
    *) die "there is no $1" ;;
    esac
    shift
done
