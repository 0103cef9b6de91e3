#!/bin/bash
# The example at the top of each public header compiles without a warning, with what that header
# alone declares; so do the examples of the man pages of the library, all of a page as one function.
set -u
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
checked=0 failed=0

# The first paragraph that is indented; a line of … stands for what the reader would put there.
example_of_header() { # HEADER
    awk '/^ \*\/$/ { exit }
        /^ \*$/ { if (inside) exit; after_blank = 1; next }
        after_blank && /^ \*     / { inside = 1 }
        inside { sub(/^ \*     /, ""); sub(/…$/, ";"); print }
        { after_blank = 0 }' "$1"
}

example_of_page() { # PAGE
    awk '/^\.Sh / { inside = $2 == "EXAMPLES"; next }
        /^\.Ed/ { literal = 0 }
        inside && literal { gsub(/\\e/, "\\"); print }
        /^\.Bd -literal/ { literal = 1 }' "$1"
}

compile() { # NAME HEADER; the example is in $work/example
    if ! test -s "$work/example"; then
        failed=$((failed + 1))
        echo "FAILED: $1 has no example"
        return
    fi
    checked=$((checked + 1))
    {
        echo "#include <$2>"
        cat - "$work/example" <<'END'
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <sys/types.h>
extern struct shk_segment *bank, *race, *s;
extern struct shk_queue *jobs, *orders;
extern struct shk_event *stop;
extern struct { int64_t balance; int32_t paid_in; } *account;
extern char item[64];
extern ssize_t n;
void put_the_till_in_order(void);
void deliver(const void *order);
void download(void);
void plot(const double *samples, ssize_t n);
void work_on(const char *item, ssize_t length);
int is_done(const char *item, ssize_t length);
void example(void);
void example(void)
{
END
        echo "}"
    } >"$work/example.c"
    # CC may be several words
    $CC -std=c11 -D_DEFAULT_SOURCE -Wall -Wextra -Werror -fsyntax-only -I. "$work/example.c" || {
        failed=$((failed + 1))
        echo "FAILED: the example of $1"
        cat -n "$work/example.c"
    }
}

cd "$SHMKIT_SRCDIR/lib" || exit 1
for header in shmkit/*.h; do
    test "$header" = shmkit/common.h && continue # is no thing of its own
    example_of_header "$header" >"$work/example"
    compile "<$header>" "$header"
done
for page in man/*.3; do
    example_of_page "$page" >"$work/example"
    compile "$page" shmkit.h
done
echo "$checked examples, $failed failed"
test $failed = 0 && test $checked -gt 0
