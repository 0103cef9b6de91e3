/*
 * Taking turns, keeping what comes out, and saying what it means: the table, the verdicts, JSON, a
 * plot.
 */
#include "bench.h"
#include "targets.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define ROUNDS_MAX 64
#define SERIES_MAX 2000

/* What one subject has shown in one row, round by round. */
struct series {
    const char *workload, *row, *place, *subject;
    unsigned is;
    const struct unit *unit;
    unsigned rounds;
    double figure[FIGURES][ROUNDS_MAX];
    unsigned failures;
    char trouble[100]; /* the last failure */
};

static struct series all[SERIES_MAX];
static unsigned count;

/* ---- Taking turns ---- */

static bool word_is_in(const char *word, size_t length, const char *text)
{
    for (; *text; text++) {
        if (strncasecmp(text, word, length) == 0)
            return true;
    }
    return length == 0;
}

bool row_is_wanted(const char *workload, const char *row, const char *place)
{
    char text[200];

    snprintf(text, sizeof(text), "%s/%s/%s", workload, row, place);
    if (!bench.filter || !*bench.filter)
        return true;
    for (const char *word = bench.filter; *word;) {
        size_t length = strcspn(word, ",");
        if (length && word_is_in(word, length, text))
            return true;
        word += length + (word[length] == ',');
    }
    return false;
}

static struct series *find(const char *workload, const char *row, const char *place,
                           const char *subject)
{
    for (unsigned i = 0; i < count; i++) {
        struct series *s = &all[i];
        if (strcmp(s->workload, workload) == 0 && strcmp(s->row, row) == 0 &&
            strcmp(s->place, place) == 0 && strcmp(s->subject, subject) == 0)
            return s;
    }
    return NULL;
}

static struct series *series_of(const struct contest *contest, const struct subject *subject)
{
    struct series *s = find(contest->workload, contest->row, contest->place, subject->name);

    if (s)
        return s;
    if (count == SERIES_MAX) {
        fprintf(stderr, "bench: more than %d series\n", SERIES_MAX);
        exit(1);
    }
    s = &all[count++];
    *s = (struct series){.workload = contest->workload,
                         /* for as long as the run: rows may be made up on the way */
                         .row = strdup(contest->row),
                         .place = contest->place,
                         .subject = strdup(subject->name),
                         .is = subject->is,
                         .unit = contest->unit};
    return s;
}

void result_add(const struct contest *contest, const struct subject *subject,
                const double figures[FIGURES])
{
    struct series *s = series_of(contest, subject);

    if (s->rounds == ROUNDS_MAX)
        return;
    for (int i = 0; i < FIGURES; i++)
        s->figure[i][s->rounds] = figures[i];
    s->rounds++;
}

double contest_seconds(const struct contest *contest)
{
    return contest->seconds > 0 ? contest->seconds : bench.seconds;
}

int contest_cpu(const struct contest *contest, unsigned role)
{
    if (contest->one_cpu)
        return bench.cpu[0];
    return contest->pinned ? bench.cpu[role % 2] : ANY_CPU;
}

static void progress(const struct contest *contest, unsigned round, unsigned rounds,
                     const char *subject)
{
    if (!isatty(STDERR_FILENO)) {
        if (subject && round == 0 && strcmp(subject, "") == 0)
            fprintf(stderr, "%s %s, %s\n", contest->workload, contest->row, contest->place);
        return;
    }
    if (subject)
        fprintf(stderr, "\r\033[K%s %s, %s: round %u of %u, %s", contest->workload, contest->row,
                contest->place, round + 1, rounds, subject);
    else
        fprintf(stderr, "\r\033[K");
}

void contest_run(const struct contest *contest, const struct subject *subjects, size_t number)
{
    unsigned rounds = contest->rounds ? contest->rounds : bench.rounds;

    if (contest->by_little && !bench.smoke)
        rounds = 3 * rounds < ROUNDS_MAX ? 3 * rounds : ROUNDS_MAX;
    if (interrupted() || !row_is_wanted(contest->workload, contest->row, contest->place))
        return;
    progress(contest, 0, rounds, "");
    for (unsigned round = 0; round < rounds && !interrupted(); round++) {
        for (size_t i = 0; i < number && !interrupted(); i++) {
            double figures[FIGURES] = {NAN, NAN, NAN, NAN};
            struct series *s = series_of(contest, &subjects[i]);
            if (s->failures > s->rounds) /* not again and again */
                continue;
            progress(contest, round, rounds, subjects[i].name);
            quiet_look();
            if (contest->measure(contest, &subjects[i], figures))
                result_add(contest, &subjects[i], figures);
            else if (!interrupted()) {
                s->failures++;
                snprintf(s->trouble, sizeof(s->trouble), "%s", team_trouble());
            }
        }
    }
    progress(contest, 0, rounds, NULL);
}

