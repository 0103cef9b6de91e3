#!/bin/bash
# No line has more than 100 characters, and the C sources are as clang-format 14 leaves them.
#
#     tests/format.sh [FILE-OR-FOLDER...]
set -u
cd "${SHMKIT_SRCDIR:-$(dirname "$0")/..}" || exit 1
skip() {
    echo "SKIPPED: $1"
    test -z "${TEST_CONSOLE-}" || echo "SKIPPED tests/format.sh: $1" >&"$TEST_CONSOLE"
    exit 77
}

if test $# = 0; then
    set -- lib tools demos tests bootstrap .ci Makefile.am
fi
test -d .ci || set -- "${@/#.ci/bootstrap}" # the tarball does not have it
mapfile -t files < <(find "$@" -type f \( -name '*.[ch]' -o -name '*.cc' -o -name '*.sh' -o \
    -name '*.pml' -o -name '*.am' -o -name '*.py' -o -name '*.map' -o \
    -name bootstrap -o -path '*/completion/*' -o -path .ci/run \) | sort -u)
mapfile -t sources < <(printf '%s\n' "${files[@]}" | grep -E '\.(c|h|cc)$')
if test ${#files[@]} = 0; then
    echo "there are no files"
    exit 1
fi
failed=0

too_long='^.{101}'
if LC_ALL=C.UTF-8 grep -nHE "$too_long" "${files[@]}" |
    sed 's/^\([^:]*:[0-9]*\):.*/\1: more than 100 columns/' | grep .; then
    failed=1
fi

format=
for name in clang-format-14 clang-format; do
    if "$name" --version 2>/dev/null | grep -q 'version 14\.'; then
        format=$name
        break
    fi
done
if test -n "$format" && test ${#sources[@]} -gt 0; then
    "$format" --dry-run -Werror --ferror-limit=3 "${sources[@]}" 2>&1 || failed=1
fi
test $failed = 0 || exit 1
test -n "$format" || skip "there is no clang-format 14 (Debian package: clang-format)"
echo "${#files[@]} files, ${#sources[@]} of them as $format leaves them"
