#include "printable.h"
#include "common.h"

#include <stdint.h>
#include <string.h>

/* How many bytes a character of UTF-8 has that is no control character; 0: it is none. */
static size_t character_length(const unsigned char *at, size_t left)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = *at < 0x80                   ? 1
               : *at >= 0xc2 && *at <= 0xdf ? 2
               : (*at & 0xf0) == 0xe0       ? 3
               : *at >= 0xf0 && *at <= 0xf4 ? 4
                                            : 0;
    uint32_t value = n > 1 ? *at & (0xffu >> (n + 1)) : *at;

    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (at[i] & 0x3fu);
    }
    if (value < ' ' || (value >= 0x7f && value < 0xa0) || value == '\\' || value < least[n] ||
        (value >= 0xd800 && value < 0xe000) || value > 0x10ffff)
        return 0;
    return n;
}

char *to_printable(const unsigned char *bytes, size_t length)
{
    char *text = allocate(length * 4 + 1, 1), *to = text;

    for (size_t i = 0, n; i < length; i += n ? n : 1) {
        n = character_length(bytes + i, length - i);
        if (n)
            to = mempcpy(to, bytes + i, n);
        else if (bytes[i] == '\\')
            to = stpcpy(to, "\\\\");
        else
            to += sprintf(to, "\\x%02x", bytes[i]);
    }
    return text;
}
