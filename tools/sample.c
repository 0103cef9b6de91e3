#include "sample.h"
#include "common.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct format formats[] = {
    {"double", FLOATING, 8}, {"float", FLOATING, 4},  {"int64", SIGNED, 8},
    {"int32", SIGNED, 4},    {"int16", SIGNED, 2},    {"int8", SIGNED, 1},
    {"uint64", UNSIGNED, 8}, {"uint32", UNSIGNED, 4}, {"uint16", UNSIGNED, 2},
    {"uint8", UNSIGNED, 1},  {"text", TEXT, 1},       {"raw", RAW, 1},
};

const struct format *lookup_format(const char *name)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
        if (strcmp(formats[i].name, name) == 0)
            return &formats[i];
    }
    return NULL;
}

const struct format *find_format(const char *name)
{
    const struct format *found = lookup_format(name);

    if (!found)
        usage_error("unknown format '%s'; known: double, float, int64, int32, int16, int8, uint64, "
                    "uint32, uint16, uint8, text, raw",
                    name);
    return found;
}

/* The low bytes of a number are not its first ones everywhere. */
static void store(void *at, size_t size, int64_t number)
{
    if (size == 8)
        memcpy(at, &number, 8);
    else if (size == 4)
        memcpy(at, &(int32_t){(int32_t)number}, 4);
    else if (size == 2)
        memcpy(at, &(int16_t){(int16_t)number}, 2);
    else
        memcpy(at, &(int8_t){(int8_t)number}, 1);
}

/* Both: whether the number fits. */
static bool parse_floating(const char *text, char **end, const struct format *format, void *at)
{
    double value = strtod(text, end);

    if (format->size == sizeof(float))
        memcpy(at, &(float){(float)value}, sizeof(float));
    else
        memcpy(at, &value, sizeof(value));
    return true;
}

static bool parse_integer(const char *text, char **end, const struct format *format, void *at)
{
    int bits = (int)format->size * 8;
    int64_t number;

    errno = 0;
    if (format->kind == SIGNED) {
        number = strtoll(text, end, 0);
        store(at, format->size, number);
        return errno == 0 && number >= INT64_MIN >> (64 - bits) &&
               number <= INT64_MAX >> (64 - bits);
    }
    number = (int64_t)strtoull(text, end, 0);
    store(at, format->size, number);
    return errno == 0 && *text != '-' && (uint64_t)number <= UINT64_MAX >> (64 - bits);
}

/* A line, without its end; what is left of the sample is zeros. */
static bool parse_text(const char *text, const char *where, unsigned char *sample,
                       size_t sample_size)
{
    size_t length = strcspn(text, "\n");

    if (length > sample_size) {
        complain(where, "the text has %zu bytes; a sample has room for %zu", length, sample_size);
        return false;
    }
    memset(sample, 0, sample_size);
    memcpy(sample, text, length);
    return true;
}

bool parse_sample(const char *text, const char *where, const struct format *format,
                  unsigned char *sample, size_t sample_size)
{
    size_t values = sample_size / format->size;

    if (format->kind == TEXT)
        return parse_text(text, where, sample, sample_size);
    for (size_t i = 0; i < values; i++) {
        char *end = NULL; /* both parsers set it */
        bool fits;

        while (isspace((unsigned char)*text) || (*text == ',' && i))
            text++;
        fits = (format->kind == FLOATING ? parse_floating : parse_integer)(
            text, &end, format, sample + i * format->size);
        if (end == text || !fits || (*end && *end != ',' && !isspace((unsigned char)*end))) {
            complain(where, "invalid %s '%.*s'%s; a sample has %zu value%s", format->name,
                     (int)strcspn(text, ", \t\n"), text,
                     end == text || fits ? "" : ", or out of range", values,
                     values == 1 ? "" : "s");
            return false;
        }
        text = end;
    }
    while (isspace((unsigned char)*text))
        text++;
    if (*text)
        complain(where, "extra value '%.*s'; a sample has %zu of format %s",
                 (int)strcspn(text, "\n"), text, values, format->name);
    return !*text;
}

/* As few digits as give the same number back. */
static void print_floating(FILE *to, double value, int digits, int enough, bool is_float)
{
    char text[40];

    for (; digits <= enough; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (is_float ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value)
            break;
    }
    fputs(text, to);
}

static int64_t load_signed(const unsigned char *at, size_t size)
{
    int64_t wide;
    int32_t n32;
    int16_t n16;

    if (size == 8)
        return memcpy(&wide, at, 8), wide;
    if (size == 4)
        return memcpy(&n32, at, 4), n32;
    if (size == 2)
        return memcpy(&n16, at, 2), n16;
    return (int8_t)*at;
}

static void print_value(FILE *to, const struct format *format, const unsigned char *at)
{
    double wide;
    float narrow;

    if (format->kind == FLOATING && format->size == sizeof(narrow)) {
        memcpy(&narrow, at, sizeof(narrow));
        print_floating(to, (double)narrow, 6, 9, true);
    } else if (format->kind == FLOATING) {
        memcpy(&wide, at, sizeof(wide));
        print_floating(to, wide, 15, 17, false);
    } else if (format->kind == SIGNED) {
        fprintf(to, "%" PRId64, load_signed(at, format->size));
    } else {
        fprintf(to, "%" PRIu64,
                (uint64_t)load_signed(at, format->size) & UINT64_MAX >> (64 - 8 * format->size));
    }
}

void print_sample(FILE *to, const struct format *format, const unsigned char *sample,
                  size_t sample_size)
{
    if (format->kind == RAW) {
        fwrite(sample, sample_size, 1, to);
        return;
    }
    if (format->kind == TEXT)
        fwrite(sample, strnlen((const char *)sample, sample_size), 1, to);
    for (size_t at = 0; format->kind != TEXT && at < sample_size; at += format->size) {
        if (at)
            putc(' ', to);
        print_value(to, format, sample + at);
    }
    putc('\n', to);
}
