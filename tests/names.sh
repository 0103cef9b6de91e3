#!/bin/bash
# Every test that tests/README.md names exists.
set -eu
cd "$SHMKIT_SRCDIR"
names=$(grep -o '`test_[a-z0-9_]*`' tests/README.md | tr -d '`' | sort -u)
test "$(echo "$names" | wc -l)" -gt 30
failed=0
for name in $names; do
    if ! grep -q "^START_TEST($name)" tests/test_*.c; then
        echo "tests/README.md names $name, which does not exist"
        failed=1
    fi
done
echo "$(echo "$names" | wc -l) tests are named"
exit $failed
