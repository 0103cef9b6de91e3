#!/bin/bash
# make lint: what other tools say about the sources. Nothing is to be found; what is left out is
# left out here, with its reason. A tool that is not there is not asked, and that is said.
#
#     tests/lint.sh [TOOL...]      cppcheck clang-tidy analyzer codespell mandoc shellcheck; all
#
# It wants a build tree that is configured: LINT_BUILD, or build/. LINT_JOBS: how many at a time.
# LINT_ONLY: files and folders that clang-tidy and the analyzer read, instead of lib and tools.
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

# ---- Two that follow the ways through a function, of the library and of shmctl ----

# Other versions find other things: those of Debian 12 are asked.
is_of_version() { # VERSION PROGRAM
    "$2" --version 2>/dev/null | grep -qE "(version |\) )$1\." && return
    echo "$2 is not of version $1"
    return 1
}

of_make() { # VARIABLE...
    make -C "$build" -s --no-print-directory --eval="of-make: ; @echo $*" of-make
}

# What is compiled here, and with which flags. tests/lint.h has what is not to be seen in the file.
flags_for() { # FILE
    echo "-std=gnu11 -include $build/config.h -Ilib -D_GNU_SOURCE= -DSHMKIT_LIBEXECDIR=__FILE__"
    echo "$found_flags"
    case $1 in
    lib/etcd/*) echo '-DLINT_ETCD' ;;
    esac
    case $1 in
    lib/*) echo "-include tests/lint.h -DLINT_IN_$(echo "${1%.c}" | tr / _)" ;;
    esac
}
analyse() { # FUNCTION
    local without=none
    test -z "$(of_make '$(WITH_ETCD_TRUE)')" || without=lib/etcd/
    found_flags=$(of_make '$(SMARTCOLS_CFLAGS) $(NCURSESW_CFLAGS) $(ETCD_CFLAGS)')
    export build found_flags
    export -f flags_for tidy_one analyse_one
    find ${LINT_ONLY:-lib tools} -name '*.c' ! -path 'lib/python/*' | grep -v "^$without" |
        xargs -P "$jobs" -n 1 bash -c "$1"' "$0"' | sed "s,^$PWD/,," | LC_ALL=C sort -u
}

# Left out: what the C library that there is does not have (Annex K), and an order of members that
# takes less memory; strerror(3) and readdir(3), which are safe with threads as they are used here;
# arguments of one type beside each other; SHK_SEC(), which has two branches that are the same for
# some types; sizeof of a pointer, where an array has pointers; a cast of a sum for printf(3), whose
# type is as wide.
tidy_checks='bugprone-*,concurrency-*,clang-analyzer-*'
tidy_checks+=',-clang-analyzer-security.insecureAPI.*,-clang-analyzer-optin.performance.Padding'
tidy_checks+=,-concurrency-mt-unsafe,-bugprone-easily-swappable-parameters
tidy_checks+=,-bugprone-branch-clone,-bugprone-sizeof-expression,-bugprone-misplaced-widening-cast
export tidy_checks

# shellcheck disable=SC2046 # several words
tidy_one() {
    clang-tidy --quiet --checks="-*,$tidy_checks" "$1" -- $(flags_for "$1") 2>/dev/null |
        grep -E ': (warning|error): '
}
# A finding without a line is one of cc1: it is given the file's name.
# shellcheck disable=SC2046 # several words
analyse_one() {
    gcc -fanalyzer $(flags_for "$1") -O1 -c -o /dev/null "$1" 2>&1 |
        sed -n "/: \(warning\|error\): /s,^cc1: ,$1: ,p; t; /: \(warning\|error\): /p"
}

# But for what is accepted: in FILE, or all files of FOLDER/, this CHECK, because of what follows.
accept() {
    awk 'NR == FNR { if (NF) accepted[$1, $2]; next }
        {
            file = substr($1, 1, index($1, ":") - 1)
            check = $NF
            gsub(/[][]/, "", check)
            folder = file
            sub("[^/]*$", "", folder)
            if (!((file, check) in accepted) && !((folder, check) in accepted))
                print
        }' <(echo "$1") -
}

tidy_accepted='
lib/etcd/ clang-analyzer-core.CallAndMessage what calls of other files give if they give no error
lib/etcd/ clang-analyzer-core.NonNullParamChecker the same
lib/etcd/ clang-analyzer-core.NullDereference the same, and lists: what is taken out is in it
lib/etcd/ clang-analyzer-core.UndefinedBinaryOperatorResult as the first
lib/etcd/ clang-analyzer-core.uninitialized.Assign as the first
lib/etcd/ clang-analyzer-core.uninitialized.Branch as the first
lib/etcd/ clang-analyzer-core.uninitialized.UndefReturn as the first
lib/etcd/ clang-analyzer-unix.Malloc lists: what is freed has been taken out
lib/object/object.h clang-analyzer-core.UndefinedBinaryOperatorResult 1 of try(): it is set
lib/object/rwlock_kind.c clang-analyzer-core.NullDereference SHKI_REMOTE: there is a segment
lib/object/semaphore_kind.c clang-analyzer-core.NullDereference the same
lib/queue/kind.c clang-analyzer-core.NullDereference the same
lib/queue/geometry.c clang-analyzer-core.DivideZero slots have a size; only chunks have none
lib/queue/stack.c clang-analyzer-core.NonNullParamChecker 1 of make_room(): there is a slot
lib/segment/layout.h clang-analyzer-core.DivideZero no caller rounds up to 0
lib/segment/map.h clang-analyzer-core.NullDereference 0: there is a segment
tools/sample.c clang-analyzer-core.UndefinedBinaryOperatorResult no format has a size of 0
'
analyzer_accepted='
lib/etcd/ -Wanalyzer-malloc-leak what has been put into a list, whose head is in another file
lib/base/copy.h -Wanalyzer-null-dereference in stack.c: make_room() returns 1 and a slot
lib/queue/stack.c -Wanalyzer-use-of-uninitialized-value find_record() returns 1 and a word
tools/recording.c -Wanalyzer-file-leak what has a name is opened, and closed
tools/recording.c -Wanalyzer-malloc-leak the same
'

clang_tidy_() {
    analyse tidy_one | accept "$tidy_accepted"
}
analyzer_() {
    analyse analyse_one | accept "$analyzer_accepted"
}

# ---- The others ----

# The words that follow are macros of mdoc, names of programs, and parts of words.
codespell_() {
    codespell -L nd,fo,te,bu,stap,doas,onces,upto,ques,fro,shttp,keep-alives \
        lib tools demos tests debian README.md HACKING NEWS bootstrap configure.ac Makefile.am
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

test $# -gt 0 || set -- cppcheck clang-tidy analyzer codespell mandoc shellcheck
for tool in "$@"; do
    case $tool in
    cppcheck) ask "$tool" cppcheck cppcheck_ ;;
    clang-tidy) is_of_version 14 clang-tidy && ask "$tool" clang-tidy clang_tidy_ ;;
    analyzer) is_of_version 12 gcc && ask "$tool" gcc analyzer_ ;;
    codespell) ask "$tool" codespell codespell_ ;;
    mandoc) ask "$tool" mandoc mandoc_ ;;
    shellcheck) ask "$tool" shellcheck shellcheck_ ;;
    *) echo "lint.sh: there is no tool $tool" >&2 && exit 2 ;;
    esac
done
exit $found
