#include "edf_header.h"
#include "common.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIGNALS_MAX = 4096, RECORD_MAX = 1 << 28 };

static const struct edf_field kind = {192, 5, "kind"},
                              header_size = {184, 8, "bytes of the header"},
                              records = {236, 8, "number of records"},
                              duration = {244, 8, "duration of a record"},
                              signals = {252, 4, "number of signals"};
static const struct edf_field label = {0, 16, "label"}, samples = {216, 8, "samples in a record"};

/* A number of the header; false after a complaint. */
static bool number_in(const struct edf *edf, const struct edf_field *field, double least,
                      double most, const char *wanted, double *number)
{
    const char *text = (const char *)edf->header + field->at;

    if (edf_number(text, field->width, number) && *number >= least && *number <= most)
        return true;
    edf_complain_of_field(edf, -1, field, text, wanted);
    return false;
}

bool edf_read_at(const struct edf *edf, void *to, size_t size, size_t at, size_t *got)
{
    ssize_t n = 1;

    for (*got = 0; *got < size && n > 0; *got += (size_t)n) {
        n = pread(edf->fd, (char *)to + *got, size - *got, (off_t)(at + *got));
        if (n < 0)
            break;
    }
    if (n < 0)
        edf_complain(edf, -1, "%s",
                     errno == ESPIPE ? "it is a pipe; a recording is played from a file"
                                     : strerror(errno));
    return n >= 0;
}

/* Read up to `size` bytes of the header, of which there are `had` already. */
static bool read_header(struct edf *edf, size_t had, size_t size)
{
    unsigned char *header = realloc(edf->header, size);
    size_t got;

    if (!header) {
        complain("%s", strerror(ENOMEM));
        return false;
    }
    edf->header = header;
    if (!edf_read_at(edf, header + had, size - had, had, &got))
        return false;
    if (had + got == size)
        return true;
    if (had + got == 0)
        edf_complain(edf, -1, "it is empty");
    else
        edf_complain(edf, -1, "it is cut in its header: %zu of %zu bytes are there", had + got,
                     size);
    return false;
}

/* EDF begins with the version 0, BDF with a byte that is no text. */
static bool find_format(struct edf *edf)
{
    const char *version = (const char *)edf->header;
    size_t length = edf_trim(&version, 8);
    char *found;

    edf->width = edf->header[0] == 0xFF ? 3 : 2;
    if (length == 1 && *version == '0')
        return true;
    if (edf->width == 3 && strncasecmp(version + 1, "BIOSEMI", 7) == 0)
        return true;
    found = edf_text_of((const char *)edf->header, 8);
    if (found)
        edf_complain(edf, -1, "it begins with '%s': it is no recording in EDF or BDF", found);
    free(found);
    return false;
}

static bool is_annotations(const char *text)
{
    return strcasecmp(text, "EDF Annotations") == 0 || strcasecmp(text, "BDF Annotations") == 0;
}

/* Where the samples of each signal are: depends on all the signals before it. */
static bool find_signals(struct edf *edf)
{
    edf->annotations = -1;
    edf->signals = calloc((size_t)edf->n, sizeof(*edf->signals));
    edf->chosen = calloc((size_t)edf->n, sizeof(*edf->chosen));
    for (int i = 0; edf->signals && i < edf->n; i++) {
        edf->signals[i].label = edf_text_of(edf_field_of(edf, &label, i), label.width);
        if (!edf->signals[i].label)
            break;
        edf->signals[i].annotations = is_annotations(edf->signals[i].label);
        if (edf->signals[i].annotations && edf->annotations < 0)
            edf->annotations = i;
    }
    if (!edf->signals || !edf->chosen || !edf->signals[edf->n - 1].label) {
        complain("%s", strerror(ENOMEM));
        return false;
    }
    for (int i = 0; i < edf->n; i++) {
        const char *text = edf_field_of(edf, &samples, i);
        double number;

        if (!edf_number(text, samples.width, &number) || number < 0 || number > RECORD_MAX ||
            number != floor(number)) {
            edf_complain_of_field(edf, i, &samples, text, "a number of samples");
            return false;
        }
        edf->signals[i].samples = (size_t)number;
        edf->signals[i].offset = edf->record_size;
        edf->record_size += (size_t)number * edf->width;
        if (edf->record_size > RECORD_MAX) {
            edf_complain(edf, -1, "a record has more than %d MiB", RECORD_MAX >> 20);
            return false;
        }
    }
    if (edf->record_size == 0)
        edf_complain(edf, -1, "its records are empty: no signal has samples");
    return edf->record_size > 0;
}

/* How many bytes there are behind the header. */
static int64_t data_size(const struct edf *edf, size_t start)
{
    struct stat file;

    return fstat(edf->fd, &file) < 0 || file.st_size < (off_t)start
               ? 0
               : (int64_t)file.st_size - (int64_t)start;
}

/*
 * The data begin behind the header, whose size follows from the number of signals. Where it says
 * another one, the size of the file must decide.
 */
static bool find_start(struct edf *edf)
{
    size_t computed = EDF_BASE + (size_t)edf->n * EDF_OF_A_SIGNAL;
    double said;

    edf->start = computed;
    if (!edf_number((const char *)edf->header + header_size.at, header_size.width, &said) ||
        said == (double)computed)
        return true;
    if (edf->records > 0 && data_size(edf, computed) == edf->records * (int64_t)edf->record_size)
        return true;
    edf_complain(edf, -1,
                 "its header says that it has %g bytes, but %d signals take %zu: where the data "
                 "begin cannot be told",
                 said, edf->n, computed);
    return false;
}

int64_t edf_records_said(const unsigned char *field)
{
    double said;

    return edf_number((const char *)field, records.width, &said) && said > 0 && said < 1e15
               ? (int64_t)said
               : -1;
}

int64_t edf_records_there(const struct edf *edf)
{
    return data_size(edf, edf->start) / (int64_t)edf->record_size;
}

void edf_tell_length(const struct edf *edf)
{
    int64_t there = edf_records_there(edf),
            more = data_size(edf, edf->start) - there * (int64_t)edf->record_size;

    if (edf->follow)
        return;
    if (edf->records < 0)
        edf_complain(edf, -1,
                     "it is unfinished: the number of its records is not known; %lld are "
                     "there, and are played",
                     (long long)there);
    else if (there < edf->records)
        edf_complain(edf, -1, "it is cut: %lld of %lld records are there, and are played",
                     (long long)there, (long long)edf->records);
    else
        more += (there - edf->records) * (int64_t)edf->record_size;
    if (more > 0)
        edf_complain(edf, -1, "%lld bytes behind the last record are left out", (long long)more);
}

bool edf_read_recording(struct edf *edf)
{
    double number;

    if (!read_header(edf, 0, EDF_BASE) || !find_format(edf) ||
        !number_in(edf, &signals, 1, SIGNALS_MAX, "a number from 1 to 4096", &number))
        return false;
    edf->n = (int)number;
    if (!read_header(edf, EDF_BASE, EDF_BASE + (size_t)edf->n * EDF_OF_A_SIGNAL) ||
        !find_signals(edf) ||
        !number_in(edf, &duration, 0, 1e9, "a number of seconds", &edf->duration))
        return false;
    edf->records = edf_records_said(edf->header + records.at);
    edf->has_gaps = strncasecmp((char *)edf->header + kind.at + 1, "DF+D", 4) == 0;
    edf->record = malloc(edf->record_size);
    if (!edf->record)
        complain("%s", strerror(ENOMEM));
    return edf->record && find_start(edf);
}
