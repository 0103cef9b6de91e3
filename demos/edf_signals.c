#include "edf_signals.h"
#include "common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct edf_field unit = {96, 8, "unit"}, physical_min = {104, 8, "physical minimum"},
                              physical_max = {112, 8, "physical maximum"},
                              digital_min = {120, 8, "digital minimum"},
                              digital_max = {128, 8, "digital maximum"};

static double rate_of(const struct edf *edf, int signal)
{
    return edf->duration > 0 ? (double)edf->signals[signal].samples / edf->duration : 0;
}

static void list_signals(const struct edf *edf)
{
    for (int i = 0; i < edf->n; i++) {
        char *text = edf_text_of(edf_field_of(edf, &unit, i), unit.width),
             *least = edf_text_of(edf_field_of(edf, &physical_min, i), physical_min.width),
             *most = edf_text_of(edf_field_of(edf, &physical_max, i), physical_max.width);

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
    static const struct edf_field *const fields[] = {&physical_min, &physical_max, &digital_min,
                                                     &digital_max};
    struct edf_signal *signal = &edf->signals[i];
    double value[4];

    for (int k = 0; k < 4; k++) {
        const char *text = edf_field_of(edf, fields[k], i);

        if (!edf_number(text, fields[k]->width, &value[k])) {
            edf_complain_of_field(edf, i, fields[k], text, "a number");
            return false;
        }
    }
    if (value[2] == value[3] && value[0] != value[1]) {
        edf_complain(edf, i,
                     "its digital minimum and maximum are both %g, so that its values cannot be "
                     "told",
                     value[2]);
        return false;
    }
    if (value[0] == value[1]) {
        edf_complain(edf, i, "its physical minimum and maximum are both %g: it is flat", value[0]);
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

    length = edf_trim(&name, length);
    for (int i = 0; i < edf->n; i++) {
        const struct edf_signal *signal = &edf->signals[i];

        if (signal->annotations || strlen(signal->label) != length ||
            memcmp(signal->label, name, length) != 0)
            continue;
        if (found < 0)
            found = i;
        else
            edf_complain(edf, i,
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
    edf_complain(edf, other,
                 "it has %g samples a second, not %g: a stream has one rate; --signal %s are of "
                 "that",
                 rate_of(edf, other), rate_of(edf, edf->chosen[0]), same);
    return false;
}

int edf_take_signals(struct edf *edf, const char *names)
{
    bool any = false;
    int status;

    for (int i = 0; i < edf->n; i++)
        any = any || !edf->signals[i].annotations;
    if (!any) {
        edf_complain(edf, -1, "it has annotations only, and no signal: there is nothing to play");
        return FAILED;
    }
    status = choose(edf, names);
    if (status != DONE)
        return status;
    edf->per_record = edf->signals[edf->chosen[0]].samples;
    if (edf->per_record == 0) {
        edf_complain(edf, edf->chosen[0], "it has no samples");
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
