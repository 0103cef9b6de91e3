#include "edf.h"
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

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

/* ---- fields of the header ---- */

/* Where a field is. Of a signal: behind BASE there is the field of all signals, then the next. */
struct field {
    size_t at, width;
    const char *name;
};

enum { BASE = 256, OF_A_SIGNAL = 256, SIGNALS_MAX = 4096, RECORD_MAX = 1 << 28 };

static const struct field kind = {192, 5, "kind"}, header_size = {184, 8, "bytes of the header"},
                          records = {236, 8, "number of records"},
                          duration = {244, 8, "duration of a record"},
                          signals = {252, 4, "number of signals"};
static const struct field label = {0, 16, "label"}, unit = {96, 8, "unit"},
                          physical_min = {104, 8, "physical minimum"},
                          physical_max = {112, 8, "physical maximum"},
                          digital_min = {120, 8, "digital minimum"},
                          digital_max = {128, 8, "digital maximum"},
                          samples = {216, 8, "samples in a record"};

static const char *field_of(const struct edf *edf, const struct field *field, int signal)
{
    return (const char *)edf->header + BASE + (size_t)edf->n * field->at +
           (size_t)signal * field->width;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\0' || c == '\t' || c == '\r' || c == '\n';
}

/*
 * What fills a field up is left out: blanks, or zeros in files of some writers. Returns the length.
 */
static size_t trim(const char **text, size_t length)
{
    while (length > 0 && is_blank((*text)[length - 1]))
        length--;
    while (length > 0 && is_blank(**text)) {
        ++*text;
        length--;
    }
    return length;
}

static bool is_utf8(const char *text, size_t length)
{
    mbstate_t state = {0};

    while (length > 0) {
        size_t n = mbrtowc(NULL, text, length, &state);

        if (n == 0 || n > length)
            return false;
        text += n;
        length -= n;
    }
    return true;
}

/*
 * A text field for a person, in UTF-8. The standard has ASCII; what is more is Latin-1 in most
 * files that have it, as in µV. The caller frees it; NULL: no memory.
 */
static char *text_of(const char *field, size_t width)
{
    char utf8[2 * OF_A_SIGNAL], *end = utf8;
    size_t length = trim(&field, width);

    if (is_utf8(field, length))
        return printable(field, length);
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)field[i];

        if (c >= 0x80)
            *end++ = (char)(0xC0 | c >> 6);
        *end++ = (char)(c >= 0x80 ? 0x80 | (c & 0x3F) : c);
    }
    return printable(utf8, (size_t)(end - utf8));
}

/* A decimal number; its point may be a comma. Zeros and a plus in front are as good as none. */
static bool read_number(const char *field, size_t width, double *number)
{
    char text[32], *end;
    size_t length = trim(&field, width);

    if (length == 0 || length >= sizeof(text))
        return false;
    memcpy(text, field, length);
    text[length] = '\0';
    if (strspn(text, "+-0123456789.,eE") != length)
        return false;
    for (char *comma = strchr(text, ','); comma; comma = strchr(comma, ','))
        *comma = '.';
    *number = strtod(text, &end);
    return *end == '\0' && isfinite(*number);
}

