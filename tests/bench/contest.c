/* Taking turns: in a row, all subjects are measured round by round, A B C A B C. */
#include "report.h"
#include "without.h"

#include <math.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static bool word_is_in(const char *word, size_t length, const char *text)
{
    for (; *text; text++) {
        if (strncasecmp(text, word, length) == 0)
            return true;
    }
    return length == 0;
}

bool words_match(const char *words, const char *text)
{
    for (const char *word = words; *word;) {
        size_t length = strcspn(word, ",");
        if (length && word_is_in(word, length, text))
            return true;
        word += length + (word[length] == ',');
    }
    return false;
}

bool row_is_wanted(const char *workload, const char *row, const char *place)
{
    char text[200];

    snprintf(text, sizeof(text), "%s/%s/%s", workload, row, place);
    return !bench.filter || !*bench.filter || words_match(bench.filter, text);
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

static void say_row(const struct contest *contest)
{
    if (!isatty(STDERR_FILENO))
        fprintf(stderr, "%s %s, %s\n", contest->workload, contest->row, contest->place);
}

static void say_progress(const struct contest *contest, unsigned round, unsigned rounds,
                         const char *subject)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K%s %s, %s: round %u of %u, %s", contest->workload, contest->row,
                contest->place, round + 1, rounds, subject);
}

static void clear_progress(void)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
}

static void measure_once(const struct contest *contest, const struct subject *subject,
                         struct series *s)
{
    double figures[FIGURES] = {NAN, NAN, NAN, NAN};
    struct circumstances circumstances;

    quiet_check();
    without_begin(subject);
    circumstances_begin();
    bool well = contest->measure(contest, subject, figures);
    circumstances_end(&circumstances);
    without_end();
    if (well) {
        series_add(s, figures, &circumstances);
    } else if (!interrupted()) {
        s->failures++;
        snprintf(s->trouble, sizeof(s->trouble), "%s", team_trouble());
    }
}

static void run_rounds(const struct contest *contest, const struct subject *subjects, size_t number,
                       unsigned rounds)
{
    for (unsigned round = 0; round < rounds && !interrupted(); round++) {
        for (size_t i = 0; i < number && !interrupted(); i++) {
            struct series *s;
            if (bench.ours && !(subjects[i].is & OURS))
                continue;
            s = series_of(contest, &subjects[i]);
            if (s->failures > s->rounds) /* not again and again */
                continue;
            say_progress(contest, round, rounds, subjects[i].name);
            measure_once(contest, &subjects[i], s);
        }
    }
}

/* Whether more rounds are worth their time: a figure of ours is not settled yet. */
static bool is_unsettled(const struct contest *contest, const struct subject *subjects,
                         size_t number)
{
    for (size_t i = 0; i < number; i++) {
        if (subjects[i].is & OURS && series_spread(series_of(contest, &subjects[i])) > SPREAD_MAX)
            return true;
    }
    return false;
}

void contest_run(const struct contest *contest, const struct subject *subjects, size_t number)
{
    unsigned rounds = contest->rounds ? contest->rounds : bench.rounds;
    struct subject variants[VARIANTS_MAX];

    if (interrupted() || !row_is_wanted(contest->workload, contest->row, contest->place))
        return;
    if (bench.without) {
        number = without_variants(contest, subjects, number, variants);
        subjects = variants;
        if (number == 0)
            return;
    } else if (contest->by_little && !bench.smoke) {
        rounds = 3 * rounds < ROUNDS_MAX ? 3 * rounds : ROUNDS_MAX;
    }
    say_row(contest);
    run_rounds(contest, subjects, number, rounds);
    if (!bench.smoke && rounds > 1 && is_unsettled(contest, subjects, number))
        run_rounds(contest, subjects, number,
                   2 * rounds < ROUNDS_MAX ? rounds : ROUNDS_MAX - rounds);
    clear_progress();
}