/* ---- Statistics ---- */

int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Where `part` of the values are below. */
static double quantile(const double *values, unsigned n, double part)
{
    double sorted[ROUNDS_MAX];
    unsigned kept = 0;

    for (unsigned i = 0; i < n; i++) {
        if (!isnan(values[i]))
            sorted[kept++] = values[i];
    }
    if (kept == 0)
        return NAN;
    qsort(sorted, kept, sizeof(*sorted), compare_doubles);
    double at = part * (kept - 1);
    unsigned low = (unsigned)at;
    return low + 1 < kept ? sorted[low] + (at - low) * (sorted[low + 1] - sorted[low])
                          : sorted[low];
}

static double median(const struct series *s, unsigned figure)
{
    return quantile(s->figure[figure], s->rounds, 0.5);
}

double result_median(const char *workload, const char *row, const char *place, const char *subject,
                     unsigned figure)
{
    struct series *s = find(workload, row, place, subject);

    return s && s->rounds ? median(s, figure) : NAN;
}

/*
 * The ratio of two series: of each round by itself, because what disturbs a round disturbs both;
 * then the median.
 */
static double ratio(const struct series *a, const struct series *b, unsigned figure)
{
    double ratios[ROUNDS_MAX];
    unsigned n = a->rounds < b->rounds ? a->rounds : b->rounds;

    for (unsigned i = 0; i < n; i++)
        ratios[i] = a->figure[figure][i] / b->figure[figure][i];
    return quantile(ratios, n, 0.5);
}

/* The limit that a row is compared with is its first one. */
static const struct series *limit_of(const struct series *of)
{
    for (unsigned i = 0; i < count; i++) {
        struct series *s = &all[i];
        if (s->is & LIMIT && s->rounds && strcmp(s->workload, of->workload) == 0 &&
            strcmp(s->row, of->row) == 0 && strcmp(s->place, of->place) == 0)
            return s;
    }
    return NULL;
}

/* The best of a row among those that are all of `with` and nothing of `without`. */
static const struct series *best(const struct series *of, unsigned with, unsigned without)
{
    const struct series *found = NULL;

    for (unsigned i = 0; i < count; i++) {
        struct series *s = &all[i];
        if ((s->is & with) != with || s->is & without || !s->rounds ||
            strcmp(s->workload, of->workload) || strcmp(s->row, of->row) ||
            strcmp(s->place, of->place))
            continue;
        if (!found || (of->unit->more_is_better ? median(s, 0) > median(found, 0)
                                                : median(s, 0) < median(found, 0)))
            found = s;
    }
    return found;
}

/* ---- The table ---- */

static void print_number(double value)
{
    if (isnan(value))
        printf("%10s", "-");
    else if (fabs(value) >= 1000)
        printf("%10.0f", value);
    else if (fabs(value) >= 10)
        printf("%10.1f", value);
    else
        printf("%10.3f", value);
}

static void print_ratio(const struct series *s, const struct series *to)
{
    if (to && s->rounds)
        printf("  %9.2f", ratio(s, to, 0));
    else
        printf("  %9s", "");
}

static void print_series(const struct series *s, const struct series *peer,
                         const struct series *limit)
{
    printf("  %-32s", s->subject);
    if (!s->rounds) {
        printf("  -  %s\n", s->trouble[0] ? s->trouble : "not measured");
        return;
    }
    double middle = median(s, 0);
    print_number(middle / s->unit->scale);
    printf("  %4.0f %%", middle != 0 ? 100 *
                                           (quantile(s->figure[0], s->rounds, 0.75) -
                                            quantile(s->figure[0], s->rounds, 0.25)) /
                                           middle
                                     : 0);
    print_ratio(s, peer);
    print_ratio(s, limit);
    for (int i = 0; i + 1 < FIGURES; i++) {
        if (!s->unit->also[i])
            continue;
        printf("  ");
        print_number(median(s, (unsigned)i + 1));
    }
    if (s->trouble[0])
        printf("  (%u of %u failed: %s)", s->failures, s->failures + s->rounds, s->trouble);
    printf("\n");
}

