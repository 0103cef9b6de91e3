#!/bin/bash
# Each object depends on config.h, so that it is compiled again when configure has found something
# else; the public headers do not.
set -u
failed=0 checked=0
cd "$SHMKIT_TESTDIR/.." || exit 1
while read -r file; do
    grep -q '^# dummy' "$file" && continue # not compiled yet
    checked=$((checked + 1))
    if ! grep -q '[ /]config\.h' "$file"; then
        failed=1
        echo "FAILED: ${file#./} does not name config.h"
    fi
done < <(find . -name '*.Plo' -o -name '*.Po')
cd "$SHMKIT_SRCDIR/lib" || exit 1
grep -nE 'config\.h|\<HAVE_' shmkit.h shmkit/*.h && failed=1
cd "$OLDPWD" || exit 1
if grep -E '^DEFS = ' Makefile | grep -v -- '^DEFS = -DHAVE_CONFIG_H$'; then
    failed=1
    echo 'FAILED: definitions on the command line'
fi
echo "$checked objects"
test $failed = 0 && test $checked -gt 0
