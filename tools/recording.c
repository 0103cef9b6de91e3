/* shmctl stream record, replay: see recording.h. */
#include "recording.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "output.h"

#define FIRST_LINE  "# shmkit recording 1"
#define BUFFER_SIZE ((size_t)64 << 10)
#define SAMPLE_MAX  65536
#define SHOWN_EACH  SHK_SEC(0.5) /* progress on a terminal */

static const char *name_of(const struct recording *recording, bool in)
{
    return recording->file ? recording->file : in ? "standard input" : "standard output";
}

/* ---- progress, for a person at a terminal ---- */

struct progress {
    int64_t shown;
    bool any;
};

static bool is_due(struct progress *progress)
{
    int64_t now = monotonic_now();

    if (!isatty(STDERR_FILENO) || now - progress->shown < SHOWN_EACH)
        return false;
    progress->shown = now;
    progress->any = true;
    return true;
}

/* Its line goes, before another one is written. */
static void end_progress(const struct progress *progress)
{
    if (progress->any)
        fputs("\r\033[K", stderr);
}

/* ---- record ---- */

struct recorder {
    const struct recording *recording;
    struct shk_stream *stream;
    struct shk_reader *reader;
    FILE *file;
    size_t size, room; /* bytes of a sample, samples of the buffer */
    unsigned char *buffer;
    int64_t *stamps; /* NULL: there are none */
    double rate;
    bool any;            /* samples have been recorded */
    int64_t first, last; /* of the first sample and the last: stamp, or time; nanoseconds */
    uint64_t done;
    int64_t lost;
    struct progress progress;
};