/* All series of the same row, in the order in which they were first measured. */
static void print_row(const struct series *first)
{
    const struct series *peer = best(first, PEER, 0), *limit = limit_of(first);

    printf("\n%s  %s, %s\n", first->workload, first->row, first->place);
    printf("  %-32s%10s  %6s  %9s  %9s", "", first->unit->name, "spread", "best peer", "limit");
    for (int i = 0; i + 1 < FIGURES; i++) {
        if (first->unit->also[i])
            printf("  %10s", first->unit->also[i]);
    }
    printf("\n");
    for (const struct series *s = first; s < all + count; s++) {
        if (strcmp(s->workload, first->workload) == 0 && strcmp(s->row, first->row) == 0 &&
            strcmp(s->place, first->place) == 0)
            print_series(s, peer, limit);
    }
}

static bool is_first_of_row(const struct series *s)
{
    for (const struct series *t = all; t < s; t++) {
        if (strcmp(s->workload, t->workload) == 0 && strcmp(s->row, t->row) == 0 &&
            strcmp(s->place, t->place) == 0)
            return false;
    }
    return true;
}

void report_table(void)
{
    for (unsigned i = 0; i < count; i++) {
        if (is_first_of_row(&all[i]))
            print_row(&all[i]);
    }
}

unsigned report_failures(void)
{
    unsigned failed = 0;

    for (unsigned i = 0; i < count; i++) {
        const struct series *s = &all[i];
        if (!s->trouble[0])
            continue;
        fprintf(stderr, "bench: %s %s, %s: %s: %s\n", s->workload, s->row, s->place, s->subject,
                s->trouble);
        failed += s->is & OURS ? 1 : 0;
    }
    return failed;
}

/* ---- The verdicts ---- */

struct verdict {
    const struct series *ours, *against;
    double value, factor;
};

/* The series that a target compares with, or NULL: it was not measured. */
static const struct series *opponent(const struct target *t, const struct series *ours)
{
    if (strcmp(t->against, BEST_PEER) == 0)
        return best(ours, PEER, 0);
    if (strcmp(t->against, BEST_SLEEPING_PEER) == 0)
        return best(ours, PEER, SPINS);
    const struct series *s = find(ours->workload, ours->row, ours->place, t->against);
    return s && s->rounds ? s : NULL;
}

static bool judge(const struct target *t, const struct series *ours, struct verdict *verdict)
{
    *verdict = (struct verdict){.ours = ours, .factor = t->factor};
    if (t->slow_wake_factor > 0 &&
        result_median("W2", WAKE_ROW, "pinned", "raw futex", 0) > SLOW_WAKE)
        verdict->factor = t->slow_wake_factor;
    if (!t->against) {
        verdict->value = median(ours, t->figure);
        return !isnan(verdict->value);
    }
    verdict->against = opponent(t, ours);
    if (!verdict->against)
        return false;
    verdict->value = ratio(ours, verdict->against, t->figure);
    return !isnan(verdict->value);
}

static bool is_reached(const struct target *t, const struct verdict *v)
{
    return t->at_least ? v->value >= v->factor : v->value <= v->factor;
}

static void print_verdict(const struct target *t, const struct verdict *v)
{
    char what[100];

    snprintf(what, sizeof(what), "%s, %s: %s", v->ours->row, v->ours->place, t->subject);
    printf("  %-3s %-62s %s %-6.4g", v->ours->workload, what, t->at_least ? ">=" : "<=", v->factor);
    if (v->against)
        printf(" x %-28s", v->against->subject);
    else
        printf(" %-30s", t->what ? t->what : "");
    printf(" %8.4g  ", v->value);
    if (is_reached(t, v))
        printf("reached\n");
    else if (t->at_least)
        printf("SHORT by %.0f %%\n", 100 * (1 - v->value / v->factor));
    else
        printf("SHORT: %.0f %% too much\n", 100 * (v->value / v->factor - 1));
}

