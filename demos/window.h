/*
 * What a plotter shows: a window of the newest samples of each of its streams. It is fetched here,
 * and shown by screen.c or picture.c.
 */
#ifndef DEMOS_WINDOW_H
#define DEMOS_WINDOW_H

#include "common.h"

#include <sys/types.h>

enum { MOST_STREAMS = 16, MOST_STRIPS = 64, MOST_WINDOW = 100000, FRAMES_A_SECOND = 30 };

/* One stream. */
struct feed {
    struct place place;
    struct shk_stream *stream;
    struct shk_reader *reader;
    int channels;    /* numbers of a sample, which have a strip each */
    int first;       /* the place of the first of them in traces[] */
    double *fetched; /* samples as they lie in the stream, channel after channel */
    size_t count;    /* samples that there are */
    /* 0; -EPIPE: the last writer by role has gone; -EOWNERDEAD: and one has died */
    int ended;
    int64_t dropped; /* samples that were overwritten before they were read */
    double noted;    /* samples a second, as the writer has noted; 0: it has not */
    double rate;     /* appended samples a second, as measured; negative: not known yet */
    int64_t rate_position, rate_time; /* of the stream, when the rate was last measured */
};

/* One channel of a stream: a strip of the plot. */
struct trace {
    int feed;        /* its place in feeds[] */
    double *samples; /* the newest last; room for twice MOST_WINDOW */
};

struct plot {
    struct feed feeds[MOST_STREAMS];
    int n_feeds;
    struct trace traces[MOST_STRIPS];
    int n;
    size_t window;    /* samples to be shown, 2 to MOST_WINDOW */
    const char *unit; /* of the samples, for a person; or "" */
};

/* Make the strips of a stream that has been opened. Returns an exit code. */
int open_feed(struct plot *, int feed);
void close_feed(struct plot *, int feed);

/* The samples of the window, and how many: fewer as long as there are no more. */
const double *window_of(const struct plot *, const struct trace *, size_t *count);

/* How long a sample is on the axis: in seconds, if the writer has noted its rate, else 1. */
double step_of(const struct plot *, const struct trace *);
bool has_seconds(const struct plot *, const struct trace *);

/* Is one of them finite? An axis needs one. */
bool has_number(const double *samples, size_t count);

/*
 * Wait for samples of one stream. Returns how many have come, at least 1, or the library's error;
 * with -EPIPE and -EOWNERDEAD feed.ended says so, until another writer comes.
 */
ssize_t fetch_feed(struct plot *, struct feed *, int64_t timeout);

/*
 * Fetch what has been appended. Returns how many samples, or a library's error; *failing is then
 * the stream that it is about. That a stream has ended is no error.
 */
ssize_t fetch(struct plot *, struct feed **failing);

#endif
