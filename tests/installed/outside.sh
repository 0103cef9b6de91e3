#!/bin/bash
# make installcheck: a program outside the tree builds with what pkg-config says and talks to the
# installed shmctl.
set -eu
work=$(mktemp -d)
segment=outside-$$
cleanup() {
    rm -rf "$work"
    shmctl rm "$segment" >/dev/null 2>&1 || true
}
trap cleanup EXIT

$CC -std=c11 -Wall -Wextra -pedantic -Werror \
    "$SHMKIT_SRCDIR/tests/installed/outside.c" -o "$work/outside" \
    $TEST_FLAGS $(pkg-config --cflags --libs shmkit)
cd "$work"
./outside "$segment" put
test "$(shmctl get "$segment/letters")" = "from outside"
shmctl put "$segment/letters" "from shmctl"
test "$(./outside "$segment" get)" = "from shmctl"

shmctl --version
for page in shmctl.1 shmkit-producer.1; do
    test -s "$MANDIR/man1/$page"
done
echo "installed: a program outside the tree builds, and exchanges items with shmctl"
