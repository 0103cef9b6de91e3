#!/bin/sh
# The probes that shmkit(7) lists are in the library, if it was built with <sys/sdt.h>, and it has
# no others. `make check` runs it.
set -eu

library=$SHMKIT_TESTDIR/../.libs/libshmkit.so
page=$SHMKIT_SRCDIR/lib/man/shmkit.7

if ! grep -q '^#define HAVE_SYS_SDT_H 1' "$SHMKIT_TESTDIR/../config.h"; then
    echo 'built without <sys/sdt.h> (Debian package: systemtap-sdt-dev)'
    exit 77
fi
if ! command -v readelf >/dev/null || ! test -f "$library"; then
    echo 'there is no readelf, or no shared library'
    exit 77
fi
listed=$(sed -n '/^\.Sh PROBES/,/^\.El/s/^\.It Li //p' "$page" | sort)
there=$(readelf -n "$library" | sed -n '/Provider: shmkit$/{n;s/^ *Name: //p;}' | sort -u)
if test "$listed" != "$there"; then
    echo "the page lists: $listed"
    echo "the library has: $there"
    exit 1
fi
echo "$(echo "$there" | wc -l) probes"
