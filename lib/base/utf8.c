#include "base/utf8.h"

#include <string.h>

size_t shki_utf8_length(const unsigned char *s, size_t n)
{
    size_t length = s[0] < 0x80                    ? 1
                    : s[0] >= 0xc2 && s[0] <= 0xdf ? 2
                    : (s[0] & 0xf0) == 0xe0        ? 3
                    : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
                                                   : 0;

    if (length == 0 || length > n)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return length;
}

bool shki_utf8_is_control(const unsigned char *s, size_t length)
{
    return (length == 1 && (s[0] < 0x20 || s[0] == 0x7f)) ||
           (length == 2 && s[0] == 0xc2 && s[1] < 0xa0);
}

void shki_copy_label(char *to, size_t size, const char *from, size_t length)
{
    size_t n = strnlen(from, length), used = 0;

    for (const unsigned char *s = (const unsigned char *)from; n > 0;) {
        size_t l = shki_utf8_length(s, n);
        bool bad = l == 0 || shki_utf8_is_control(s, l);

        if (used + (bad ? 1 : l) >= size)
            break;
        if (bad)
            to[used++] = '?';
        else
            memcpy(to + used, s, l), used += l;
        s += l ? l : 1;
        n -= l ? l : 1;
    }
    to[used] = '\0';
}
