/*
 * What a plotter shows: the newest samples of streams. It is fetched in one place, and shown by
 * screen.c or picture.c.
 */
#ifndef DEMOS_PLOT_H
#define DEMOS_PLOT_H

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
 * Fetch what has been appended. Returns how many samples, or a library's error; *failing is then
 * the trace that it is about.
 */
ssize_t fetch(struct plot *, struct trace **failing);

/* Show it in the terminal, until a person has seen enough. Returns an exit code. */
int show_on_screen(struct plot *);

/* Show it in a window of gnuplot's, until that is closed. Returns an exit code. */
int show_in_window(struct plot *);

/*
 * Have gnuplot make a picture of the window. The file appears whole or not at all; it is a .png,
 * .svg or .pdf. Returns whether it is there; if not, message says why.
 */
bool make_picture(const struct plot *, const char *file, char *message, size_t size);

/* Is it the name of a file that make_picture() can make? */
bool is_picture(const char *file);

#endif