static void write_header(const struct recorder *r)
{
    const struct recording *recording = r->recording;
    char clock[32];
    time_t now = time(NULL);

    strftime(clock, sizeof(clock), "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
    fprintf(r->file,
            FIRST_LINE "\n# stream %s\n# begun %s\n# format %s\n# sample-size %zu\n# channels %d\n",
            recording->path->text, clock, recording->format->name, r->size,
            shk_stream_channels(r->stream));
    if (r->rate > 0)
        fprintf(r->file, "# rate %.17g\n", r->rate);
    fprintf(r->file, "# stamped %s\n# seconds since the first sample, then the sample\n",
            r->stamps ? "yes" : "no");
}

/* When sample i of the n that were read now was taken, in nanoseconds of whatever clock. */
static int64_t time_of(const struct recorder *r, size_t i, int64_t now)
{
    if (r->stamps)
        return r->stamps[i];
    if (r->rate > 0)
        return (int64_t)((double)(r->done + i + (uint64_t)r->lost) * (1e9 / r->rate) + 0.5);
    return now;
}

static void write_samples(struct recorder *r, size_t n)
{
    int64_t now = monotonic_now(), lost = shk_reader_dropped(r->reader);

    if (lost > r->lost) {
        fprintf(r->file, "# %" PRId64 " samples lost\n", lost - r->lost);
        complain(r->recording->path->text,
                 "%" PRId64 " samples were overwritten before they could be read", lost - r->lost);
        r->lost = lost;
    }
    for (size_t i = 0; i < n; i++) {
        r->last = time_of(r, i, now);
        if (!r->any)
            r->first = r->last;
        r->any = true;
        fprintf(r->file, "%.9f ", (double)(r->last - r->first) / 1e9);
        print_sample(r->file, r->recording->format, r->buffer + i * r->size, r->size);
    }
    r->done += n;
    if (r->recording->file && is_due(&r->progress))
        fprintf(stderr, "\r%" PRIu64 " samples, %.1f s\033[K", r->done,
                (double)(r->last - r->first) / 1e9);
}

static ssize_t read_some(const struct recorder *r, size_t n, int64_t timeout)
{
    return r->stamps ? shk_reader_read_stamped(r->reader, r->buffer, r->stamps, n, timeout)
                     : shk_reader_read(r->reader, r->buffer, n, timeout);
}

/* Returns 0 or -errno; of the file if `file` says so. Each read is in the file before the next. */
static int record_samples(struct recorder *r, bool *file)
{
    const struct recording *recording = r->recording;

    while (r->done < recording->count) {
        uint64_t left = recording->count - r->done;
        ssize_t n =
            read_some(r, left < r->room ? (size_t)left : r->room, recording->acting.timeout);

        if (n < 0)
            return (int)n;
        write_samples(r, (size_t)n);
        if (fflush(r->file) != 0) {
            *file = true;
            return -errno;
        }
    }
    return 0;
}

/* A recording that is there is not for an accident to overwrite. */
static FILE *create_file(const struct recording *recording)
{
    FILE *file = recording->file ? fopen(recording->file, "wxe") : stdout;

    if (!file && errno == EEXIST)
        complain(recording->file, "it is there already; a recording is a new file");
    else if (!file)
        complain(recording->file, "%s", strerror(errno));
    return file;
}

static int end_record(struct recorder *r, int error, bool in_file)
{
    const struct recording *recording = r->recording;
    int status = STATUS_DONE;

    if (recording->file && fclose(r->file) != 0 && error == 0) {
        error = -errno;
        in_file = true;
    }
    end_progress(&r->progress);
    if (recording->file)
        complain(recording->file, "%" PRIu64 " samples, %.1f s", r->done,
                 (double)(r->last - r->first) / 1e9);
    if (!recording->file && (in_file || error == -EINTR) && output_is_gone())
        return output_failed(-EPIPE);
    if (in_file) {
        complain(name_of(recording, false), "%s", strerror(-error));
        status = STATUS_FAILED;
    } else if (error == -EPIPE) { /* the last writer by role has gone: that is all */
        failed(recording->path->text, error);
    } else if (error < 0) {
        status =
            failed_to_wait(recording->path, &recording->acting, error, "there are no new samples");
    }
    return status;
}

int record_stream(struct shk_stream *stream, const struct recording *recording)
{
    struct recorder r = {
        .recording = recording, .stream = stream, .size = (size_t)shk_stream_sample_size(stream)};
    bool in_file = false;
    int error;

    r.room = r.size < BUFFER_SIZE ? BUFFER_SIZE / r.size : 1;
    error = shk_stream_rate(stream, &r.rate);
    if (error == 0)
        error = shk_reader_open(stream, recording->from, &r.reader);
    if (error < 0)
        return failed(recording->path->text, error);
    r.file = create_file(recording);
    if (!r.file) {
        shk_reader_close(r.reader);
        return STATUS_FAILED;
    }
    if (!recording->file)
        output_watch();
    r.buffer = allocate(r.room, r.size);
    if (shk_stream_is_stamped(stream) == 1)
        r.stamps = allocate(r.room, sizeof(*r.stamps));
    write_header(&r);
    error = fflush(r.file) == 0 ? record_samples(&r, &in_file) : -errno;
    free(r.buffer);
    free(r.stamps);
    shk_reader_close(r.reader);
    return end_record(&r, error, in_file);
}

/* ---- replay ---- */

struct player {
    const struct recording *recording;
    FILE *file;
    off_t size; /* of the file; 0: not known */
    char *line;
    size_t room;
    uint64_t number; /* of the line */
    /* what the head says */
    const struct format *format;
    struct shk_stream_options options;
    struct shk_stream *stream;
    /* on the way */
    unsigned char *sample;
    uint64_t done;
    double first;       /* seconds: of the first sample, */
    int64_t start, due; /* … and when it was appended; when this one is to be */
    struct progress progress;
};

/*
 * The next line, without its end: 1; 0: there is none; -1 after a complaint. One without an end is
 * what a recorder that was killed has left, and no line.
 */
static int next_line(struct player *p)
{
    const char *name = name_of(p->recording, true);
    ssize_t length = -1;

    if (let_interrupts_kill(p->done == 0)) /* later what was replayed is told in the end */
        return 0;
    if (!interrupted())
        length = getline(&p->line, &p->room, p->file);
    let_interrupts_kill(false);
    if (length < 0 && ferror(p->file) && !interrupted()) {
        complain(name, "%s", strerror(errno));
        return -1;
    }
    if (length < 0)
        return 0;
    if (p->line[length - 1] != '\n') {
        complain(name, "its last line is cut, and is left out");
        return 0;
    }
    p->line[length - 1] = '\0';
    p->number++;
    return 1;
}

/* "# key value" of the head. What is not known is a comment. False after a complaint. */
static bool read_entry(struct player *p)
{
    const char *value = strchr(p->line + (p->line[1] == ' ' ? 2 : 1), ' ');
    size_t length = value ? (size_t)(value - p->line) : 0;
    const struct format *known;
    double number = value ? strtod(value, NULL) : 0;

    if (!value)
        return true;
    value++;
    if (length == 8 && memcmp(p->line, "# format", length) == 0) {
        known = lookup_format(value);
        if (!known || known->kind == RAW)
            complain(name_of(p->recording, true), "line %" PRIu64 ": unknown format '%s'",
                     p->number, value);
        p->format = known && known->kind != RAW ? known : NULL;
        return p->format;
    }
    if (length == 13 && memcmp(p->line, "# sample-size", length) == 0)
        p->options.sample_size = number >= 1 && number <= SAMPLE_MAX ? (size_t)number : 0;
    else if (length == 10 && memcmp(p->line, "# channels", length) == 0)
        p->options.channels = number >= 1 && number <= SAMPLE_MAX ? (uint32_t)number : 1;
    else if (length == 6 && memcmp(p->line, "# rate", length) == 0)
        p->options.rate = isfinite(number) && number > 0 ? number * p->recording->speed : 0;
    else if (length == 9 && memcmp(p->line, "# stamped", length) == 0)
        p->options.stamped = strcmp(value, "yes") == 0;
    return true;
}

/* Read up to the first sample, which is in `line` then if *more. False after a complaint. */
static bool read_head(struct player *p, bool *more)
{
    const char *name = name_of(p->recording, true);
    int r = next_line(p);

    if (r > 0 && strcmp(p->line, FIRST_LINE) != 0) {
        complain(name, "it is no recording: it does not begin with '%s'", FIRST_LINE);
        return false;
    }
    if (r == 0 && !interrupted())
        complain(name, "it is no recording: it is empty");
    if (r <= 0)
        return false;
    while ((r = next_line(p)) > 0 && *p->line == '#') {
        if (!read_entry(p))
            return false;
    }
    *more = r > 0;
    if (r < 0)
        return false;
    if (p->format && p->options.sample_size && p->options.sample_size % p->format->size == 0)
        return true;
    complain(name, "its head does not say a format and a size of samples that go together");
    return false;
}

static int open_stream(struct shk_segment *segment, const char *name, unsigned flags, void *to)
{
    struct player *p = to;

    return shk_stream_open(segment, name, flags | p->recording->role, &p->options, &p->stream);
}

/* Sleep until the sample is due. After a delay of more than a second it goes on from there. */
static bool await(struct player *p, double seconds)
{
    double ahead = (seconds - p->first) / p->recording->speed * 1e9;
    int64_t now = monotonic_now();

    if (p->done == 0) {
        p->first = seconds;
        p->start = p->due = now;
        return !interrupted();
    }
    p->due = p->start + (ahead < 1e18 ? (int64_t)ahead : (int64_t)1e18);
    if (now - p->due > SHK_SEC(1)) {
        p->start += now - p->due;
        p->due = now;
    }
    while (now < p->due && !interrupted()) { /* a signal may come just before the sleep */
        sleep_until(p->due - now < SHK_MS(100) ? p->due : now + SHK_MS(100));
        now = monotonic_now();
    }
    return !interrupted();
}

static void show_progress(struct player *p, double seconds)
{
    if (!is_due(&p->progress))
        return;
    fprintf(stderr, "\r%.1f s", seconds - p->first);
    if (p->size > 0)
        fprintf(stderr, ", %.0f %%", 100.0 * (double)ftello(p->file) / (double)p->size);
    fputs("\033[K", stderr);
}

/* The sample in `line`. Returns an exit status. */
static int replay_line(struct player *p)
{
    char where[300], *end;
    double seconds = strtod(p->line, &end);
    int r;

    snprintf(where, sizeof(where), "%s, line %" PRIu64, name_of(p->recording, true), p->number);
    if (end == p->line || *end != ' ' || !isfinite(seconds)) {
        complain(where, "it does not begin with the seconds of a sample");
        return STATUS_FAILED;
    }
    if (!parse_sample(end + 1, where, p->format, p->sample, p->options.sample_size))
        return STATUS_FAILED;
    if (!await(p, seconds))
        return STATUS_DONE;
    r = p->options.stamped ? shk_stream_append_stamped(p->stream, p->sample, &p->due, 1)
                           : shk_stream_append(p->stream, p->sample, 1);
    if (r < 0)
        return failed(p->recording->path->text, r);
    p->done++;
    show_progress(p, seconds);
    return STATUS_DONE;
}

static int replay_lines(struct player *p, bool more)
{
    int status = STATUS_DONE, r = more;

    while (status == STATUS_DONE && r > 0 && p->done < p->recording->count && !interrupted()) {
        if (*p->line != '#')
            status = replay_line(p);
        if (p->done < p->recording->count)
            r = next_line(p);
    }
    return r < 0 ? STATUS_FAILED : status;
}

static int replay(struct player *p)
{
    struct opening opening = {.path = p->recording->path,
                              .flags = p->recording->acting.flags,
                              .kind = "stream",
                              .open = open_stream,
                              .to = p};
    struct shk_segment *segment = NULL;
    bool more = false;
    int status, r;

    if (!read_head(p, &more))
        return STATUS_FAILED;
    status = open_object(&opening, &segment);
    if (status == STATUS_DONE) {
        r = shk_stream_set_rate(p->stream, p->options.rate);
        p->sample = allocate(1, p->options.sample_size);
        status = r < 0 ? failed(p->recording->path->text, r) : replay_lines(p, more);
        end_progress(&p->progress);
        complain(p->recording->path->text, "%" PRIu64 " samples were appended", p->done);
    }
    shk_stream_close(p->stream);
    shk_segment_close(segment);
    return status;
}

int replay_recording(const struct recording *recording)
{
    struct player p = {.recording = recording, .file = stdin};
    struct stat about;
    int status;

    if (recording->file)
        p.file = fopen(recording->file, "re");
    if (!p.file) {
        complain(recording->file, "%s", strerror(errno));
        return errno == ENOENT ? STATUS_ABSENT : STATUS_FAILED;
    }
    if (fstat(fileno(p.file), &about) == 0 && S_ISREG(about.st_mode))
        p.size = about.st_size;
    status = replay(&p);
    free(p.line);
    free(p.sample);
    if (recording->file)
        fclose(p.file);
    return status;
}
