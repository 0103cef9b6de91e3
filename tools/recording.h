/*
 * A stream in a file, and back. The file is text, so that it can be read, cut and plotted with what
 * is there for text, loses no digit, and is good up to its last whole line whenever the recorder is
 * killed:
 *
 *     # shmkit recording 1
 *     # stream lab/eeg
 *     # begun 2026-11-29T18:40:00Z
 *     # format double
 *     # sample-size 24
 *     # channels 3
 *     # rate 1000
 *     # stamped no
 *     # seconds since the first sample, then the sample
 *     0.000000000 1.5 -2 0.25
 *     0.001000000 1.75 -2 0.5
 *     # 12 samples lost
 *     0.014000000 ...
 *
 * The seconds are from the time stamps, if the stream has some; else from the rate and the numbers
 * of the samples, if a rate is noted; else from when a sample was read. Lines with a # in front are
 * comments, but for those at the beginning that say what the stream is.
 */
#ifndef SHMCTL_RECORDING_H
#define SHMCTL_RECORDING_H

#include "open.h"
#include "sample.h"

struct recording {
    const struct path *path;
    const char *file;            /* NULL: standard output or input */
    const struct format *format; /* to record */
    uint64_t count;              /* samples at most */
    uint32_t from;               /* where the reader begins */
    unsigned role;               /* to replay: a flag of shk_stream_open() */
    double speed;                /* to replay: so many times as fast */
    struct acting acting;
};

/* Write samples to the file, which must not be there, as they come. Returns an exit status. */
int record_stream(struct shk_stream *, const struct recording *);

/* Append the samples of the file to a stream at their pace. Returns an exit status. */
int replay_recording(const struct recording *);

#endif
