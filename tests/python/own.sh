#!/bin/bash
# The module for Python: its own tests.
set -u
. "$SHMKIT_SRCDIR/tests/python/python.sh"

status=0
together test_sync test_queue test_stream test_values test_life test_stubs -- \
    $python -m unittest -v || status=1
together test_demos -- $python -m unittest -v || status=1
# A debug build of Python counts all references, those of an extension if that is built for it, too.
includes=$(python3-dbg-config --includes 2>/dev/null)
if test -n "$includes" && test -z "${LD_PRELOAD-}"; then
    build=$(cd "$SHMKIT_TESTDIR/.." && pwd)
    debug=$(mktemp -d) || exit 1
    trap 'rm -rf "$debug"' EXIT
    mkdir "$debug/shmkit"
    cp -L "$build"/lib/python/tree/shmkit/*.py "$debug/shmkit/"
    # shellcheck disable=SC2086
    $CC -O1 -shared -fPIC -include "$build/config.h" -D_GNU_SOURCE= -I"$SHMKIT_SRCDIR/lib" \
        $includes "$SHMKIT_SRCDIR"/lib/python/*.c -o "$debug/shmkit/_shmkit.abi3.so" \
        -L"$build/.libs" -lshmkit -lm -Wl,-rpath,"$build/.libs" || exit 1
    PYTHONPATH=$debug together test_life.Leaks -- python3-dbg -m unittest -v || status=1
else
    echo 'SKIPPED own.sh: references are not counted (Debian package: python3-dbg)' |
        tee /dev/fd/9 2>/dev/null
fi
exit $status
