/*
 * What a plotter shows: a window of the newest samples of each of its streams. It is fetched here,
 * and shown by screen.c or picture.c.
 */
#ifndef DEMOS_WINDOW_H
#define DEMOS_WINDOW_H

#include "common.h"

#include <sys/types.h>

enum { MOST_STREAMS = 16, MOST_WINDOW = 100000, FRAMES_A_SECOND = 30 };

/* One stream, and the newest of its samples. */
struct trace {
    struct place place;
    struct shk_stream *stream;
    struct shk_reader *reader;
    double *samples;                  /* the newest last; room for twice MOST_WINDOW */
    size_t count;                     /* how many there are */
    int64_t dropped;                  /* samples that were overwritten before they were read */
    double rate;                      /* appended samples a second; negative: not known yet */
    int64_t rate_position, rate_time; /* of the stream, when the rate was last measured */
};

struct plot {
    struct trace traces[MOST_STREAMS];
    int n;
    size_t window;    /* samples to be shown, 2 to MOST_WINDOW */
    const char *unit; /* of the samples, for a person; or "" */
};

/* The samples of the window, and how many: fewer as long as there are no more. */
const double *window_of(const struct plot *, const struct trace *, size_t *count);

/* Is one of them finite? An axis needs one. */
bool has_number(const double *samples, size_t count);

/*
 * Wait for samples of one stream. Returns how many have come, at least 1, or the library's error.
 */
ssize_t fetch_trace(struct trace *, int64_t timeout);

/*
 * Fetch what has been appended. Returns how many samples, or a library's error; *failing is then
 * the trace that it is about.
 */
ssize_t fetch(struct plot *, struct trace **failing);

#endif