/* "FILE: signal 3 'EEG Oz': sentence"; signal negative: of the whole recording. */
static void complain_of(const struct edf *edf, int signal, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void complain_of(const struct edf *edf, int signal, const char *format, ...)
{
    char sentence[400];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    if (signal < 0)
        complain("%s: %s", edf->path, sentence);
    else
        complain("%s: signal %d '%s': %s", edf->path, signal + 1, edf->signals[signal].label,
                 sentence);
}

static void complain_of_field(const struct edf *edf, int signal, const struct field *field,
                              const char *text, const char *wanted)
{
    char *found = text_of(text, field->width);

    if (found)
        complain_of(edf, signal, "its %s is '%s', not %s", field->name, found, wanted);
    free(found);
}

/* A number of the header; false after a complaint. */
static bool number_in(const struct edf *edf, const struct field *field, double least, double most,
                      const char *wanted, double *number)
{
    const char *text = (const char *)edf->header + field->at;

    if (read_number(text, field->width, number) && *number >= least && *number <= most)
        return true;
    complain_of_field(edf, -1, field, text, wanted);
    return false;
}

/* ---- the header ---- */

static bool read_at(const struct edf *edf, void *to, size_t size, size_t at, size_t *got)
{
    ssize_t n = 1;

    for (*got = 0; *got < size && n > 0; *got += (size_t)n) {
        n = pread(edf->fd, (char *)to + *got, size - *got, (off_t)(at + *got));
        if (n < 0)
            break;
    }
    if (n < 0)
        complain_of(edf, -1, "%s",
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
    if (!read_at(edf, header + had, size - had, had, &got))
        return false;
    if (had + got == size)
        return true;
    if (had + got == 0)
        complain_of(edf, -1, "it is empty");
    else
        complain_of(edf, -1, "it is cut in its header: %zu of %zu bytes are there", had + got,
                    size);
    return false;
}

/* EDF begins with the version 0, BDF with a byte that is no text. */
static bool find_format(struct edf *edf)
{
    const char *version = (const char *)edf->header;
    size_t length = trim(&version, 8);
    char *found;

    edf->width = edf->header[0] == 0xFF ? 3 : 2;
    if (length == 1 && *version == '0')
        return true;
    if (edf->width == 3 && strncasecmp(version + 1, "BIOSEMI", 7) == 0)
        return true;
    found = text_of((const char *)edf->header, 8);
    if (found)
        complain_of(edf, -1, "it begins with '%s': it is no recording in EDF or BDF", found);
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
        edf->signals[i].label = text_of(field_of(edf, &label, i), label.width);
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
        const char *text = field_of(edf, &samples, i);
        double number;

        if (!read_number(text, samples.width, &number) || number < 0 || number > RECORD_MAX ||
            number != floor(number)) {
            complain_of_field(edf, i, &samples, text, "a number of samples");
            return false;
        }
        edf->signals[i].samples = (size_t)number;
        edf->signals[i].offset = edf->record_size;
        edf->record_size += (size_t)number * edf->width;
        if (edf->record_size > RECORD_MAX) {
            complain_of(edf, -1, "a record has more than %d MiB", RECORD_MAX >> 20);
            return false;
        }
    }
    if (edf->record_size == 0)
        complain_of(edf, -1, "its records are empty: no signal has samples");
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
    size_t computed = BASE + (size_t)edf->n * OF_A_SIGNAL;
    double said;

    edf->start = computed;
    if (!read_number((const char *)edf->header + header_size.at, header_size.width, &said) ||
        said == (double)computed)
        return true;
    if (edf->records > 0 && data_size(edf, computed) == edf->records * (int64_t)edf->record_size)
        return true;
    complain_of(edf, -1,
                "its header says that it has %g bytes, but %d signals take %zu: where the data "
                "begin cannot be told",
                said, edf->n, computed);
    return false;
}

static int64_t records_said(const unsigned char *field)
{
    double said;

    return read_number((const char *)field, records.width, &said) && said > 0 && said < 1e15
               ? (int64_t)said
               : -1;
}

static int64_t records_there(const struct edf *edf)
{
    return data_size(edf, edf->start) / (int64_t)edf->record_size;
}

/* What is not as the header says is played as far as it goes, and said. */
static void tell_length(const struct edf *edf)
{
    int64_t there = records_there(edf),
            more = data_size(edf, edf->start) - there * (int64_t)edf->record_size;

    if (edf->follow)
        return;
    if (edf->records < 0)
        complain_of(edf, -1,
                    "it is unfinished: the number of its records is not known; %lld are "
                    "there, and are played",
                    (long long)there);
    else if (there < edf->records)
        complain_of(edf, -1, "it is cut: %lld of %lld records are there, and are played",
                    (long long)there, (long long)edf->records);
    else
        more += (there - edf->records) * (int64_t)edf->record_size;
    if (more > 0)
        complain_of(edf, -1, "%lld bytes behind the last record are left out", (long long)more);
}

static bool read_recording(struct edf *edf)
{
    double number;

    if (!read_header(edf, 0, BASE) || !find_format(edf) ||
        !number_in(edf, &signals, 1, SIGNALS_MAX, "a number from 1 to 4096", &number))
        return false;
    edf->n = (int)number;
    if (!read_header(edf, BASE, BASE + (size_t)edf->n * OF_A_SIGNAL) || !find_signals(edf) ||
        !number_in(edf, &duration, 0, 1e9, "a number of seconds", &edf->duration))
        return false;
    edf->records = records_said(edf->header + records.at);
    edf->has_gaps = strncasecmp((char *)edf->header + kind.at + 1, "DF+D", 4) == 0;
    edf->record = malloc(edf->record_size);
    if (!edf->record)
        complain("%s", strerror(ENOMEM));
    return edf->record && find_start(edf);
}

/* ---- which signals ---- */

static double rate_of(const struct edf *edf, int signal)
{
    return edf->duration > 0 ? (double)edf->signals[signal].samples / edf->duration : 0;
}

static void list_signals(const struct edf *edf)
{
    for (int i = 0; i < edf->n; i++) {
        char *text = text_of(field_of(edf, &unit, i), unit.width),
             *least = text_of(field_of(edf, &physical_min, i), physical_min.width),
             *most = text_of(field_of(edf, &physical_max, i), physical_max.width);

        if (text && least && most && !edf->signals[i].annotations)
            complain("  %d  '%s'  %g samples a second, %s to %s %s", i + 1, edf->signals[i].label,
                     rate_of(edf, i), least, most, text);
        free(text);
        free(least);
        free(most);
    }
}

/* A signal's values from what is stored; false after a complaint. */
static bool find_scale(struct edf *edf, int i)
{
    static const struct field *const fields[] = {&physical_min, &physical_max, &digital_min,
                                                 &digital_max};
    struct edf_signal *signal = &edf->signals[i];
    double value[4];

    for (int k = 0; k < 4; k++) {
        const char *text = field_of(edf, fields[k], i);

        if (!read_number(text, fields[k]->width, &value[k])) {
            complain_of_field(edf, i, fields[k], text, "a number");
            return false;
        }
    }
    if (value[2] == value[3] && value[0] != value[1]) {
        complain_of(edf, i,
                    "its digital minimum and maximum are both %g, so that its values cannot be "
                    "told",
                    value[2]);
        return false;
    }
    if (value[0] == value[1]) {
        complain_of(edf, i, "its physical minimum and maximum are both %g: it is flat", value[0]);
        signal->constant = value[0];
        signal->divisor = 1;
        return true;
    }
    signal->factor = value[1] - value[0];
    signal->constant = value[0] * value[3] - value[1] * value[2];
    signal->divisor = value[3] - value[2];
    return true;
}

/* The signal of that label or number; -1: there is none. Where there are more, says so. */
static int find_signal(const struct edf *edf, const char *name, size_t length)
{
    int found = -1, number = 0;

    length = trim(&name, length);
    for (int i = 0; i < edf->n; i++) {
        const struct edf_signal *signal = &edf->signals[i];

        if (signal->annotations || strlen(signal->label) != length ||
            memcmp(signal->label, name, length) != 0)
            continue;
        if (found < 0)
            found = i;
        else
            complain_of(edf, i,
                        "there is another one of this label, which is taken: %d (--signal "
                        "%d takes this one)",
                        found + 1, i + 1);
    }
    if (found >= 0 || length == 0 || length > 4 || strspn(name, "0123456789") < length)
        return found;
    for (size_t i = 0; i < length; i++)
        number = 10 * number + name[i] - '0';
    return number >= 1 && number <= edf->n && !edf->signals[number - 1].annotations ? number - 1
                                                                                    : -1;
}

static int no_signal(const struct edf *edf, const char *name, size_t length)
{
    char *text = printable(name, length);

    if (text)
        complain("%s: there is no signal '%s'; there are:", edf->path, text);
    free(text);
    list_signals(edf);
    return USAGE;
}

static void choose_all(struct edf *edf)
{
    for (int i = 0; i < edf->n; i++) {
        if (!edf->signals[i].annotations)
            edf->chosen[edf->channels++] = i;
    }
}

/* The labels or numbers of a list. Returns an exit code. */
static int choose_each(struct edf *edf, const char *names)
{
    for (const char *name = names;; name++) {
        size_t length = strcspn(name, ",");
        int i = find_signal(edf, name, length);

        if (i < 0)
            return no_signal(edf, name, length);
        if (edf->channels == edf->n) {
            complain("--signal: more than the %d signals of the recording", edf->n);
            return USAGE;
        }
        edf->chosen[edf->channels++] = i;
        name += length;
        if (!*name)
            return DONE;
    }
}

/* A label may have a comma, and may be "all". Returns an exit code. */
static int choose(struct edf *edf, const char *names)
{
    int whole = names ? find_signal(edf, names, strlen(names)) : -1;

    if (!names) {
        complain("%s: --signal must say which of these, by label or number, or all:", edf->path);
        list_signals(edf);
        return USAGE;
    }
    if (whole < 0 && strcmp(names, "all") != 0)
        return choose_each(edf, names);
    if (whole < 0)
        choose_all(edf);
    else
        edf->chosen[edf->channels++] = whole;
    return DONE;
}

/* All channels of a stream have one rate. Where they have not, says which could be taken. */
static bool have_one_rate(const struct edf *edf)
{
    char same[400] = "";
    size_t length = 0;
    int other = -1;

    for (int i = 0; i < edf->channels; i++) {
        int signal = edf->chosen[i];

        if (edf->signals[signal].samples != edf->per_record)
            other = other < 0 ? signal : other;
        else if (length < sizeof(same))
            length += (size_t)snprintf(same + length, sizeof(same) - length, "%s%d",
                                       length ? "," : "", signal + 1);
    }
    if (other < 0)
        return true;
    complain_of(edf, other,
                "it has %g samples a second, not %g: a stream has one rate; --signal %s are of "
                "that",
                rate_of(edf, other), rate_of(edf, edf->chosen[0]), same);
    return false;
}

/* Returns an exit code. */
static int take_signals(struct edf *edf, const char *names)
{
    bool any = false;
    int status;

    for (int i = 0; i < edf->n; i++)
        any = any || !edf->signals[i].annotations;
    if (!any) {
        complain_of(edf, -1, "it has annotations only, and no signal: there is nothing to play");
        return FAILED;
    }
    status = choose(edf, names);
    if (status != DONE)
        return status;
    edf->per_record = edf->signals[edf->chosen[0]].samples;
    if (edf->per_record == 0) {
        complain_of(edf, edf->chosen[0], "it has no samples");
        return FAILED;
    }
    if (!have_one_rate(edf))
        return USAGE;
    for (int i = 0; i < edf->channels; i++) {
        if (!find_scale(edf, edf->chosen[i]))
            return FAILED;
    }
    edf->rate = rate_of(edf, edf->chosen[0]);
    return DONE;
}

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
        read_number((const char *)annotations, length, onset))
        return true;
    complain_of(edf, -1, "record %lld does not say when it begins", (long long)number + 1);
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
    complain_of(edf, -1, "record %lld begins at %g s, before the one before it ends, at %g s",
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
    int64_t there = records_there(edf), gaps = 0, lost = 0;

    if (!edf->has_gaps)
        return DONE;
    if (edf->annotations < 0) {
        complain_of(edf, -1,
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

        if (!read_at(edf, bytes, size, edf->start + (size_t)i * edf->record_size + text->offset,
                     &got) ||
            !read_onset(edf, i, bytes, got, &onset) || (n = missing(edf, i, onset)) < 0)
            return FAILED;
        edf->end = onset + edf->duration;
        gaps += n > 0;
        lost += n;
    }
    if (gaps > 0)
        complain_of(edf, -1, "it has %lld gap%s, of %g s in all: samples there are no number (nan)",
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

        if (!read_at(edf, field, sizeof(field), records.at, &got))
            return -1;
        edf->records = records_said(field);
    }
    if (edf->records >= 0 && edf->next >= edf->records)
        return 0;
    if (!read_at(edf, edf->record, edf->record_size,
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
    else if (read_recording(edf))
        status = take_signals(edf, names);
    if (status == DONE)
        status = check_gaps(edf);
    if (status == DONE)
        tell_length(edf);
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
