#include "fit.h"
#include "common.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

/* One character at c: its bytes, and the columns of a terminal that it takes. */
static size_t next_character(const char *c, mbstate_t *state, int *width)
{
    wchar_t wide;
    size_t n = mbrtowc(&wide, c, strlen(c), state);

    if (n == (size_t)-1 || n == (size_t)-2 || n == 0) {
        memset(state, 0, sizeof(*state));
        *width = 1;
        return 1;
    }
    *width = wcwidth(wide);
    if (*width < 0)
        *width = 1;
    return n;
}

int text_width(const char *text, int max, size_t *bytes)
{
    mbstate_t state = {0};
    int width = 0;
    const char *c = text;

    while (*c) {
        int w;
        size_t n = next_character(c, &state, &w);

        if (width + w > max)
            break;
        width += w;
        c += n;
    }
    *bytes = (size_t)(c - text);
    return width;
}

static bool belongs_to_number(const char *text, size_t at)
{
    if (isdigit((unsigned char)text[at]))
        return true;
    return at > 0 && text[at] && strchr(".,:/-", text[at]) &&
           isdigit((unsigned char)text[at - 1]) && isdigit((unsigned char)text[at + 1]);
}

/*
 * Where a cut at `at` has to go so that no number is left half: half of 7882 would be another
 * process. A letter or a sign that follows a digit is its unit. The blank and the parenthesis in
 * front of what is left out go with it.
 */
static size_t before_number(const char *text, size_t at)
{
    bool inside =
        at > 0 && belongs_to_number(text, at - 1) && text[at] &&
        (belongs_to_number(text, at) || isalpha((unsigned char)text[at]) || text[at] == '%');

    while (inside && at > 0 && belongs_to_number(text, at - 1))
        at--;
    if (at > 0 && text[at - 1] == '(')
        at--;
    if (at > 1 && text[at - 1] == ' ' && text[at - 2] != ' ')
        at--;
    return at;
}

static const char *ellipsis(void)
{
    size_t bytes;

    return MB_CUR_MAX > 1 && text_width("…", 2, &bytes) == 1 ? "…" : "+";
}

char *text_to_fit(const char *text, int width)
{
    size_t bytes;

    text_width(text, width, &bytes);
    if (!text[bytes])
        return print_to_memory("%s", text);
    if (width < 1)
        return print_to_memory("%s", "");
    text_width(text, width - 1, &bytes);
    bytes = before_number(text, bytes);
    return print_to_memory("%.*s%s", (int)bytes, text, ellipsis());
}
