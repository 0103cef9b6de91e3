#!/bin/bash
# Each public header compiles as the only one of a program, twice in a row, as strict C11 and as
# strict C++11, with every warning an error, without the build's own definitions.
set -u
flags="-fsyntax-only -Wall -Wextra -pedantic -Werror -Wstrict-prototypes -I$SHMKIT_SRCDIR/lib"
checked=0 failed=0

compile() { # LANGUAGE-NAME HEADER COMMAND...
    local name=$1 header=$2
    shift 2
    checked=$((checked + 1))
    printf '#include <%s>\n#include <%s>\nint shk_alone;\n' "$header" "$header" | "$@" - || {
        failed=$((failed + 1))
        echo "FAILED: <$header> alone as $name"
    }
}

cd "$SHMKIT_SRCDIR/lib" || exit 1
for header in shmkit.h shmkit/*.h; do
    # CC and CXX may be several words
    compile C11 "$header" $CC -std=c11 $flags -x c
    if test -n "$CXX"; then
        compile C++11 "$header" $CXX -std=c++11 ${flags/-Wstrict-prototypes/} -x c++
    fi
done
test -n "$CXX" || echo "no C++ compiler: as C only"
echo "$checked compiled, $failed failed"
test $failed = 0 && test $checked -gt 0
