/* shmctl stream: append samples to a stream, read them, as text or as they are. */
#include "common.h"
#include "open.h"
#include "output.h"
#include "shmctl.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_SIZE ((size_t)64 << 10)

/* ---- values as text ---- */

enum kind { FLOATING, SIGNED, UNSIGNED, RAW };

static const struct format {
    const char *name;
    enum kind kind;
    size_t size; /* of a value; a sample is as many as it has room for */
} formats[] = {
    {"double", FLOATING, 8}, {"float", FLOATING, 4},  {"int64", SIGNED, 8},
    {"int32", SIGNED, 4},    {"int16", SIGNED, 2},    {"int8", SIGNED, 1},
    {"uint64", UNSIGNED, 8}, {"uint32", UNSIGNED, 4}, {"uint16", UNSIGNED, 2},
    {"uint8", UNSIGNED, 1},  {"raw", RAW, 1},
};

static const struct format *find_format(const char *name)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
        if (strcmp(formats[i].name, name) == 0)
            return &formats[i];
    }
    usage_error("unknown format '%s'; known: double, float, int64, int32, int16, int8, uint64, "
                "uint32, uint16, uint8, raw",
                name);
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

/* A sample from its values, with blanks or a comma between them. False after a complaint. */
static bool parse_sample(const char *text, const char *where, const struct format *format,
                         unsigned char *sample, size_t sample_size)
{
    size_t values = sample_size / format->size;

    for (size_t i = 0; i < values; i++) {
        char *end;
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
static void print_floating(double value, int digits, int enough, bool is_float)
{
    char text[40];

    for (; digits <= enough; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (is_float ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value)
            break;
    }
    fputs(text, stdout);
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

static void print_value(const struct format *format, const unsigned char *at)
{
    double wide;
    float narrow;

    if (format->kind == FLOATING && format->size == sizeof(narrow)) {
        memcpy(&narrow, at, sizeof(narrow));
        print_floating((double)narrow, 6, 9, true);
    } else if (format->kind == FLOATING) {
        memcpy(&wide, at, sizeof(wide));
        print_floating(wide, 15, 17, false);
    } else if (format->kind == SIGNED) {
        printf("%" PRId64, load_signed(at, format->size));
    } else {
        printf("%" PRIu64,
               (uint64_t)load_signed(at, format->size) & UINT64_MAX >> (64 - 8 * format->size));
    }
}

/* ---- the two actions ---- */

struct request {
    const struct path *path;
    const struct format *format; /* NULL: double, where that fits */
    char **samples;              /* to append; NULL: from the standard input */
    uint64_t count;              /* to read */
    uint64_t latest;             /* instead: so many, 0: no */
    bool follow;                 /* instead: on and on */
    uint32_t from;
    struct acting acting;
    struct shk_stream *stream;
};

static bool choose_format(struct request *q, size_t sample_size)
{
    if (!q->format && sample_size % sizeof(double) == 0)
        q->format = find_format("double");
    if (!q->format)
        complain(q->path->text,
                 "a sample has %zu bytes, which are not doubles; --format says what they are",
                 sample_size);
    else if (sample_size % q->format->size)
        complain(q->path->text,
                 "a sample has %zu bytes, not a multiple of those of format %s (%zu)", sample_size,
                 q->format->name, q->format->size);
    else if (q->format->kind == RAW && q->samples)
        complain(q->path->text, "samples of format raw come from --stdin");
    else
        return true;
    return false;
}

/* The next sample of the standard input: 1; 0 at its end; -1 after a complaint. */
static int next_sample(const struct request *q, unsigned char *sample, size_t size, uint64_t number)
{
    static char *line;
    static size_t room;
    char where[64];
    size_t n = 0;
    bool any;

    if (let_interrupts_kill(true))
        return 0;
    if (q->format->kind == RAW) {
        n = fread(sample, 1, size, stdin);
        any = n > 0;
    } else {
        any = getline(&line, &room, stdin) >= 0;
    }
    let_interrupts_kill(false);
    if (ferror(stdin)) {
        complain("standard input", "%s", strerror(errno));
        return -1;
    }
    if (!any)
        return 0;
    if (q->format->kind == RAW && n < size) {
        complain("standard input", "incomplete sample at the end: %zu of %zu bytes", n, size);
        return -1;
    }
    snprintf(where, sizeof(where), "line %" PRIu64, number);
    return q->format->kind == RAW || parse_sample(line, where, q->format, sample, size) ? 1 : -1;
}

static int append(struct shk_stream *stream, struct request *q)
{
    size_t size = (size_t)shk_stream_sample_size(stream);
    unsigned char *sample = allocate(1, size);
    uint64_t done = 0;
    int more = 1;
    int r = 0;

    while (r == 0) {
        if (!q->samples)
            more = next_sample(q, sample, size, done + 1);
        else if (*q->samples)
            more = parse_sample(*q->samples, q->path->text, q->format, sample, size) ? 1 : -1;
        else
            more = 0;
        if (more <= 0)
            break;
        r = shk_stream_append(stream, sample, 1);
        done += r == 0;
        q->samples += q->samples != NULL;
    }
    free(sample);
    if ((r < 0 || more < 0) && done)
        complain(q->path->text, "%" PRIu64 " samples were appended before", done);
    return r < 0 ? failed(q->path->text, r) : more < 0 ? STATUS_FAILED : STATUS_DONE;
}

static void print_samples(const struct format *format, const unsigned char *samples, size_t n,
                          size_t size)
{
    if (format->kind == RAW) {
        fwrite(samples, size, n, stdout);
        return;
    }
    for (size_t at = 0; at < n * size; at += format->size) {
        print_value(format, samples + at);
        putchar((at + format->size) % size ? ' ' : '\n');
    }
}

static ssize_t read_some(struct shk_reader *reader, const struct request *q, unsigned char *buffer,
                         uint64_t n)
{
    ssize_t got = shk_reader_read(reader, buffer, (size_t)n, SHK_NOWAIT);

    if (got != -EAGAIN || q->acting.timeout == SHK_NOWAIT)
        return got;
    fflush(stdout); /* its reader shall not wait, too */
    return shk_reader_read(reader, buffer, (size_t)n, q->acting.timeout);
}

static int read_samples(struct shk_reader *reader, const struct request *q, size_t size)
{
    size_t room = size < BUFFER_SIZE ? BUFFER_SIZE / size : 1;
    unsigned char *buffer = allocate(room, size);
    int64_t told = 0;
    ssize_t n = 0;

    for (uint64_t left = q->count; (left || q->follow) && !ferror(stdout); left -= (uint64_t)n) {
        n = read_some(reader, q, buffer, q->follow || left > room ? room : left);
        if (n < 0)
            break;
        if (shk_reader_dropped(reader) > told)
            complain(q->path->text,
                     "%" PRId64 " samples were overwritten before they could be read",
                     shk_reader_dropped(reader) - told);
        told = shk_reader_dropped(reader);
        print_samples(q->format, buffer, (size_t)n, size);
        if (q->follow)
            left = UINT64_MAX;
    }
    free(buffer);
    if (n == -EINTR && output_is_gone())
        return output_failed(-EPIPE);
    return n < 0 ? failed_to_wait(q->path, &q->acting, (int)n, "there are no new samples")
                 : STATUS_DONE;
}

static int read_latest(struct shk_reader *reader, const struct request *q, size_t size,
                       size_t history)
{
    size_t room = q->latest < history ? (size_t)q->latest : history;
    unsigned char *buffer = allocate(room, size);
    ssize_t n = shk_reader_latest(reader, buffer, room);

    if (n > 0)
        print_samples(q->format, buffer, (size_t)n, size);
    free(buffer);
    return n < 0 ? failed(q->path->text, (int)n) : STATUS_DONE;
}

static int read_stream(struct shk_stream *stream, const struct request *q)
{
    size_t size = (size_t)shk_stream_sample_size(stream);
    struct shk_reader *reader = NULL;
    int status;
    int r = shk_reader_open(stream, q->from, &reader);

    if (r < 0)
        return failed(q->path->text, r);
    output_watch();
    status = q->latest ? read_latest(reader, q, size, (size_t)shk_stream_history(stream))
                       : read_samples(reader, q, size);
    if (fflush(stdout) != 0 && output_is_gone())
        status = output_failed(-EPIPE);
    shk_reader_close(reader);
    return status;
}

/* ---- */

/* One that is created has samples of one value. */
static int open_stream(struct shk_segment *segment, const char *name, unsigned flags, void *to)
{
    struct request *q = to;
    struct shk_stream_options options = {.sample_size = sizeof(double)};

    if (q->format && q->format->kind != RAW)
        options.sample_size = q->format->size;
    return shk_stream_open(segment, name, flags, flags & SHK_CREATE ? &options : NULL, &q->stream);
}

static int act(const struct path *path, bool appends, struct request *q)
{
    struct opening opening = {
        .path = path, .flags = q->acting.flags, .kind = "stream", .open = open_stream, .to = q};
    struct shk_segment *segment = NULL;
    int status = open_object(&opening, &segment);

    q->path = path;
    if (status == STATUS_DONE && !choose_format(q, (size_t)shk_stream_sample_size(q->stream)))
        status = STATUS_USAGE;
    else if (status == STATUS_DONE)
        status = appends ? append(q->stream, q) : read_stream(q->stream, q);
    shk_stream_close(q->stream);
    shk_segment_close(segment);
    return status;
}

enum { OPTION_OLDEST = OPTION_PRIVATE, OPTION_LATEST };

static int run(const struct command *command, int argc, char **argv)
{
    struct request q = {.count = 1, .from = SHK_NEXT, .acting = ACTING_DEFAULTS};
    bool standard_input = false, counted = false, appends, for_read;
    struct path path;
    int key;

    while ((key = next_own_option(command, argc, argv, &q.acting)) != -1) {
        if (key == 's')
            standard_input = true;
        else if (key == 'F')
            q.format = find_format(optarg);
        else if (key == 'c')
            q.count = parse_number(optarg, UINT64_MAX), counted = true;
        else if (key == 'f')
            q.follow = true;
        else if (key == OPTION_OLDEST)
            q.from = SHK_OLDEST;
        else if (key == OPTION_LATEST)
            q.latest = parse_number(optarg, UINT32_MAX);
    }
    check_operands(argc, 2, argc);
    appends = strcmp(argv[optind], "append") == 0;
    if (!appends && strcmp(argv[optind], "read") != 0)
        usage_error("unknown action '%s'; known: append, read", argv[optind]);
    for_read =
        counted || q.follow || q.from == SHK_OLDEST || q.latest || q.acting.timeout != SHK_FOREVER;
    if (standard_input && for_read)
        usage_error("--stdin is for 'stream append', the other options are for 'stream read'");
    if (appends ? for_read : standard_input)
        usage_error("one of the options is for 'stream %s' only", appends ? "read" : "append");
    if (q.latest && (q.follow || counted || q.from == SHK_OLDEST))
        usage_error("--latest goes with none of --count, --follow and --oldest");
    check_operands(argc, appends && !standard_input ? 3 : 2, appends && !standard_input ? argc : 2);
    parse_object_path(argv[optind + 1], &path);
    if (appends && !standard_input)
        q.samples = argv + optind + 2;
    return act(&path, appends, &q);
}

static const struct option_row options[] = {
    {'F', "format", "FORMAT", "what a sample is made of (double, if its size permits)"},
    {'s', "stdin", NULL, "append the lines of the input; with format raw its bytes"},
    {'c', "count", "N", "read so many (1)"},
    {'f', "follow", NULL, "read on and on"},
    {OPTION_OLDEST, "oldest", NULL, "begin with the oldest that there is, not with the next"},
    {OPTION_LATEST, "latest", "N", "read the newest N that there are, and do not wait"},
    TIMEOUT_ROW("with read: wait no longer for samples"),
    NOWAIT_ROW,
    NO_CREATE_ROW,
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_stream = {
    .name = "stream",
    .arguments = "[OPTION...] append|read STREAM [SAMPLE...]",
    .summary = "append samples to a stream, or read them",
    .notes = "A sample is a line, or an operand: its values with blanks or commas between\n"
             "them. The formats are double, float, int64, int32, int16, int8, uint64, uint32,\n"
             "uint16, uint8, and raw: the bytes as they are. Samples that begin with '-' go\n"
             "after '--'. The stream is created if it is absent, for samples of one value.",
    .options = options,
    .run = run,
};
