#!/bin/bash
# The C examples of README.md that are whole programs compile without a warning, and link.
set -u
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

awk -v work="$work" '
    /^```c$/ { inside = 1; file = sprintf("%s/example%d.c", work, ++n); next }
    /^```/ { inside = 0 }
    inside { print > file }' "$SHMKIT_SRCDIR/README.md"

programs=0 failed=0
for example in $(grep -l 'int main(' "$work"/*.c); do
    programs=$((programs + 1))
    $CC -std=c11 -D_DEFAULT_SOURCE -Wall -Wextra -Werror $SANITIZER_FLAGS \
        -I"$SHMKIT_SRCDIR/lib" "$example" -o "$work/program" \
        -L"$SHMKIT_TESTDIR/../.libs" -lshmkit || { failed=$((failed + 1)); cat -n "$example"; }
done
echo "$programs programs, $failed failed"
test $programs -gt 0 && test $failed = 0
