#!/bin/bash
# make lint: what other tools say about the sources. Nothing is to be found; what is left out is
# left out here, with its reason. A tool that is not there is not asked, and that is said.
#
#     tests/lint.sh [TOOL...]      cppcheck codespell mandoc shellcheck; all
#
# It wants a build tree that is configured: LINT_BUILD, or build/. LINT_JOBS: how many at a time.
set -u
cd "${SHMKIT_SRCDIR:-$(dirname "$0")/..}" || exit 1
build=${LINT_BUILD:-$PWD/build}
jobs=${LINT_JOBS:-$(getconf _NPROCESSORS_ONLN)}
test -f "$build/config.h" || { echo "there is no $build/config.h: configure first" >&2 && exit 1; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

sources=$(find lib tools demos -name '*.c' ! -path 'lib/python/*' | LC_ALL=C sort)
# But for pages that lead to another one.
pages=$(find lib tools demos -name '*.[137]' | LC_ALL=C sort | xargs grep -L '^\.so ')
scripts=$(find bootstrap .ci debian/tests tests demos -type f | LC_ALL=C sort |
    xargs grep -lE '^#!/bin/(ba)?sh|^# shellcheck shell=')

# internalAstError: cppcheck does not understand _Generic, which SHK_SEC() is made of.
cppcheck_() {
    # shellcheck disable=SC2086 # several words
    cppcheck -q -j "$jobs" --std=c11 --enable=warning,performance,portability --inline-suppr \
        -Ilib -I"$build" --include="$build/config.h" -D_GNU_SOURCE= --template=gcc \
        --suppress=missingIncludeSystem --suppress=internalAstError $sources 2>&1 |
        grep -E ': (warning|error|performance|portability):'
}

# The words that follow are macros of mdoc, names of programs, and parts of words.
codespell_() {
    codespell -L nd,fo,te,bu,stap,doas,onces,upto,ques,fro lib tools demos tests debian \
        README.md HACKING NEWS bootstrap configure.ac Makefile.am
}

# Other manual pages need not be installed. A sentence is a line, however long.
mandoc_() {
    # shellcheck disable=SC2086 # several words
    mandoc -Tlint -Wstyle $pages 2>/dev/null |
        grep -v 'referenced manual not found\|input text line longer'
}

# SC2046: words that are to be split. SC2154, SC2034: what a script and the one that it reads by "."
# know of each other. SC1087, SC2010, SC2254: patterns and names of the tests' own. SC1010: "done"
# is a verb of shmctl once.
shellcheck_() {
    # shellcheck disable=SC2086 # several words
    shellcheck -x -S warning -e SC2046,SC2154,SC2034,SC1087,SC2010,SC2254,SC1010 -f gcc $scripts
}

found=0
ask() { # TOOL PROGRAM FUNCTION
    command -v "$2" >/dev/null || { echo "$1: there is no $2, it is not asked" && return; }
    "$3" >"$work/found"
    if test -s "$work/found"; then
        cat "$work/found"
        echo "$1: $(wc -l <"$work/found") findings"
        found=1
    else
        echo "$1: no findings"
    fi
}

test $# -gt 0 || set -- cppcheck codespell mandoc shellcheck
for tool in "$@"; do
    case $tool in
    cppcheck) ask "$tool" cppcheck cppcheck_ ;;
    codespell) ask "$tool" codespell codespell_ ;;
    mandoc) ask "$tool" mandoc mandoc_ ;;
    shellcheck) ask "$tool" shellcheck shellcheck_ ;;
    *) echo "lint.sh: there is no tool $tool" >&2 && exit 2 ;;
    esac
done
exit $found