void report_verdicts(void)
{
    unsigned reached = 0, judged = 0, unjudged = 0;

    printf("\nVerdicts (ratios are medians of the rounds' own)\n");
    for (const struct target *t = targets; t->workload; t++) {
        bool found = false;
        for (unsigned i = 0; i < count; i++) {
            struct series *s = &all[i];
            struct verdict v;
            if (!s->rounds || strcmp(s->workload, t->workload) || strcmp(s->subject, t->subject) ||
                strcmp(s->row, t->row) || (t->place && strcmp(s->place, t->place)))
                continue;
            found = true;
            if (!judge(t, s, &v)) {
                printf("  %-3s %s, %s: %s: nothing to compare with\n", s->workload, s->row,
                       s->place, t->subject);
                unjudged++;
                continue;
            }
            print_verdict(t, &v);
            judged++;
            reached += is_reached(t, &v);
        }
        if (!found)
            unjudged++;
    }
    printf("  %u of %u reached%s\n", reached, judged,
           unjudged ? "; the others were not measured" : "");
}

/* ---- JSON ---- */

static void json_text(FILE *file, const char *text)
{
    putc('"', file);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putc('\\', file);
        putc(*text, file);
    }
    putc('"', file);
}

static void json_number(FILE *file, double value)
{
    if (isfinite(value))
        fprintf(file, "%.6g", value);
    else
        fputs("null", file);
}

static void json_pair(FILE *file, const char *name, const char *text)
{
    fprintf(file, "\"%s\": ", name);
    json_text(file, text);
    fprintf(file, ", ");
}

static void json_series(FILE *file, const struct series *s)
{
    fprintf(file, "    {");
    json_pair(file, "workload", s->workload);
    json_pair(file, "row", s->row);
    json_pair(file, "place", s->place);
    json_pair(file, "subject", s->subject);
    json_pair(file, "is", s->is & OURS ? "shmkit" : s->is & PEER ? "peer" : "limit");
    if (s->trouble[0])
        json_pair(file, "trouble", s->trouble);
    for (int i = 0; i < FIGURES; i++) {
        if (i > 0 && !s->unit->also[i - 1])
            continue;
        json_text(file, i ? s->unit->also[i - 1] : s->unit->name);
        fprintf(file, ": [");
        for (unsigned k = 0; k < s->rounds; k++) {
            fputs(k ? ", " : "", file);
            json_number(file, s->figure[i][k] / (i ? 1 : s->unit->scale));
        }
        fprintf(file, "], ");
    }
    fprintf(file, "\"spins\": %s}", s->is & SPINS ? "true" : "false");
}

static void json_verdicts(FILE *file)
{
    bool any = false;

    for (const struct target *t = targets; t->workload; t++) {
        for (unsigned i = 0; i < count; i++) {
            struct series *s = &all[i];
            struct verdict v;
            if (!s->rounds || strcmp(s->workload, t->workload) || strcmp(s->subject, t->subject) ||
                strcmp(s->row, t->row) || (t->place && strcmp(s->place, t->place)) ||
                !judge(t, s, &v))
                continue;
            fprintf(file, "%s    {", any ? ",\n" : "");
            any = true;
            json_pair(file, "workload", s->workload);
            json_pair(file, "row", s->row);
            json_pair(file, "place", s->place);
            json_pair(file, "subject", s->subject);
            json_pair(file, "against", v.against ? v.against->subject : t->what ? t->what : "");
            json_pair(file, "way", t->at_least ? "at least" : "at most");
            fprintf(file, "\"must\": %.4g, \"is\": %.6g, \"reached\": %s}", v.factor, v.value,
                    is_reached(t, &v) ? "true" : "false");
        }
    }
}

bool report_json(const char *path)
{
    FILE *file = strcmp(path, "-") == 0 ? stdout : fopen(path, "w");

    if (!file) {
        perror(path);
        return false;
    }
    fprintf(file, "{\n  \"seconds\": %g, \"rounds\": %u, \"cpus\": %u, \"at_full_speed\": [",
            bench.seconds, bench.rounds, bench.cpus);
    for (int i = 0; i < 2; i++) {
        fputs(i ? ", " : "", file);
        json_number(file, quiet_full_speed(i));
    }
    fputs("],\n  \"results\": [\n", file);
    for (unsigned i = 0; i < count; i++) {
        json_series(file, &all[i]);
        fprintf(file, "%s\n", i + 1 < count ? "," : "");
    }
    fprintf(file, "  ],\n  \"verdicts\": [\n");
    json_verdicts(file);
    fprintf(file, "\n  ]\n}\n");
    return file == stdout ? fflush(file) == 0 : fclose(file) == 0;
}
