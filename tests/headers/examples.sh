#!/bin/bash
# The example at the top of each public header compiles without a warning, with what that header alone declares.
set -u
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
checked=0 failed=0

# The first paragraph that is indented; a line of … stands for what the reader would put there.
example_of() { # HEADER
    awk '/^ \*\/$/ { exit }
        /^ \*$/ { if (inside) exit; after_blank = 1; next }
        after_blank && /^ \*     / { inside = 1 }
        inside { sub(/^ \*     /, ""); sub(/…$/, ";"); print }
        { after_blank = 0 }' "$1"
}

cd "$SHMKIT_SRCDIR/lib" || exit 1
for header in shmkit/*.h; do
    test "$header" = shmkit/common.h && continue # is no thing of its own
    example_of "$header" >"$work/example"
    if ! test -s "$work/example"; then
        failed=$((failed + 1))
        echo "FAILED: <$header> has no example"
        continue
    fi
    checked=$((checked + 1))
    {
        echo "#include <$header>"
        cat - "$work/example" <<'END'
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <sys/types.h>
extern struct shk_segment *bank, *race, *s;
extern struct { int64_t balance; int32_t paid_in; } *account;
extern ssize_t n;
void put_the_till_in_order(void);
void download(void);
void plot(const double *samples, ssize_t n);
void example(void);
void example(void)
{
END
        echo "}"
    } >"$work/example.c"
    # CC may be several words
    $CC -std=c11 -D_DEFAULT_SOURCE -Wall -Wextra -Werror -fsyntax-only -I. "$work/example.c" || {
        failed=$((failed + 1))
        echo "FAILED: the example of <$header>"
        cat -n "$work/example.c"
    }
done
echo "$checked examples, $failed failed"
test $failed = 0 && test $checked -gt 0
