/* Fields of a recording's header, and what is said of them. For edf.c and its parts alone. */
#ifndef DEMOS_EDF_FIELD_H
#define DEMOS_EDF_FIELD_H

#include "edf.h"

struct edf_signal {
    char *label;      /* in UTF-8, without the blanks that fill it up */
    size_t samples;   /* in a record */
    size_t offset;    /* of the first of them in a record, bytes */
    bool annotations; /* it is text, not samples */
    /*
     * Once it is chosen: its value is (stored * factor + constant) / divisor, which is rounded once
     * where the limits of the signal are whole numbers.
     */
    double factor, constant, divisor;
};

/* Where a field is. Of a signal: behind EDF_BASE that of each signal, then the next field. */
struct edf_field {
    size_t at, width;
    const char *name;
};

enum { EDF_BASE = 256, EDF_OF_A_SIGNAL = 256 };

/* Of a signal, counted from 0. */
const char *edf_field_of(const struct edf *, const struct edf_field *, int signal);

/* What fills a field up is left out: blanks, or zeros of some writers. Returns the length. */
size_t edf_trim(const char **text, size_t length);

/*
 * A text field for a person, in UTF-8. The standard has ASCII; what is more is Latin-1 in most
 * files that have it, as in µV. The caller frees it; NULL: no memory.
 */
char *edf_text_of(const char *field, size_t width);

/* A decimal number; its point may be a comma. Zeros and a plus in front are as good as none. */
bool edf_number(const char *field, size_t width, double *number);

/* "FILE: signal 3 'EEG Oz': sentence"; signal negative: of the whole recording. */
void edf_complain(const struct edf *, int signal, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "its NAME is 'TEXT', not WANTED" */
void edf_complain_of_field(const struct edf *, int signal, const struct edf_field *,
                           const char *text, const char *wanted);

#endif
