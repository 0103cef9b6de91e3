#!/bin/bash
# The library exports what lib/shmkit.map names, the map names what the public headers declare, and
# no more.
set -u
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
library=$SHMKIT_TESTDIR/../.libs/libshmkit.so
failed=0
test -e "$library" || { echo "no shared library was built"; exit 77; }

same() { # WHAT FILE WHAT FILE
    if ! diff "$2" "$4" >"$work/diff"; then
        sed -n "s/^</only $1:/p; s/^>/only $3:/p" "$work/diff"
        failed=1
    fi
}

sed 's,/\*.*\*/,,; s,#.*,,' "$SHMKIT_SRCDIR/lib/shmkit.map" |
    grep -oE '\<shk_[a-z0-9_]+' | sort -u >"$work/map"

nm -D --defined-only "$library" |
    awk '$2 ~ /[A-Z]/ && $2 != "A" { sub("@.*", "", $3); print $3 }' |
    sort -u >"$work/library"
same "in lib/shmkit.map" "$work/map" "in the library" "$work/library"

# The functions, as the compiler saw them: gcc writes them down, others are not asked.
for header in "$SHMKIT_SRCDIR"/lib/shmkit/*.h; do
    echo "#include \"$header\""
done | $CC -std=c11 -fsyntax-only -I"$SHMKIT_SRCDIR/lib" \
    -aux-info "$work/prototypes" -x c - 2>/dev/null
if test -s "$work/prototypes"; then
    grep -v ' static ' "$work/prototypes" |
        grep -oE '\<shk_[a-z0-9_]+ \(' | tr -d ' (' | sort -u >"$work/headers"
    same "in the headers" "$work/headers" "in lib/shmkit.map" "$work/map"
fi
echo "$(wc -l <"$work/map") functions"
exit $failed
