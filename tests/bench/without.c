#include "without.h"

#include "base/hooks.h"
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Below that a heuristic is not worth its lines. */
#define WORTH_IT 5 /* % */

static const struct heuristic {
    const char *name;
    unsigned policy;
    const char *what;           /* what it is for */
    const char *rows, *subject; /* the rows that show it, as BENCH_FILTER; of which subject */
    unsigned figure;            /* which figure of the row shows it */
    bool less_is_better;        /* … where it is not the first one */
} heuristics[] = {
    {"spin", SHKI_POLICY_SPIN,
     "a waiter stays awake for 20 us before it sleeps: a hand-off between running CPUs takes "
     "0.4 us, a wake-up 60",
     "W3/awake/,capacity 1", "shmkit", 0, false},
    {"backoff", SHKI_POLICY_BACKOFF,
     "a waiter that spins in vain spins half as long the next time: the CPU is the other side's",
     "W3/asleep/one,capacity 1,W6/64 locks", "shmkit,shmkit lock", 0, false},
    {"probe", SHKI_POLICY_PROBE,
     "a waiter that has given spinning up tries it now and then, longer than a wake-up takes: two "
     "sleepers would never find out that it pays",
     "W3/awake/,capacity 1", "shmkit", 0, false},
    {"yield", SHKI_POLICY_YIELD,
     "a waiter on the CPU of the other side gives it way instead of sleeping",
     "W3/asleep/one,W6/64 locks", "shmkit,shmkit lock", 0, false},
    {"spared", SHKI_POLICY_SPARED,
     "no wake-up if an awake waiter takes the item within 24 checks: the sleeper would wake for "
     "nothing",
     "capacity 1", "shmkit", 0, false},
    {"lock-first", SHKI_POLICY_LOCK_FIRST,
     "a lock's first waits do not spin: with many locks the first tries add up", "W6/",
     "shmkit lock", 0, false},
    {"holder-pauses", SHKI_POLICY_PAUSES,
     "32 pauses between two checks of a held lock: each check takes the line from the owner",
     "W6/1 lock,W6/2 locks,W6/4 locks", "shmkit lock", 0, false},
    {"handoff", SHKI_POLICY_HANDOFF,
     "a waiter that was barged past for 2 ms asks for the lock to be handed to it", "W6/1 lock",
     "shmkit lock", 1, true},
    {"slip", SHKI_POLICY_SLIP,
     "a side too close behind the other pauses, and then finds many items: one cache miss for "
     "eight",
     "W1/8 B,W1/64 B,W1/1 KiB", "shmkit,shmkit claimed", 0, false},
    {"fetch-put", SHKI_POLICY_FETCH_PUT,
     "a producer fetches the line of a later slot before it needs it", "W1/8 B,W1/64 B,W1/1 KiB",
     "shmkit,shmkit claimed", 0, false},
    {"fetch-get", SHKI_POLICY_FETCH_GET,
     "a consumer fetches the lines of a later item before it needs them", "W1/8 B,W1/64 B",
     "shmkit,shmkit claimed", 0, false},
    {"poll", SHKI_POLICY_POLL,
     "a consumer whose waits are short polls the slot itself, without the slow loop's accounts, "
     "and not before the item is about to come",
     "W3/awake/", "shmkit,shmkit claimed", 0, false},
    {"turn", SHKI_POLICY_TURN,
     "a side that stays awake lets sleepers of its side go first, every 0.2 ms: they would never "
     "win",
     "capacity 1", "shmkit", 1, true},
    {"need-fence", SHKI_POLICY_NEED_FENCE,
     "after 1000 commits without a sleeper the committing side does without its fence", "W1/8 B",
     "shmkit,shmkit claimed", 0, false},
    {"bias", SHKI_POLICY_BIAS,
     "64 operations in a row make a thread the bias owner of a side: no atomic instruction any "
     "more",
     "W1/8 B,W1/64 B,W3/awake/", "shmkit", 0, false},
};

/* By what is appended to a subject's name. */
#define WITHOUT " without "

/* The heuristic that a subject does without, or NULL. */
static const struct heuristic *heuristic_of(const char *subject)
{
    const char *end = strstr(subject, WITHOUT);

    for (size_t i = 0; end && i < COUNT(heuristics); i++) {
        if (strcmp(end + strlen(WITHOUT), heuristics[i].name) == 0)
            return &heuristics[i];
    }
    return NULL;
}

void without_list(void)
{
    for (size_t i = 0; i < COUNT(heuristics); i++)
        printf("%-13s %s [%s]\n", heuristics[i].name, heuristics[i].what, heuristics[i].rows);
}

