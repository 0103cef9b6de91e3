#include "chains.h"
#include "describe.h"
#include "quantity.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

const char *const verdict_names[] = {
    [VERDICT_AWAKE] = "awake",           [VERDICT_WAITING] = "waiting",
    [VERDICT_STALLED] = "stalled",       [VERDICT_STRANDED] = "stranded",
    [VERDICT_DEADLOCKED] = "deadlocked",
};

/*
 * "waits to acquire bank/till", "waits for race/go to be set"; what could wake it: "could release
 * it", "could set it"
 */
static const struct words {
    const char *before, *after, *wake;
} words[] = {
    [SHK_WAITS_TO_ACQUIRE] = {"to acquire ", "", "release it"},
    [SHK_WAITS_FOR_NOTIFY] = {"for a notify of ", "", "notify it"},
    [SHK_WAITS_FOR_SET] = {"for ", " to be set", "set it"},
    [SHK_WAITS_TO_PUT] = {"to put into ", "", "get from it"},
    [SHK_WAITS_TO_GET] = {"to get from ", "", "put into it"},
    [SHK_WAITS_FOR_PERMIT] = {"for a permit of ", "", "release one"},
    [SHK_WAITS_FOR_PARTIES] = {"for the others at ", "", "come"},
    [SHK_WAITS_FOR_SAMPLES] = {"for samples of ", "", "append some"},
    [SHK_WAITS_TO_JOIN] = {"for the tasks of ", " to be done", "finish them"},
    [SHK_WAITS_FOR_ANY] = {"for any of several, the first of them ", "", "make one ready"},
    [SHK_WAITS_TO_READ] = {"to share ", "", "release it"},
    [SHK_WAITS_FOR_ONCE] = {"for ", " to be done", "do it"},
    [SHK_WAITS_FOR_VERSION] = {"for a newer version of ", "", "set it"},
};

static const struct words *words_for(const struct thread *t)
{
    static const struct words unknown = {"for ", "", "wake it"};
    uint32_t i = t->member->waits_for;

    return i < sizeof(words) / sizeof(*words) && words[i].before ? &words[i] : &unknown;
}

void print_wait(FILE *to, const struct thread *t)
{
    const struct shk_member_info *m = t->member;
    char duration[QUANTITY_MAX];

    if (t->command) {
        fprintf(to, "waits for its command");
        return;
    }
    fprintf(to, "waits %s%s/%s%s, for %s%s", words_for(t)->before,
            shk_snapshot_segment(t->snapshot)->name, *m->waits_on ? m->waits_on : "(removed)",
            words_for(t)->after, format_duration(duration, m->waiting),
            m->has_deadline ? ", with a deadline" : "");
}

/* ", which has been stopped for 3m05s" */
static void print_activity(FILE *to, int32_t pid, int32_t tid, enum activity activity,
                           const char *if_running)
{
    static const struct {
        const char *now, *for_long;
    } sentences[] = {
        [ASLEEP] = {"sleeps", "has slept"},
        [IN_DISK_SLEEP] = {"is in disk sleep", "has been in disk sleep"},
        [IS_STOPPED] = {"is stopped", "has been stopped"},
        [IS_TRACED] = {"is stopped by a debugger", "has been stopped by a debugger"},
        [IS_FROZEN] = {"is frozen", "has been frozen"},
        [DUMPS_CORE] = {"has crashed and dumps its core", NULL},
        [HAS_ENDED] = {"has ended", NULL},
    };
    char duration[QUANTITY_MAX];
    int64_t idle = 0;

    if (activity == ACTIVITY_UNKNOWN || activity == RUNS) {
        fprintf(to, ", which %s", if_running);
        return;
    }
    if (sentences[activity].for_long)
        idle = idle_for(pid, tid);
    if (idle)
        fprintf(to, ", which %s for %s", sentences[activity].for_long,
                format_duration(duration, idle));
    else
        fprintf(to, ", which %s", sentences[activity].now);
}

/* On another machine: whether it runs is not known, but that it is there. */
static bool is_elsewhere(const struct thread *t)
{
    return t->activity == ACTIVITY_UNKNOWN && shk_snapshot_segment(t->snapshot)->revision != 0;
}

static void print_at_work(FILE *to, const struct thread *t)
{
    const struct process *p = &t->stopped;

    if (t->script.pid && !t->stalled) {
        print_activity(to, t->script.pid, t->script.pid, activity_of(t->script.pid, t->script.pid),
                       "is at work");
    } else if (p->pid && p->pid == t->script.pid) {
        print_activity(to, p->pid, p->pid, p->activity, "");
    } else if (p->pid) {
        fprintf(to, ", which waits for %s (%" PRId32 ")", p->command, p->pid);
        print_activity(to, p->pid, p->pid, p->activity, "");
    } else {
        print_activity(to, t->pid, t->tid, t->activity,
                       is_elsewhere(t) ? "has a lease that lasts" : "is at work");
    }
    fputc('\n', to);
}

/* What waits for the same is the last of which to expect it. */
static bool waits_alike(const struct thread *a, const struct thread *b)
{
    return a->object == b->object && a->member->waits_for == b->member->waits_for;
}

