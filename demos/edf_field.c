#include "edf_field.h"
#include "common.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

const char *edf_field_of(const struct edf *edf, const struct edf_field *field, int signal)
{
    return (const char *)edf->header + EDF_BASE + (size_t)edf->n * field->at +
           (size_t)signal * field->width;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\0' || c == '\t' || c == '\r' || c == '\n';
}

size_t edf_trim(const char **text, size_t length)
{
    while (length > 0 && is_blank((*text)[length - 1]))
        length--;
    while (length > 0 && is_blank(**text)) {
        ++*text;
        length--;
    }
    return length;
}

static bool is_utf8(const char *text, size_t length)
{
    mbstate_t state = {0};

    while (length > 0) {
        size_t n = mbrtowc(NULL, text, length, &state);

        if (n == 0 || n > length)
            return false;
        text += n;
        length -= n;
    }
    return true;
}

char *edf_text_of(const char *field, size_t width)
{
    char utf8[2 * EDF_OF_A_SIGNAL], *end = utf8;
    size_t length = edf_trim(&field, width);

    if (is_utf8(field, length))
        return printable(field, length);
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)field[i];

        if (c >= 0x80)
            *end++ = (char)(0xC0 | c >> 6);
        *end++ = (char)(c >= 0x80 ? 0x80 | (c & 0x3F) : c);
    }
    return printable(utf8, (size_t)(end - utf8));
}

bool edf_number(const char *field, size_t width, double *number)
{
    char text[32], *end;
    size_t length = edf_trim(&field, width);

    if (length == 0 || length >= sizeof(text))
        return false;
    memcpy(text, field, length);
    text[length] = '\0';
    if (strspn(text, "+-0123456789.,eE") != length)
        return false;
    for (char *comma = strchr(text, ','); comma; comma = strchr(comma, ','))
        *comma = '.';
    *number = strtod(text, &end);
    return *end == '\0' && isfinite(*number);
}

void edf_complain(const struct edf *edf, int signal, const char *format, ...)
{
    char sentence[400];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    if (signal < 0)
        complain("%s: %s", edf->path, sentence);
    else
        complain("%s: signal %d '%s': %s", edf->path, signal + 1, edf->signals[signal].label,
                 sentence);
}

void edf_complain_of_field(const struct edf *edf, int signal, const struct edf_field *field,
                           const char *text, const char *wanted)
{
    char *found = edf_text_of(text, field->width);

    if (found)
        edf_complain(edf, signal, "its %s is '%s', not %s", field->name, found, wanted);
    free(found);
}
