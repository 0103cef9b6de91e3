/* One signal of a recording in European Data Format: EDF, EDF+, BDF, BDF+, in one piece. */
#ifndef DEMOS_EDF_H
#define DEMOS_EDF_H

#include <stddef.h>
#include <sys/types.h>

struct edf {
    int handle, signal;
    double rate; /* samples a second */
    const char *path;
};

/*
 * Open the recording at path, and in it the signal of that label. If label is NULL or there is no
 * such signal, says which there are. Returns an exit code, after saying what is wrong.
 */
int edf_begin(struct edf *, const char *path, const char *label);

/*
 * The next samples in physical units, at most n. Returns how many, 0 at the end, or -1 after saying
 * what is wrong.
 */
ssize_t edf_next(struct edf *, double *samples, size_t n);

void edf_end(struct edf *);

#endif
