/* shmctl stream: append samples to a stream, read them, record and replay them. */
#include "common.h"
#include "open.h"
#include "output.h"
#include "recording.h"
#include "sample.h"
#include "shmctl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_SIZE ((size_t)64 << 10)
#define TEXT_SIZE   256 /* of a sample of text, if the stream is made for it */

/* ---- append, read ---- */

struct request {
    const struct path *path;
    const struct format *format; /* NULL: double, where that fits */
    char **samples;              /* to append; NULL: from the standard input */
    uint64_t count;              /* to read */
    uint64_t latest;             /* instead: so many, 0: no */
    bool follow;                 /* instead: on and on */
    bool stamps;                 /* print the time stamps, too */
    uint32_t from;
    unsigned role; /* as a flag of shk_stream_open() */
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

/* stamps: of the samples; NULL: they have none, or they are not asked for. */
static void print_samples(const struct format *format, const unsigned char *samples,
                          const int64_t *stamps, size_t n, size_t size)
{
    for (size_t i = 0; i < n; i++) {
        if (stamps)
            printf("%.9f ", (double)stamps[i] / 1e9);
        print_sample(stdout, format, samples + i * size, size);
    }
}

static ssize_t read_now(struct shk_reader *reader, unsigned char *buffer, int64_t *stamps, size_t n,
                        int64_t timeout)
{
    return stamps ? shk_reader_read_stamped(reader, buffer, stamps, n, timeout)
                  : shk_reader_read(reader, buffer, n, timeout);
}

static ssize_t read_some(struct shk_reader *reader, const struct request *q, unsigned char *buffer,
                         int64_t *stamps, uint64_t n)
{
    ssize_t got = read_now(reader, buffer, stamps, (size_t)n, SHK_NOWAIT);

    if (got != -EAGAIN || q->acting.timeout == SHK_NOWAIT)
        return got;
    fflush(stdout); /* its reader shall not wait, too */
    return read_now(reader, buffer, stamps, (size_t)n, q->acting.timeout);
}

static int read_samples(struct shk_reader *reader, const struct request *q, size_t size)
{
    size_t room = size < BUFFER_SIZE ? BUFFER_SIZE / size : 1;
    unsigned char *buffer = allocate(room, size);
    int64_t *stamps = q->stamps ? allocate(room, sizeof(*stamps)) : NULL;
    int64_t told = 0;
    ssize_t n = 0;

    for (uint64_t left = q->count; (left || q->follow) && !ferror(stdout); left -= (uint64_t)n) {
        n = read_some(reader, q, buffer, stamps, q->follow || left > room ? room : left);
        if (n < 0)
            break;
        if (shk_reader_dropped(reader) > told)
            complain(q->path->text,
                     "%" PRId64 " samples were overwritten before they could be read",
                     shk_reader_dropped(reader) - told);
        told = shk_reader_dropped(reader);
        print_samples(q->format, buffer, stamps, (size_t)n, size);
        if (q->follow)
            left = UINT64_MAX;
    }
    free(buffer);
    free(stamps);
    if (n == -EINTR && output_is_gone())
        return output_failed(-EPIPE);
    if (n == -EPIPE && q->follow) { /* the regular end, and there is no other */
        fflush(stdout);
        failed(q->path->text, (int)n);
        return STATUS_DONE;
    }
    return n < 0 ? failed_to_wait(q->path, &q->acting, (int)n, "there are no new samples")
                 : STATUS_DONE;
}

static int read_latest(struct shk_reader *reader, const struct request *q, size_t size,
                       size_t history)
{
    size_t room = q->latest < history ? (size_t)q->latest : history;
    unsigned char *buffer = allocate(room, size);
    int64_t *stamps = q->stamps ? allocate(room, sizeof(*stamps)) : NULL;
    ssize_t n = stamps ? shk_reader_latest_stamped(reader, buffer, stamps, room)
                       : shk_reader_latest(reader, buffer, room);

    if (n > 0)
        print_samples(q->format, buffer, stamps, (size_t)n, size);
    free(buffer);
    free(stamps);
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
        options.sample_size = q->format->kind == TEXT ? TEXT_SIZE : q->format->size;
    return shk_stream_open(segment, name, flags | q->role, flags & SHK_CREATE ? &options : NULL,
                           &q->stream);
}

enum action { APPEND = 1, READ = 2, RECORD = 4, REPLAY = 8 };

static int act_on_stream(const struct request *q, enum action action, struct recording *recording)
{
    if (action == READ)
        return read_stream(q->stream, q);
    recording->format = q->format;
    return record_stream(q->stream, recording);
}

static int act(struct request *q, enum action action, struct recording *recording)
{
    struct opening opening = {
        .path = q->path, .flags = q->acting.flags, .kind = "stream", .open = open_stream, .to = q};
    struct shk_segment *segment = NULL;
    int status = open_object(&opening, &segment);

    if (status == STATUS_DONE && !choose_format(q, (size_t)shk_stream_sample_size(q->stream)))
        status = STATUS_USAGE;
    else if (status == STATUS_DONE)
        status = action == APPEND ? append(q->stream, q) : act_on_stream(q, action, recording);
    shk_stream_close(q->stream);
    shk_segment_close(segment);
    return status;
}

enum { OPTION_OLDEST = OPTION_PRIVATE, OPTION_LATEST, OPTION_STAMPS, OPTION_SPEED };

static const struct {
    const char *name;
    enum action action;
} actions[] = {{"append", APPEND}, {"read", READ}, {"record", RECORD}, {"replay", REPLAY}};

static enum action find_action(const char *name)
{
    for (size_t i = 0; i < sizeof(actions) / sizeof(*actions); i++) {
        if (strcmp(actions[i].name, name) == 0)
            return actions[i].action;
    }
    usage_error("unknown action '%s'; known: append, read, record, replay", name);
}

static const char *name_of(enum action action)
{
    size_t i = 0;

    while (actions[i].action != action)
        i++;
    return actions[i].name;
}

/* Options and what they are for. */
static const struct {
    int key;
    const char *name;
    int actions;
} uses[] = {{'s', "stdin", APPEND},
            {'F', "format", APPEND | READ | RECORD},
            {'c', "count", READ | RECORD | REPLAY},
            {'f', "follow", READ},
            {OPTION_OLDEST, "oldest", READ | RECORD},
            {OPTION_LATEST, "latest", READ},
            {OPTION_STAMPS, "stamps", READ},
            {OPTION_SPEED, "speed", REPLAY},
            {'P', "producer", APPEND | REPLAY},
            {'C', "consumer", READ | RECORD}};
enum { USES = sizeof(uses) / sizeof(*uses) };

static double parse_speed(const char *text)
{
    char *end;
    double speed = strtod(text, &end);

    if (end == text || *end || !(speed > 0) || speed > 1e9)
        usage_error("invalid speed '%s'; examples: 2, 0.5", text);
    return speed;
}

/* The options; given: which of them there were, by their place in uses. */
static void read_options(const struct command *command, int argc, char **argv, struct request *q,
                         double *speed, bool *given)
{
    int key;

    while ((key = next_own_option(command, argc, argv, &q->acting)) != -1) {
        for (int i = 0; i < USES; i++)
            given[i] = given[i] || uses[i].key == key;
        if (key == 'F')
            q->format = find_format(optarg);
        else if (key == 'c')
            q->count = parse_number(optarg, UINT64_MAX);
        else if (key == 'f')
            q->follow = true;
        else if (key == OPTION_OLDEST)
            q->from = SHK_OLDEST;
        else if (key == OPTION_LATEST)
            q->latest = parse_number(optarg, UINT32_MAX);
        else if (key == OPTION_STAMPS)
            q->stamps = true;
        else if (key == 'P')
            q->role = SHK_AS(SHK_PRODUCER) | SHK_EPIPE;
        else if (key == 'C')
            q->role = SHK_AS(SHK_CONSUMER);
        else if (key == OPTION_SPEED)
            *speed = parse_speed(optarg);
    }
}

static void check_options(const struct request *q, enum action action, const bool *given)
{
    bool count = given[2];

    for (int i = 0; i < USES; i++) {
        if (given[i] && !(uses[i].actions & (int)action))
            usage_error("--%s is not for 'stream %s'", uses[i].name, name_of(action));
    }
    if (q->acting.timeout != SHK_FOREVER && !(action & (READ | RECORD)))
        usage_error("--timeout and --nowait are not for 'stream %s'", name_of(action));
    if (action == RECORD && q->format && q->format->kind == RAW)
        usage_error("a recording is text, and format raw is not; uint8 has the bytes");
    if (q->latest && (q->follow || count || q->from == SHK_OLDEST))
        usage_error("--latest goes with none of --count, --follow and --oldest");
}

static int run(const struct command *command, int argc, char **argv)
{
    struct request q = {.count = UINT64_MAX, .from = SHK_NEXT, .acting = ACTING_DEFAULTS};
    struct recording recording = {.speed = 1};
    bool given[USES] = {false};
    enum action action;
    struct path path;
    int file; /* where a file is among the operands */

    read_options(command, argc, argv, &q, &recording.speed, given);
    check_operands(argc, 2, argc);
    action = find_action(argv[optind]);
    check_options(&q, action, given);
    if (action == APPEND)
        check_operands(argc, given[0] ? 2 : 3, given[0] ? 2 : argc);
    else
        check_operands(argc, action == REPLAY ? 3 : 2, action == READ ? 2 : 3);
    parse_object_path(argv[optind + (action == REPLAY ? 2 : 1)], &path);
    q.path = &path;
    if (action == APPEND && !given[0])
        q.samples = argv + optind + 2;
    if (action == READ && q.count == UINT64_MAX)
        q.count = 1;
    file = optind + (action == REPLAY ? 1 : 2);
    recording.path = &path;
    recording.count = q.count;
    recording.from = q.from;
    recording.role = q.role;
    recording.acting = q.acting;
    if ((action & (RECORD | REPLAY)) && file < argc && strcmp(argv[file], "-") != 0)
        recording.file = argv[file];
    return action == REPLAY ? replay_recording(&recording) : act(&q, action, &recording);
}

static const struct option_row options[] = {
    {'F', "format", "FORMAT", "what a sample is made of (double, if its size permits)"},
    {'s', "stdin", NULL, "append the lines of the input; with format raw its bytes"},
    {'c', "count", "N", "read so many (1); record or replay so many (all)"},
    {'f', "follow", NULL, "read on and on"},
    {OPTION_OLDEST, "oldest", NULL, "begin with the oldest that there is, not with the next"},
    {OPTION_LATEST, "latest", "N", "read the newest N that there are, and do not wait"},
    {OPTION_STAMPS, "stamps", NULL, "read also the time stamp of each sample, in seconds"},
    {OPTION_SPEED, "speed", "X", "replay X times as fast (1)"},
    {'P', "producer", NULL, "append, replay: readers learn of the end"},
    {'C', "consumer", NULL, "read, record: producers learn of the end"},
    TIMEOUT_ROW("read, record: wait no longer for samples"),
    NOWAIT_ROW,
    NO_CREATE_ROW,
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_stream = {
    .name = "stream",
    .arguments = "[OPTION...] append|read STREAM [SAMPLE...]\n"
                 "       shmctl stream [OPTION...] record STREAM [FILE] | replay FILE STREAM",
    .summary = "append samples to a stream, read them, record and replay them",
    .notes = "A sample is a line, or an operand: its values with blanks or commas between\n"
             "them. The formats are double, float, int64, int32, int16, int8, uint64, uint32,\n"
             "uint16, uint8; text: a line that is no number; and raw: the bytes as they are.\n"
             "Samples that begin with '-' go after '--'. The stream is created if it is\n"
             "absent, for samples of one value (text: 256 bytes).\n"
             "When the last producer by role has gone (sampler, --producer), 'read --follow'\n"
             "and 'record' end behind the last sample; with 1 if one of them was killed.\n"
             "A recording is a new file of text, a line for each sample with its seconds in\n"
             "front; '-' is the standard output or input. It is replayed at its pace, into a\n"
             "stream like the one that was recorded.",
    .options = options,
    .run = run,
};
