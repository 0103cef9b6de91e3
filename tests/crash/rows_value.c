/* The newest value, killed. */
#include "harness.h"

#include <errno.h>

/* A row's variant: how often the value has been set; and */
enum {
    SETS = 7,
    ADDS = 8,     /* the victim adds, */
    COMPARES = 16 /* … or compares and sets; else it sets */
};

/* A value says itself whether it is whole; its first word is its version. */
#define WORDS 12

static void fill(int64_t *words, int64_t version)
{
    for (int i = 0; i < WORDS; i++)
        words[i] = version * (i + 1);
}

static int64_t set_next(struct world *w, int64_t unused)
{
    int64_t words[WORDS], version = shk_value_version(w->value) + 1;

    (void)unused;
    fill(words, version);
    return shk_value_set(w->value, words, sizeof(words));
}

static int64_t change(struct world *w, int64_t unused)
{
    int64_t words[WORDS], before = w->row->variant & SETS;

    (void)unused;
    fill(words, before + 1);
    if (w->row->variant & ADDS)
        return shk_value_add(w->value, 1, NULL);
    return w->row->variant & COMPARES
               ? shk_value_compare_and_set(w->value, (uint64_t)before, words, sizeof(words))
               : shk_value_set(w->value, words, sizeof(words));
}

/* The version, if it is whole; -EILSEQ: it is not. */
static int64_t get(struct world *w, int64_t unused)
{
    int64_t words[WORDS] = {0}, whole[WORDS];
    uint64_t version;
    ssize_t n = shk_value_get(w->value, words, sizeof(words), &version);

    (void)unused;
    fill(whole, (int64_t)version);
    if (n < 0)
        return n;
    for (int i = 0; i < n / 8; i++)
        if (words[i] != whole[i])
            return -EILSEQ;
    return n == (version == 0             ? 0
                 : w->row->variant & ADDS ? 8
                                          : (ssize_t)sizeof(words))
               ? (int64_t)version
               : -EILSEQ;
}

static int64_t wait_newer(struct world *w, int64_t version)
{
    return shk_value_wait(w->value, (uint64_t)version, SHK_FOREVER);
}

static int64_t wait_next(struct world *w, int64_t unused)
{
    (void)unused;
    return wait_newer(w, w->row->variant & SETS);
}

static int64_t wait_for_a_while(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_value_wait(w->value, w->row->variant & SETS, IN_TIME);
}

static int64_t create(struct world *w, int64_t variant)
{
    const struct shk_value_options options = {.size = WORDS * sizeof(int64_t)};
    int64_t r = create_segment(w, 0);

    if (r == 0)
        r = shk_value_open(w->segment, VALUE, SHK_CREATE, &options, &w->value);
    for (int i = 0; r >= 0 && i < (variant & SETS); i++)
        r = variant & ADDS ? shk_value_add(w->value, 1, NULL) : set_next(w, 0);
    return r < 0 ? r : 0;
}

static void waiters_0(struct world *w)
{
    start_host(w, create, w->row->variant);
}

static void waiters_2(struct world *w)
{
    waiters_0(w);
    start_sleeper(w, wait_newer, w->row->variant & SETS);
    start_sleeper(w, wait_newer, w->row->variant & SETS);
}

static void host_changes(struct world *w)
{
    int64_t r = call(w, HOST, w->row->variant & ADDS ? change : set_next, 0);

    EXPECT(w, r > 0, "the host cannot change it: %lld", (long long)r);
}

static void all_wake(struct world *w, int64_t before)
{
    for (unsigned actor = SLEEPER_1; actor <= w->last_sleeper; actor++)
        if (is_busy(w, actor))
            EXPECT(w, finish(w, actor) > before, "a waiter does not get the new version");
}

/* The old version or the new one, whole. */
static void check_change(struct world *w)
{
    int64_t before = w->row->variant & SETS, there = call(w, HOST, get, 0);

    EXPECT(w, there == before || there == before + 1, "version %lld, or torn", (long long)there);
    EXPECT(w, !w->acknowledged || there == before + 1, "an acknowledged version is lost");
    EXPECT(w, !w->untouched || there == before, "a version that the victim has not set");
    if (there == before)
        host_changes(w);
    all_wake(w, before);
    EXPECT(w, call(w, HOST, get, 0) == before + 1, "the new version is torn");
}

static void check_wait(struct world *w)
{
    if (!w->on_sleep_runs)
        host_changes(w);
    all_wake(w, w->row->variant & SETS);
}

static void carry_on(struct world *w)
{
    int64_t version = call(w, HOST, get, 0);

    start_attached(w, NEWCOMER);
    start(w, NEWCOMER, wait_newer, version);
    EXPECT(w, falls_asleep(w, NEWCOMER), "the newcomer does not wait");
    host_changes(w);
    EXPECT(w, finish(w, NEWCOMER) == version + 1, "the newcomer does not get the host's version");
    EXPECT(w, call(w, NEWCOMER, get, 0) == version + 1, "the newcomer cannot get it");
}

#define CHANGES .operation = change, .check = check_change, .carry_on = carry_on

/* clang-format off */
static const struct row rows[] = {
    {"shk_value_set", "never set", .setup = waiters_0, CHANGES},
    {"shk_value_set", "set 5 times, two wait", .setup = waiters_2, CHANGES, .variant = 5},
    {"shk_value_compare_and_set", "set 3 times, two wait", .setup = waiters_2, CHANGES,
     .variant = 3 | COMPARES},
    {"shk_value_add", "4", .setup = waiters_0, CHANGES, .variant = 4 | ADDS},
    {"shk_value_wait", "no newer version", .setup = waiters_0, .operation = wait_next,
     .on_sleep = host_changes, .check = check_wait, .carry_on = carry_on, .variant = 2},
    {"shk_value_wait", "no newer version, two others wait", .setup = waiters_2,
     .operation = wait_next, .on_sleep = host_changes, .check = check_wait, .carry_on = carry_on,
     .variant = 2},
    {"shk_value_wait", "no newer version, timeout", .setup = waiters_0,
     .operation = wait_for_a_while, .on_sleep = host_changes, .on_sleep_from = NEVER,
     .check = check_wait, .carry_on = carry_on},
};
/* clang-format on */
const struct rows value_rows = ROWS(rows);
