#!/bin/bash
# make check-builds: builds the library, the programs and the demos in other ways, each in a folder
# of its own, and uses what is built. A way whose compiler is not there is left out, and that is
# said.
#
#     tests/builds.sh [WAY...]     static shared lto small m32 waits paths; all
#     make check-builds BUILDS=m32
#
# SHMKIT_SRCDIR is a tree with its configure. What is built lies below BUILDS_DIR, or in a folder
# that goes away. BUILDS_JOBS: how many at a time.
set -u
source=$(cd "${SHMKIT_SRCDIR:-$(dirname "$0")/..}" && pwd) || exit 1
jobs=${BUILDS_JOBS:-$(getconf _NPROCESSORS_ONLN)}
compiler=${CC:-gcc}
unset MAKEFLAGS MAKEOVERRIDES # a CC=... given to the make that runs this is of its own build
test -x "$source/configure" || { echo "there is no $source/configure" >&2 && exit 1; }
if test -n "${BUILDS_DIR-}"; then
    work=$BUILDS_DIR
    mkdir -p "$work" || exit 1
else
    work=$(mktemp -d) || exit 1
    trap 'rm -rf "$work"' EXIT
fi

fail() {
    echo "FAILED: $*"
    failed=1
}
failed=0
use=works # what is done with what is built

# An item through a queue, and a lock, by this shmctl.
works() {
    local segment=builds-$$ result
    "$1" put "$segment/jobs" 'from here' &&
        test "$("$1" get "$segment/jobs")" = 'from here' &&
        "$1" lock "$segment/till" -- true 2>/dev/null
    result=$?
    "$1" rm "$segment"
    return $result
}

build() { # FOLDER CONFIGURE-ARGUMENT...
    local build=$work/$1
    shift
    mkdir -p "$build"
    (cd "$build" && "$source/configure" -q --enable-silent-rules --without-python "$@" &&
        make -j"$jobs" -s) >"$build/log" 2>&1 &&
        ! grep 'warning:' "$build/log" >>"$build/log.warnings"
}

way() { # NAME CONFIGURE-ARGUMENT...
    local name=$1
    if build "$@" && $use "$work/$name/tools/shmctl" >>"$work/$name/log" 2>&1; then
        echo "ok: $name"
    else
        tail -n 30 "$work/$name/log" "$work/$name/log.warnings"
        fail "$name"
    fi
}

links() { # FLAG...: whether the compiler makes a program with them
    printf '%s\n' '#include <linux/futex.h>' 'int main(void) { return 0; }' >"$work/links.c"
    # shellcheck disable=SC2086 # CC may be several words
    $compiler "$@" "$work/links.c" -o "$work/links" 2>"$work/links.log"
}

# Libtool takes no blank in a path, so configure refuses one. Any other byte may be there.
paths() {
    local name=存款者甲 there="$work/there,存款者甲"
    if ! build "$name" CFLAGS=-O0; then
        tail -n 30 "$work/$name/log"
        fail "paths: a tree in $name"
        return
    fi
    make -C "$work/$name" -s install DESTDIR="$there" >>"$work/$name/log" 2>&1 ||
        fail "paths: make install DESTDIR='$there'"
    LD_LIBRARY_PATH="$there/usr/local/lib" works "$there/usr/local/bin/shmctl" ||
        fail "paths: what is installed in '$there'"
    make -C "$work/$name" -s uninstall DESTDIR="$there" >>"$work/$name/log" 2>&1
    test -z "$(find "$there" ! -type d)" || fail "paths: make uninstall leaves files in '$there'"
    mkdir -p "$work/with blanks"
    (cd "$work/with blanks" && "$source/configure" -q) >"$work/with blanks/log" 2>&1 &&
        fail 'paths: configure takes a path with blanks, and libtool will not'
    grep -q 'has a blank in its path' "$work/with blanks/log" ||
        fail 'paths: configure does not say what is wrong with a path with blanks'
    test $failed != 0 || echo 'ok: paths'
}

test $# -gt 0 || set -- static shared lto small m32 waits paths
for name in "$@"; do
    case $name in
    static) way static --disable-shared CFLAGS=-O0 ;; # what takes long is shown by the others
    shared) way shared --disable-static CFLAGS=-O0 ;;
    # It takes what is found by an offset in a segment for something at address 0.
    lto)
        way lto CFLAGS='-O3 -flto=auto -Wno-stringop-overflow' \
            AR=gcc-ar RANLIB=gcc-ranlib NM=gcc-nm
        ;;
    small) way small CFLAGS=-Os ;;
    m32)
        # Other libraries of that word size are not there, as a rule. The kernel's headers are the
        # same, and lie in the folder of the other word size.
        headers=-idirafter/usr/include/$($compiler -print-multiarch)
        if links -m32 "$headers"; then
            if ! "$work/links" 2>/dev/null; then
                echo 'm32: this kernel runs no program of 32 bits: what is built is not used'
                use=true
            fi
            way m32 CC="$compiler -m32 $headers" PKG_CONFIG_LIBDIR="$work" \
                CFLAGS='-g -O2 -Wno-conversion' # 64 bits of the layout to size_t
        else
            echo "left out: m32: $compiler -m32 makes no program (Debian package: gcc-multilib)"
        fi
        use=works
        ;;
    # As with a C library that has no waits by CLOCK_MONOTONIC.
    waits)
        way waits --enable-own-waits ac_cv_func_pthread_mutex_clocklock=no \
            ac_cv_func_sem_clockwait=no ac_cv_func_pthread_cond_clockwait=no
        ;;
    paths) paths ;;
    *) echo "builds.sh: there is no way $name" >&2 && exit 2 ;;
    esac
done
exit $failed
