#include "etcd/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void shke_buffer_free(struct shke_buffer *b)
{
    free(b->bytes);
    *b = (struct shke_buffer){0};
}

/* Room for so many more, and a zero. */
static char *extend(struct shke_buffer *b, size_t more)
{
    size_t room = b->room ? b->room : 512;
    char *bytes;

    while (room - b->length <= more)
        room *= 2;
    if (b->failed || room == b->room)
        return b->failed ? NULL : b->bytes + b->length;
    bytes = realloc(b->bytes, room);
    if (bytes == NULL) {
        b->failed = true;
        return NULL;
    }
    b->bytes = bytes;
    b->room = room;
    return b->bytes + b->length;
}

void shke_add(struct shke_buffer *b, const void *bytes, size_t length)
{
    char *to = extend(b, length);

    if (to == NULL)
        return;
    if (length > 0)
        memcpy(to, bytes, length);
    to[length] = '\0';
    b->length += length;
}

void shke_add_string(struct shke_buffer *b, const char *string)
{
    shke_add(b, string, strlen(string));
}

void shke_addf(struct shke_buffer *b, const char *format, ...)
{
    char text[512];
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof(text))
        b->failed = true;
    else
        shke_add(b, text, (size_t)length);
}

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void shke_add_base64(struct shke_buffer *b, const void *bytes, size_t length)
{
    const unsigned char *from = bytes;
    size_t coded = (length + 2) / 3 * 4;
    char *to = extend(b, coded);

    if (to == NULL)
        return;
    for (; length >= 3; length -= 3, from += 3) {
        *to++ = digits[from[0] >> 2];
        *to++ = digits[(from[0] & 3) << 4 | from[1] >> 4];
        *to++ = digits[(from[1] & 15) << 2 | from[2] >> 6];
        *to++ = digits[from[2] & 63];
    }
    if (length > 0) {
        unsigned second = length == 2 ? from[1] : 0;

        *to++ = digits[from[0] >> 2];
        *to++ = digits[(from[0] & 3u) << 4 | second >> 4];
        *to = '=';
        if (length == 2)
            *to = digits[(second & 15) << 2];
        *++to = '=';
        to++;
    }
    *to = '\0';
    b->length += coded;
}

void shke_add_json_string(struct shke_buffer *b, const char *text)
{
    shke_add(b, "\"", 1);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            shke_add(b, "\\", 1);
        if ((unsigned char)*text < 0x20)
            shke_addf(b, "\\u%04x", (unsigned)*text);
        else
            shke_add(b, text, 1);
    }
    shke_add(b, "\"", 1);
}

static int value_of(char digit)
{
    if (digit >= 'A' && digit <= 'Z')
        return digit - 'A';
    if (digit >= 'a' && digit <= 'z')
        return digit - 'a' + 26;
    if (digit >= '0' && digit <= '9')
        return digit - '0' + 52;
    return digit == '+' ? 62 : digit == '/' ? 63 : -1;
}

ptrdiff_t shke_decode_base64(unsigned char *to, const char *base64, size_t length)
{
    unsigned char *start = to;
    uint32_t bits = 0;
    unsigned n = 0;

    while (length > 0 && base64[length - 1] == '=')
        length--;
    for (; length > 0; length--, base64++) {
        int value = value_of(*base64);

        if (value < 0)
            return -1;
        bits = bits << 6 | (uint32_t)value;
        if (++n == 4) {
            *to++ = (unsigned char)(bits >> 16);
            *to++ = (unsigned char)(bits >> 8);
            *to++ = (unsigned char)bits;
            n = 0;
        }
    }
    if (n == 1)
        return -1;
    if (n >= 2)
        *to++ = (unsigned char)(bits >> (n == 2 ? 4 : 10));
    if (n == 3)
        *to++ = (unsigned char)(bits >> 2);
    return to - start;
}