/* "; the last consumer, reader (1610), died 2s ago" */
static void print_lost(FILE *to, const struct thread *t, uint64_t dead)
{
    const struct shk_member_info *m = shk_snapshot_find_member(t->snapshot, dead);
    char buffer[DESCRIPTION_MAX], duration[QUANTITY_MAX];
    int64_t ago = m->death_noticed ? time(NULL) - m->death_noticed : 0;

    if (line_of_wakers(t) != SHK_LINE_BROKEN) {
        fprintf(to, "; %s has died", describe_member(buffer, t->snapshot, m));
        return;
    }
    fprintf(to, "; the last %s, %s, died",
            t->member->waits_for == SHK_WAITS_TO_PUT ? "consumer" : "producer",
            describe_member(buffer, t->snapshot, m));
    if (ago > 0)
        fprintf(to, " %s ago", format_duration(duration, SHK_SEC(ago)));
}

/* The end of a chain: what could wake the last one in it. */
static void print_wakers(FILE *to, const struct world *world, const struct thread *t)
{
    const char *wake = words_for(t)->wake;
    char buffer[DESCRIPTION_MAX];
    size_t at = 0;
    const struct thread *other = possible_waker(world, t, &at), *next;
    uint64_t dead = lost_waker(t);
    size_t more = 0;

    if (!other && t->able) {
        fputs(t->object && t->member->has_deadline
                  ? "nothing is attached now that could, but it will give up by itself\n"
                  : "about to go on\n",
              to);
        return;
    }
    if (!other) {
        fprintf(to, "nothing is attached now that could %s", wake);
        if (dead)
            print_lost(to, t, dead);
        fputc('\n', to);
        return;
    }
    while ((next = possible_waker(world, t, &at))) {
        more++;
        other = waits_alike(other, t) && !waits_alike(next, t) ? next : other;
    }
    fprintf(to, "%s", describe_member(buffer, other->snapshot, other->member));
    if (more)
        fprintf(to, " and %zu more", more);
    if (other->stalled && !more)
        print_activity(to, other->pid, other->tid, other->activity, "is at work");
    fprintf(to, "%s could %s\n", other->stalled && !more ? "," : "", wake);
}

/* Is it among the first ones of the chain? */
static bool is_met_before(const struct thread *first, const struct thread *t, size_t depth)
{
    for (; depth > 0; depth--, first = next_in_chain(first)) {
        if (first == t)
            return true;
    }
    return false;
}

/* "backup.sh (4711)": the script that holds a lock by a descriptor, not what holds it for that. */
static void print_name(FILE *to, const struct thread *t)
{
    char buffer[DESCRIPTION_MAX];

    if (t->script.pid)
        fprintf(to, "%s (%" PRId32 ")", *t->member->name ? t->member->name : t->script.command,
                t->script.pid);
    else
        fprintf(to, "%s", describe_member(buffer, t->snapshot, t->member));
}

/* "  held by backup.sh (4711) for 3h05m": how the chain goes on from `t`. */
static void print_link(FILE *to, const struct thread *t, size_t depth)
{
    const struct thread *next = next_in_chain(t);
    char duration[QUANTITY_MAX];

    fprintf(to, "%*s", (int)depth * 2, "");
    if (t->holder && t->owners > 1)
        fprintf(to, "held by %zu processes, among them ", t->owners);
    else
        fprintf(to, "%s ", t->holder ? "held by" : t->is_command_itself ? "which is" : "in which");
    print_name(to, next);
    if (next->script.pid)
        fprintf(to, ", by descriptor %d", next->script.descriptor);
    if (t->holder && t->object->held)
        fprintf(to, "%s for %s", next->script.pid ? "," : "",
                format_duration(duration, t->object->held));
}

/* The thread, the holder of what it waits for, what that one waits for, and so on. */
static void print_chain(FILE *to, const struct world *world, const struct thread *first)
{
    const struct thread *t = first;
    size_t depth = 1;

    fprintf(to, "%s: ", verdict_names[first->verdict]);
    print_name(to, first);
    if (first->stalled && !first->command)
        print_activity(to, first->pid, first->tid, first->activity, "is at work");
    fputs(first->stalled && !first->command ? ", " : " ", to);
    print_wait(to, first);
    fputc('\n', to);
    for (; next_in_chain(t); depth++) {
        const struct thread *next = next_in_chain(t);
        bool by_command = !t->holder && !t->is_command_itself;

        print_link(to, t, depth);
        t = next;
        if (t->verdict == VERDICT_AWAKE) {
            print_at_work(to, t);
            return;
        }
        if (is_met_before(first, t, depth)) {
            fputs(", which closes the circle\n", to);
            return;
        }
        fputs(by_command ? " " : ", which ", to);
        print_wait(to, t);
        fputc('\n', to);
    }
    fprintf(to, "%*s", (int)depth * 2, "");
    print_wakers(to, world, t);
}

/* The worst first; a circle once. */
void print_chains(FILE *to, const struct world *world,
                  bool (*is_wanted)(const struct world *, const struct thread *, const void *),
                  const void *arg)
{
    bool *told = allocate(world->n, sizeof(*told));

    for (enum verdict v = VERDICT_DEADLOCKED; v > VERDICT_AWAKE; v--) {
        for (size_t i = 0; i < world->n; i++) {
            const struct thread *t = &world->threads[i];

            if (t->verdict != v || told[i] || !is_wanted(world, t, arg))
                continue;
            print_chain(to, world, t);
            for (const struct thread *u = t; t->in_circle && !told[u - world->threads];
                 u = next_in_chain(u))
                told[u - world->threads] = true;
        }
    }
    free(told);
}
