#include "edf.h"
#include "common.h"
#include "edf_header.h"
#include "edf_signals.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- gaps ---- */

/*
 * When a record begins, which is the first of its annotations: "+12.5\24\24\0". False after a
 * complaint.
 */
static bool read_onset(const struct edf *edf, int64_t number, const unsigned char *annotations,
                       size_t size, double *onset)
{
    size_t length = 0;

    while (length < size && annotations[length] != 20 && annotations[length] != 21)
        length++;
    if (length < size && (*annotations == '+' || *annotations == '-') &&
        edf_number((const char *)annotations, length, onset))
        return true;
    edf_complain(edf, -1, "record %lld does not say when it begins", (long long)number + 1);
    return false;
}

/*
 * How many samples are missing between the last record and one that begins at `onset`; less than a
 * sample is none. Negative after a complaint: it begins too early.
 */
static int64_t missing(const struct edf *edf, int64_t number, double onset)
{
    double gap = number == 0 ? 0 : (onset - edf->end) * edf->rate;

    if (fabs(gap) < 1)
        return 0;
    if (gap > 0 && gap < 1e15)
        return llround(gap);
    edf_complain(edf, -1, "record %lld begins at %g s, before the one before it ends, at %g s",
                 (long long)number + 1, onset, edf->end);
    return -1;
}

/*
 * What cannot be played is to be known before the first sample. Returns an exit code. Where there
 * are gaps, says so.
 */
static int check_gaps(struct edf *edf)
{
    enum { ONSET = 64 };
    const struct edf_signal *text = &edf->signals[edf->annotations < 0 ? 0 : edf->annotations];
    size_t size = text->samples * edf->width < ONSET ? text->samples * edf->width : ONSET, got;
    int64_t there = edf_records_there(edf), gaps = 0, lost = 0;

    if (!edf->has_gaps)
        return DONE;
    if (edf->annotations < 0) {
        edf_complain(edf, -1,
                     "its records may have gaps between them (it is of the kind EDF+D), "
                     "but there is no signal 'EDF Annotations' that tells them");
        return FAILED;
    }
    if (edf->records >= 0 && edf->records < there)
        there = edf->records;
    for (int64_t i = 0; i < there; i++) {
        unsigned char bytes[ONSET];
        double onset;
        int64_t n;

        if (!edf_read_at(edf, bytes, size, edf->start + (size_t)i * edf->record_size + text->offset,
                         &got) ||
            !read_onset(edf, i, bytes, got, &onset) || (n = missing(edf, i, onset)) < 0)
            return FAILED;
        edf->end = onset + edf->duration;
        gaps += n > 0;
        lost += n;
    }
    if (gaps > 0)
        edf_complain(edf, -1,
                     "it has %lld gap%s, of %g s in all: samples there are no number (nan)",
                     (long long)gaps, gaps == 1 ? "" : "s", (double)lost / edf->rate);
    return DONE;
}

/* ---- samples ---- */

/* Returns 1, 0: there is no more, -1 after a complaint. */
static int load_record(struct edf *edf)
{
    size_t got;

    if (edf->follow && !edf_is_over(edf)) { /* the number of records is written in the end */
        unsigned char field[8] = {0};

        if (!edf_read_at(edf, field, sizeof(field), EDF_RECORDS, &got))
            return -1;
        edf->records = edf_records_said(field);
    }
    if (edf->records >= 0 && edf->next >= edf->records)
        return 0;
    if (!edf_read_at(edf, edf->record, edf->record_size,
                     edf->start + (size_t)edf->next * edf->record_size, &got))
        return -1;
    if (got < edf->record_size)
        return 0;
    if (edf->has_gaps) {
        const struct edf_signal *text = &edf->signals[edf->annotations];
        double onset;

        if (!read_onset(edf, edf->next, edf->record + text->offset, text->samples * edf->width,
                        &onset))
            return -1;
        edf->gap = missing(edf, edf->next, onset);
        if (edf->gap < 0)
            return -1;
        edf->end = onset + edf->duration;
    }
    edf->next++;
    edf->position = 0;
    return 1;
}

/* Little-endian, signed. */
static int32_t stored(const unsigned char *at, size_t width)
{
    if (width == 2)
        return (int16_t)(at[0] | at[1] << 8);
    return (int32_t)((uint32_t)at[0] << 8 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 24) >> 8;
}

static double value_of(const struct edf *edf, int channel)
{
    const struct edf_signal *signal = &edf->signals[edf->chosen[channel]];
    size_t at = signal->offset + edf->position * edf->width;

    return (stored(edf->record + at, edf->width) * signal->factor + signal->constant) /
           signal->divisor;
}

ssize_t edf_next(struct edf *edf, double *values, size_t n)
{
    size_t filled = 0;

    while (filled < n) {
        if (edf->gap == 0 && edf->position == edf->per_record) {
            int r = load_record(edf);

            if (r <= 0)
                return filled > 0 ? (ssize_t)filled : r;
            continue;
        }
        for (int i = 0; i < edf->channels; i++)
            *values++ = edf->gap > 0 ? NAN : value_of(edf, i);
        if (edf->gap > 0)
            edf->gap--;
        else
            edf->position++;
        filled++;
    }
    return (ssize_t)filled;
}

bool edf_is_over(const struct edf *edf)
{
    return !edf->follow || (edf->records >= 0 && edf->next >= edf->records);
}

int edf_begin(struct edf *edf, const char *path, const char *names)
{
    int status = FAILED;

    *edf =
        (struct edf){.path = path, .follow = edf->follow, .fd = open(path, O_RDONLY | O_CLOEXEC)};
    if (edf->fd < 0)
        complain("%s: %s", path, strerror(errno));
    else if (edf_read_recording(edf))
        status = edf_take_signals(edf, names);
    if (status == DONE)
        status = check_gaps(edf);
    if (status == DONE)
        edf_tell_length(edf);
    edf->end = 0;
    edf->position = edf->per_record;
    return status;
}

void edf_end(struct edf *edf)
{
    for (int i = 0; edf->signals && i < edf->n; i++)
        free(edf->signals[i].label);
    free(edf->signals);
    free(edf->chosen);
    free(edf->header);
    free(edf->record);
    if (edf->fd >= 0)
        close(edf->fd);
}