bool without_parse(const char *names)
{
#ifdef SHKI_TEST_HOOKS
    for (const char *name = names; *name;) {
        size_t length = strcspn(name, ",");
        unsigned found = 0;
        for (size_t i = 0; i < COUNT(heuristics); i++) {
            const struct heuristic *h = &heuristics[i];
            if ((strlen(h->name) == length && strncmp(h->name, name, length) == 0) ||
                (length == 3 && strncmp(name, "all", 3) == 0))
                found |= h->policy;
        }
        if (!found)
            return false;
        bench.without |= found;
        name += length + (name[length] == ',');
    }
    return bench.without != 0;
#else
    (void)names;
    return false;
#endif
}

/* Whether the subject is one of the comma-separated names. */
static bool is_named(const char *names, const char *subject)
{
    size_t length;

    for (const char *name = names; *name; name += length + (name[length] == ',')) {
        length = strcspn(name, ",");
        if (length == strlen(subject) && strncmp(name, subject, length) == 0)
            return true;
    }
    return false;
}

static bool is_wanted(const struct heuristic *h, const struct contest *contest,
                      const struct subject *subject)
{
    char text[200];

    snprintf(text, sizeof(text), "%s/%s/%s", contest->workload, contest->row, contest->place);
    return bench.without & h->policy && subject->is & OURS && is_named(h->subject, subject->name) &&
           words_match(h->rows, text);
}

size_t without_variants(const struct contest *contest, const struct subject *subjects,
                        size_t number, struct subject variants[VARIANTS_MAX])
{
    char name[100];
    size_t n = 0;

    for (size_t i = 0; i < number; i++) {
        bool first = true;
        for (size_t k = 0; k < COUNT(heuristics) && n + 2 <= VARIANTS_MAX; k++) {
            if (!is_wanted(&heuristics[k], contest, &subjects[i]))
                continue;
            if (first)
                variants[n++] = subjects[i];
            first = false;
            snprintf(name, sizeof(name), "%s" WITHOUT "%s", subjects[i].name, heuristics[k].name);
            variants[n] = subjects[i];
            variants[n++].name = strdup(name);
        }
    }
    return n;
}

void without_begin(const struct subject *subject)
{
#ifdef SHKI_TEST_HOOKS
    const struct heuristic *h = heuristic_of(subject->name);

    shki_test_without = h ? h->policy : 0;
#else
    (void)subject;
#endif
}

void without_end(void)
{
#ifdef SHKI_TEST_HOOKS
    shki_test_without = 0;
#endif
}

/* What the heuristic brings, in %: how much better the row is with it. */
static double gain(const struct heuristic *h, const struct series *with,
                   const struct series *without)
{
    double ratio = series_ratio(with, without, h->figure);
    bool more = h->figure == 0 ? with->unit->more_is_better : !h->less_is_better;

    return 100 * (more ? ratio - 1 : 1 / ratio - 1);
}

static void print_gain(const struct heuristic *h, const struct series *without, double *best)
{
    char name[100];
    size_t length = strlen(without->subject) - strlen(WITHOUT) - strlen(h->name);
    double scale = h->figure == 0 ? without->unit->scale : 1;
    const struct series *with;

    snprintf(name, sizeof(name), "%.*s", (int)length, without->subject);
    with = series_find(without->workload, without->row, without->place, name);
    if (!with || !with->rounds || !without->rounds)
        return;
    double g = gain(h, with, without);
    *best = fmax(*best, g);
    snprintf(name + length, sizeof(name) - length, ", %s, %s", without->row, without->place);
    printf("    %-4s %-50s %10.4g with %10.4g without %s  gain %6.1f %%  (spreads %.0f, %.0f %%)\n",
           without->workload, name, series_median(with, h->figure) / scale,
           series_median(without, h->figure) / scale,
           h->figure ? without->unit->also[h->figure - 1] : without->unit->name, g,
           100 * series_spread(with), 100 * series_spread(without));
}

void report_without(void)
{
    const struct series *s;

    printf("\nWhat each heuristic brings: medians of the rounds' own ratios, turn by turn\n");
    for (size_t k = 0; k < COUNT(heuristics); k++) {
        const struct heuristic *h = &heuristics[k];
        double best = -INFINITY;
        if (!(bench.without & h->policy))
            continue;
        printf("\n  %s: %s\n", h->name, h->what);
        for (unsigned i = 0; (s = series_at(i)); i++) {
            if (heuristic_of(s->subject) == h)
                print_gain(h, s, &best);
        }
        if (best < WORTH_IT && best > -INFINITY)
            printf("    brings less than %d %% in every row\n", WORTH_IT);
    }
}
