/*
 * Signals of a recording in European Data Format: EDF, EDF+, BDF, BDF+.
 *
 * Strict where samples would be wrong, lenient where a header is odd. What does not change the
 * samples is not looked at: dates, names, filters. A recording that is cut, unfinished or too long
 * is played as far as it goes, and that is said. A recording of the kind EDF+D has gaps: they are
 * samples that are no number.
 *
 * Source: B. Kemp, A. Värri et al., "A simple format for exchange of digitized polygraphic
 * recordings", 1992; B. Kemp, J. Olivan, "European data format 'plus'", 2003.
 */
#ifndef DEMOS_EDF_H
#define DEMOS_EDF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct edf_signal;

struct edf {
    const char *path;
    int channels; /* signals that are played */
    double rate;  /* samples a second; 0: the recording does not say */
    bool follow;  /* set before edf_begin(): more may be written at the end */

    /* edf.c's own */
    int fd;
    unsigned char *header, *record;
    struct edf_signal *signals;
    int n;                          /* signals in all */
    int *chosen;                    /* channels of them: places in signals */
    int annotations;                /* the first such signal, -1: none */
    bool has_gaps;                  /* may have: EDF+D, BDF+D */
    size_t width, start;            /* bytes: of a stored sample; of the header */
    size_t record_size, per_record; /* bytes of a record; samples of a channel in it */
    double duration;                /* of a record, seconds */
    int64_t records;                /* as the header says; negative: not known */
    int64_t next;                   /* the record that comes next */
    size_t position;                /* in the record that is there, samples */
    int64_t gap;                    /* samples to be left out before it */
    double end;                     /* seconds: when the last record ended */
};

/*
 * Open the recording at path, and choose signals: the label or the number of one, several with
 * commas between them, or "all". They must be of one rate. If signals is NULL or there is no such
 * signal, says which there are. Returns an exit code, after saying what is wrong.
 */
int edf_begin(struct edf *, const char *path, const char *signals);

/*
 * The next samples, at most n, each of `channels` values in physical units. Returns how many; 0: no
 * more, or with `follow` no more yet; -1 after saying what is wrong.
 */
ssize_t edf_next(struct edf *, double *samples, size_t n);

/* Is the recording complete, and has all of it been given? */
bool edf_is_over(const struct edf *);

void edf_end(struct edf *);

#endif
