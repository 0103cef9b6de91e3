#!/bin/bash
# make abi-check: the library against what was recorded of a released one: no function, constant,
# struct or member that a program uses has gone or changed. New functions are no findings.
#
#     tests/abi/check.sh LIBRARY            compares, with each recorded dump
#     tests/abi/check.sh --record LIBRARY VERSION     records
#
# LIBRARY is built with -g. By abidiff and abidw (Debian package: abigail-tools).
set -euo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)
dumps=$source/tests/abi
if ! command -v abidiff >/dev/null; then
    echo "SKIPPED: abi-check: there is no abidiff (Debian package: abigail-tools)"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Where the library and the tree lie is not of the interface.
dump() { # LIBRARY FILE
    abidw --exported-interfaces-only --drop-private-types \
        --suppressions "$dumps/private.abignore" --no-corpus-path \
        --no-comp-dir-path --no-show-locs --type-id-style hash --no-parameter-names \
        --out-file "$2" "$1"
}

if test "${1-}" = --record; then
    dump "$2" "$dumps/shmkit-$3.abi"
    echo "recorded: $dumps/shmkit-$3.abi"
    exit
fi

dump "$1" "$work/now.abi"
compared=0
for recorded in "$dumps"/shmkit-*.abi; do
    test -f "$recorded" || break
    status=0
    abidiff --suppressions "$dumps/reserved.abignore" --no-added-syms \
        "$recorded" "$work/now.abi" >"$work/report" 2>&1 || status=$?
    if test $status != 0; then
        cat "$work/report"
        echo "abi-check: the library is not what ${recorded##*/} says (abidiff: $status)"
        exit 1
    fi
    echo "abi-check: as in ${recorded##*/}, with $(grep -c '<elf-symbol ' "$work/now.abi") symbols"
    compared=$((compared + 1))
done
test $compared -gt 0 || { echo "abi-check: nothing is recorded in tests/abi" && exit 1; }
