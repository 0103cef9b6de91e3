#include "verdict.h"
#include "describe.h"
#include "hold.h"
#include "snapshots.h"
#include "spawn.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BETWEEN_SNAPSHOTS \
    SHK_MS(300) /* a sleeper checks each 100 ms whether its wake-up was lost */

static int by_identity(const void *a, const void *b)
{
    const struct thread *t = a;
    const struct thread *u = b;

    if (t->pid_namespace != u->pid_namespace)
        return t->pid_namespace < u->pid_namespace ? -1 : 1;
    if (t->pid != u->pid)
        return t->pid < u->pid ? -1 : 1;
    return (t->tid > u->tid) - (t->tid < u->tid);
}

static struct thread identity(const struct shk_snapshot *snapshot, const struct shk_member_info *m)
{
    return (struct thread){.pid_namespace = m->namespace_,
                           .pid = m->pid,
                           .tid = m->tid,
                           .member = m,
                           .snapshot = snapshot};
}

static struct thread *find_identity(const struct world *w, const struct thread *key)
{
    return bsearch(key, w->threads, w->n, sizeof(*w->threads), by_identity);
}

static struct thread *find_thread(const struct world *w, const struct shk_snapshot *snapshot,
                                  const struct shk_member_info *m)
{
    struct thread key = identity(snapshot, m);

    return find_identity(w, &key);
}

/* All living threads, each once, by namespace and number. */
static void gather_threads(struct world *w)
{
    const struct shk_member_info *m;
    size_t members = 0;
    size_t n = 0;

    for (struct shk_snapshot **snapshot = w->snapshots; *snapshot; snapshot++) {
        for (size_t i = 0; shk_snapshot_member(*snapshot, i); i++)
            members++;
    }
    w->threads = allocate(members, sizeof(*w->threads));
    w->by_member = allocate(members, sizeof(*w->by_member));
    for (struct shk_snapshot **snapshot = w->snapshots; *snapshot; snapshot++) {
        for (size_t i = 0; (m = shk_snapshot_member(*snapshot, i)); i++) {
            if (m->alive)
                w->threads[n++] = identity(*snapshot, m);
        }
    }
    qsort(w->threads, n, sizeof(*w->threads), by_identity);
    for (size_t i = 0; i < n; i++) {
        if (w->n == 0 || by_identity(&w->threads[w->n - 1], &w->threads[i]) != 0)
            w->threads[w->n++] = w->threads[i];
    }
}

/* Note the threads of each snapshot in its order, and where each waits. */
static void index_threads(struct world *w)
{
    const struct shk_member_info *m;
    struct thread **by_member = w->by_member;

    for (struct shk_snapshot **snapshot = w->snapshots; *snapshot; snapshot++) {
        struct thread **first = by_member;

        for (size_t i = 0; (m = shk_snapshot_member(*snapshot, i)); i++, by_member++) {
            struct thread *t = *by_member = m->alive ? find_thread(w, *snapshot, m) : NULL;

            if (!t || (t->by_member && m->waits_for == SHK_WAITS_NOT))
                continue;
            t->member = m;
            t->snapshot = *snapshot;
            t->by_member = first;
            t->object = m->waits_for == SHK_WAITS_NOT
                            ? NULL
                            : shk_snapshot_find_object(*snapshot, m->waits_on);
        }
    }
}

struct thread *next_in_chain(const struct thread *t)
{
    return t->holder ? t->holder : t->command;
}

static bool waits(const struct thread *t)
{
    return t->member->waits_for != SHK_WAITS_NOT || t->command;
}

static bool is_able(const struct thread *t)
{
    return t->able;
}

/* ---- a holder that waits for its command ---- */

/* What is found below a process that waits for a child: whether all of it is stuck, and on what. */
struct tree {
    struct world *world;
    struct thread *owner;
    uint64_t switches; /* of those that are no members: the same in two snapshots if none has run */
    bool at_work;      /* some process below may go on by itself */
};

/* It waits for a lock, or the like, that other members hold. */
static bool acquires(const struct thread *t)
{
    return t->member->waits_for == SHK_WAITS_TO_ACQUIRE ||
           t->member->waits_for == SHK_WAITS_TO_READ || t->member->waits_for == SHK_WAITS_FOR_ONCE;
}

bool waits_for_owners(const struct thread *t)
{
    return t->member->waits_for == SHK_WAITS_FOR_PERMIT && t->object &&
           t->object->kind == SHK_KIND_SEMAPHORE && t->object->as.semaphore.owners;
}

static bool needs_others(const struct thread *t)
{
    return acquires(t) || waits_for_owners(t);
}

static struct thread *find_main_thread(const struct world *w, int32_t pid)
{
    struct thread key = {.pid_namespace = w->here, .pid = pid, .tid = pid};

    return find_identity(w, &key);
}

static void add_leaf(struct thread *t, struct thread *leaf)
{
    struct thread **more = allocate(t->n_leaves + 1, sizeof(struct thread *));

    if (t->n_leaves)
        memcpy(more, t->leaves, t->n_leaves * sizeof(struct thread *));
    free(t->leaves);
    t->leaves = more;
    t->leaves[t->n_leaves++] = leaf;
}

static void climb(struct tree *, int32_t pid);

/* A shmctl that waits until its child, the holder of a lock by a descriptor, has it. */
static bool waits_for_holder(const struct processes *all, const struct process *p)
{
    for (size_t i = 0; i < all->n && strcmp(p->command, "shmctl") == 0; i++) {
        if (all->list[i].parent == p->pid && strcmp(all->list[i].command, HOLDER_NAME) == 0)
            return true;
    }
    return false;
}

/*
 * Whether the process does nothing but what its main thread does. Of a shmctl that is a member of a
 * segment on etcd the other threads are the library's.
 */
static bool has_one_thread(const struct process *p, const struct thread *member)
{
    return p->threads == 1 || (member && shk_snapshot_segment(member->snapshot)->revision != 0 &&
                               strcmp(p->command, "shmctl") == 0);
}

/* A child of a process in the tree, which is not known to have ended. */
static void judge_process(struct tree *tree, const struct process *p)
{
    struct thread *member = find_main_thread(tree->world, p->pid);

    if (!has_one_thread(p, member)) {
        tree->at_work = true;
    } else if (member && member->member->waits_for != SHK_WAITS_NOT) {
        add_leaf(tree->owner, member);
    } else if (p->activity == IS_STOPPED || p->activity == IS_TRACED) {
        tree->owner->stopped = *p;
    } else {
        /* What waits for a child does not run; what else sleeps may wait for anything. */
        tree->at_work =
            tree->at_work || p->activity != ASLEEP ||
            (waits_for_child(p->pid) == 0 && !waits_for_holder(&tree->world->processes, p));
        tree->switches += switches_of(p->pid, p->pid);
        climb(tree, p->pid);
    }
}

static void climb(struct tree *tree, int32_t pid)
{
    const struct processes *all = &tree->world->processes;
    size_t children = 0;

    for (size_t i = 0; i < all->n && !tree->at_work; i++) {
        const struct process *p = &all->list[i];

        if (p->parent != pid || p->activity == HAS_ENDED || strcmp(p->command, GUARD_NAME) == 0)
            continue;
        children++;
        judge_process(tree, p);
    }
    tree->at_work = tree->at_work || !children;
}

/* What is below a thread is all stuck, or it is not. */
static void take_tree(struct thread *t, const struct tree *tree)
{
    if (tree->at_work)
        return;
    t->tree_switches = tree->switches;
    t->stalled = t->stalled || t->stopped.pid != 0;
    for (size_t i = 0; i < t->n_leaves; i++) {
        if (!t->command || (needs_others(t->leaves[i]) && !needs_others(t->command)))
            t->command = t->leaves[i];
    }
}

/*
 * A process of one thread that waits for a child is stuck if all below it are: blocked members,
 * stopped processes, and such as wait for those. Of a shell between them the kernel says whether it
 * waits for a child; where it does not say, two snapshots do: what waits has not run in between.
 */
static void find_command(struct world *w, struct thread *t)
{
    const struct process *p = find_process(&w->processes, t->pid);
    struct tree tree = {.world = w, .owner = t};
    int waits = t->pid == t->tid && p && has_one_thread(p, t) && p->activity == ASLEEP
                    ? waits_for_child(t->pid)
                    : 0;

    if (waits == 0 || (waits < 0 && strcmp(t->member->command, "shmctl") != 0))
        return;
    climb(&tree, t->pid);
    take_tree(t, &tree);
    if (t->command) {
        p = find_process(&w->processes, t->command->pid);
        t->is_command_itself = p && p->parent == t->pid;
    }
}

/* ---- a lock that is held by a descriptor of a script ---- */

static bool is_holder_process(const struct thread *t)
{
    return strcmp(t->member->command, HOLDER_NAME) == 0 && t->member->waits_for == SHK_WAITS_NOT;
}

/* The lock that it holds: the only one, if that is known. */
static const struct shk_object_info *find_held(const struct thread *t)
{
    const struct shk_object_info *o;

    for (size_t i = 0; (o = shk_snapshot_object(t->snapshot, i)); i++) {
        if (o->holder == t->member->id)
            return o;
        for (size_t k = 0; o->kind == SHK_KIND_RWLOCK && k < READERS_MAX; k++) {
            if (o->as.rwlock.reader[k] == t->member->id)
                return o;
        }
    }
    return NULL;
}

static size_t find_openers(const struct world *w, const struct thread *t, struct opener **openers)
{
    const struct shk_object_info *o = find_held(t);
    char *path;
    size_t n;

    if (!o)
        return 0;
    path = print_to_memory("%s/%s", shk_snapshot_segment(t->snapshot)->name, o->name);
    n = list_openers(&w->processes, t->pid, path, openers);
    free(path);
    return n;
}

static bool is_opener(const struct opener *openers, size_t n, int32_t pid)
{
    for (size_t i = 0; i < n; i++) {
        if (openers[i].pid == pid)
            return true;
    }
    return false;
}

/*
 * The script is the first of those that have the descriptor whose parent has not. What they have
 * started without it is theirs, too.
 */
static void find_script(struct world *w, struct thread *t, bool judged)
{
    struct tree tree = {.world = w, .owner = t};
    struct opener *openers = NULL;
    size_t n = find_openers(w, t, &openers);

    for (size_t i = 0; i < n; i++) {
        const struct process *p = find_process(&w->processes, openers[i].pid);

        if (!p || is_opener(openers, n, p->parent))
            continue;
        if (!t->script.pid)
            t->script = openers[i];
        if (judged)
            judge_process(&tree, p);
    }
    if (judged && t->script.pid)
        take_tree(t, &tree);
    free(openers);
}

void find_scripts(struct world *w)
{
    for (size_t i = 0; i < w->n; i++) {
        struct thread *t = &w->threads[i];

        if (t->pid_namespace == w->here && !t->script.pid && is_holder_process(t))
            find_script(w, t, false);
    }
}

/* What /proc says of the members of this pid namespace, if any of all waits. */
static void ask_proc(struct world *w)
{
    bool any = false;

    for (size_t i = 0; i < w->n; i++)
        any = any || w->threads[i].member->waits_for != SHK_WAITS_NOT;
    if (!any)
        return;
    w->here = our_pid_namespace();
    w->processes = list_processes();
    for (size_t i = 0; i < w->n; i++) {
        struct thread *t = &w->threads[i];

        if (t->pid_namespace != w->here)
            continue;
        t->activity = activity_of(t->pid, t->tid);
        t->switches = switches_of(t->pid, t->tid);
        t->stalled = t->activity == IS_STOPPED || t->activity == IS_TRACED ||
                     t->activity == IS_FROZEN || t->activity == IN_DISK_SLEEP;
        if (is_holder_process(t))
            find_script(w, t, true);
        else if (t->member->waits_for == SHK_WAITS_NOT && !t->stalled)
            find_command(w, t);
    }
}

static struct thread *find_living(const struct world *w, const struct thread *t, uint64_t id)
{
    const struct shk_member_info *m = shk_snapshot_find_member(t->snapshot, id);

    return m && m->alive ? find_thread(w, t->snapshot, m) : NULL;
}

/*
 * The thread that has what this one waits for. A writer that waits for readers waits for all of
 * them: the first that waits itself is taken, as what may go on for longest.
 */
static struct thread *find_holder(const struct world *w, const struct thread *t)
{
    const struct shk_object_info *o = t->object;
    struct thread *holder = NULL, *reader;

    if (o->kind != SHK_KIND_RWLOCK || o->holder != t->member->id)
        return find_living(w, t, o->holder);
    for (size_t i = 0; i < READERS_MAX; i++) {
        reader = find_living(w, t, o->as.rwlock.reader[i]);
        if (reader && (!holder || (holder->member->waits_for == SHK_WAITS_NOT &&
                                   reader->member->waits_for != SHK_WAITS_NOT)))
            holder = reader;
    }
    return holder;
}

/* ---- permits that belong to processes ---- */

static bool is_leaf(const struct thread *t, const struct thread *other)
{
    for (size_t i = 0; i < t->n_leaves; i++) {
        if (t->leaves[i] == other)
            return true;
    }
    return false;
}

/* The threads of a process that are members of the segment. On etcd two may have one pid. */
static void add_owner(struct thread *t, int32_t pid)
{
    const struct shk_member_info *m;

    for (size_t i = 0; (m = shk_snapshot_member(t->snapshot, i)); i++) {
        if (m->pid == pid && t->by_member[i] && !is_leaf(t, t->by_member[i]) &&
            shk_snapshot_permits(t->snapshot, t->object, m) > 0)
            add_leaf(t, t->by_member[i]);
    }
}

/*
 * Any of the owners may give a permit back. As the holder, which the chain follows, one that waits
 * for what others hold is taken.
 */
static void find_owners(struct thread *t)
{
    t->owners = t->object->as.semaphore.n_holders;
    for (size_t i = 0; i < t->owners && i < OWNERS_MAX; i++)
        add_owner(t, t->object->as.semaphore.holders[i].pid);
    for (size_t i = 0; i < t->n_leaves; i++) {
        struct thread *leaf = t->leaves[i];

        if (!t->holder || (needs_others(leaf) && !needs_others(t->holder)))
            t->holder = leaf;
    }
}

/* Of a process that has a permit each thread may give it back, be it a member or not. */
static void count_owners(struct world *w, struct thread *t)
{
    t->owners_are_known = t->owners > 0 && t->owners <= OWNERS_MAX && t->n_leaves > 0;
    for (size_t i = 0; i < t->owners && t->owners_are_known; i++) {
        int32_t pid = t->object->as.semaphore.holders[i].pid;
        const struct process *p = find_process(&w->processes, pid);
        size_t members = 0;

        for (size_t k = 0; k < t->n_leaves; k++)
            members += t->leaves[k]->pid == pid && t->leaves[k]->pid_namespace == w->here;
        t->owners_are_known = members > 0 && p && (size_t)p->threads == members;
    }
}

/* Take one snapshot of everything. */
static int read_world(struct world *w, const char *on_etcd)
{
    int error;

    *w = (struct world){0};
    w->snapshots = take_all_snapshots(on_etcd, &error);
    gather_threads(w);
    index_threads(w);
    for (size_t i = 0; i < w->n; i++) {
        struct thread *t = &w->threads[i];

        if (acquires(t) && t->object)
            t->holder = find_holder(w, t);
        else if (waits_for_owners(t))
            find_owners(t);
    }
    ask_proc(w);
    for (size_t i = 0; i < w->n; i++) {
        if (waits_for_owners(&w->threads[i]))
            count_owners(w, &w->threads[i]);
    }
    return error;
}

/* The line of those by role that would wake it: the consumers, for a producer that waits. */
uint32_t line_of_wakers(const struct thread *t)
{
    if (!t->object)
        return SHK_LINE_NONE;
    switch (t->member->waits_for) {
    case SHK_WAITS_TO_PUT:
        return t->object->consumer_line;
    case SHK_WAITS_TO_GET:
    case SHK_WAITS_FOR_SAMPLES:
        return t->object->producer_line;
    default:
        return SHK_LINE_NONE;
    }
}

static bool has_ended(uint32_t line)
{
    return line == SHK_LINE_CLOSED || line == SHK_LINE_BROKEN;
}

const struct thread *possible_waker(const struct world *w, const struct thread *t, size_t *at)
{
    const struct thread *other;
    uint64_t stuck = 0;

    if (has_ended(line_of_wakers(t)))
        return NULL;
    while (waits_for_owners(t) && *at < t->n_leaves) {
        other = t->leaves[(*at)++];
        if (is_able(other))
            return other;
    }
    if (waits_for_owners(t))
        return NULL;
    if (acquires(t) || t->command) {
        other = next_in_chain(t);
        return (*at)++ == 0 && other && is_able(other) ? other : NULL;
    }
    if (!t->object)
        return NULL;
    for (size_t k = 0; *at == 0 && k < w->n; k++)
        stuck += !is_able(&w->threads[k]) && w->threads[k].object == t->object;
    if (*at == 0 && t->member->waits_for != SHK_WAITS_FOR_ANY && t->object->users <= stuck)
        return NULL; /* of several objects only the first is known */
    while (shk_snapshot_member(t->snapshot, *at)) {
        other = t->by_member[(*at)++];
        if (other && other != t && is_able(other))
            return other;
    }
    return NULL;
}

static bool can_be_woken(const struct world *w, const struct thread *t)
{
    size_t at = 0;

    return possible_waker(w, t, &at) != NULL;
}

static bool any_leaf_is_able(const struct thread *t)
{
    for (size_t i = 0; i < t->n_leaves; i++) {
        if (is_able(t->leaves[i]))
            return true;
    }
    return false;
}

static bool can_go_on(const struct world *w, const struct thread *t)
{
    if (t->command)
        return any_leaf_is_able(t) || t->stopped.pid;
    /*
     * It is about to find out that the object has been removed, or that the lock is free or its
     * holder dead.
     */
    if (!t->object || (acquires(t) && !t->holder))
        return true;
    /* So it is with permits of a process that is over, or has threads that are not known. */
    if (waits_for_owners(t) && !t->owners_are_known)
        return true;
    /* A consumer is told that the last producer has gone. */
    if (t->member->waits_for != SHK_WAITS_TO_PUT && has_ended(line_of_wakers(t)))
        return true;
    return t->member->has_deadline || can_be_woken(w, t);
}

/*
 * Which threads can go on, or can be woken by such; those that are stopped count as if they went
 * on, or not.
 */
static void find_able(struct world *w, bool even_stalled)
{
    bool changed = true;

    for (size_t i = 0; i < w->n; i++) {
        struct thread *t = &w->threads[i];

        t->able = (!waits(t) || !t->settled) && (even_stalled || !t->stalled);
    }
    while (changed) {
        changed = false;
        for (size_t i = 0; i < w->n; i++) {
            struct thread *t = &w->threads[i];

            if (t->able || (t->stalled && !even_stalled) || !can_go_on(w, t))
                continue;
            t->able = changed = true;
        }
    }
}

/*
 * The dead member that would have woken it; 0: none is known, so that a program may come that does.
 */
uint64_t lost_waker(const struct thread *t)
{
    if (t->command || !t->object)
        return 0;
    if (line_of_wakers(t) == SHK_LINE_OPEN &&
        (t->member->waits_for == SHK_WAITS_TO_PUT ? t->object->consumers : t->object->producers))
        return 0; /* one by role is there */
    switch (t->member->waits_for) {
    case SHK_WAITS_TO_ACQUIRE:
    case SHK_WAITS_TO_READ:
    case SHK_WAITS_FOR_ONCE:
    case SHK_WAITS_TO_JOIN:
        return 0;
    case SHK_WAITS_TO_PUT:
        return t->object->dead_taker;
    case SHK_WAITS_FOR_PERMIT:
        /* what the dead had has come back */
        return waits_for_owners(t) ? 0 : t->object->dead_giver;
    default:
        return t->object->dead_giver;
    }
}

/* Whether all that it waits for may be in circles: a holder, or a command. */
static bool is_link(const struct thread *t)
{
    if (!waits(t) || !t->settled || !next_in_chain(t))
        return false;
    if (waits_for_owners(t))
        return t->owners_are_known;
    return t->n_leaves < 2 || !any_leaf_is_able(t);
}

/* The owner of permits that is nearest to what goes on; a lock has one holder. */
static struct thread *nearest_owner(const struct thread *t)
{
    struct thread *nearest = NULL;

    for (size_t i = 0; i < t->n_leaves; i++) {
        struct thread *leaf = t->leaves[i];

        if (leaf->escapes && (!nearest || leaf->escapes < nearest->escapes ||
                              (leaf->escapes == nearest->escapes && !is_able(nearest))))
            nearest = leaf;
    }
    return nearest;
}

/*
 * From lock to holder to lock: what does not escape, on no way, goes round in circles. In each step
 * those are found whose next one was found in the step before, so no chain that is told goes round.
 */
static void find_escapes(struct world *w)
{
    bool changed = true;

    for (size_t i = 0; i < w->n; i++)
        w->threads[i].escapes = !is_link(&w->threads[i]);
    for (size_t step = 1; changed; step++) {
        changed = false;
        for (size_t i = 0; i < w->n; i++) {
            struct thread *t = &w->threads[i];
            const struct thread *next = waits_for_owners(t) ? nearest_owner(t) : next_in_chain(t);

            if (t->escapes || !next || next->escapes != step)
                continue;
            t->escapes = step + 1;
            changed = true;
        }
    }
}

/* Its chain does not end: so many steps lead into the circle. */
static void find_circle(struct world *w, struct thread *from)
{
    struct thread *t = from;
    struct thread *u;

    if (from->escapes)
        return;
    for (size_t steps = 0; steps <= w->n; steps++)
        t = next_in_chain(t);
    from->verdict = VERDICT_DEADLOCKED;
    u = t;
    do {
        u->in_circle = true;
        u->verdict = VERDICT_DEADLOCKED;
        u = next_in_chain(u);
    } while (u != t);
}

/* At the end of its chain is a member whose waker is known to have died. */
static bool is_stranded(const struct world *w, const struct thread *t)
{
    for (size_t steps = 0; next_in_chain(t) && steps <= w->n; steps++)
        t = next_in_chain(t);
    return !t->able && lost_waker(t);
}

/* Returns whether there is more to say than that some wait for others that are at work. */
static bool judge(struct world *w)
{
    bool stuck = false;

    find_able(w, false);
    for (size_t i = 0; i < w->n; i++)
        w->threads[i].moves = w->threads[i].able;
    find_able(w, true);
    for (size_t i = 0; i < w->n; i++) {
        struct thread *t = &w->threads[i];

        if (!waits(t))
            t->verdict = VERDICT_AWAKE;
        else if (t->able)
            t->verdict = t->moves ? VERDICT_WAITING : VERDICT_STALLED;
        else
            t->verdict = is_stranded(w, t) ? VERDICT_STRANDED : VERDICT_WAITING;
    }
    /* Also of those that have a deadline. */
    find_escapes(w);
    for (size_t i = 0; i < w->n; i++) {
        if (waits_for_owners(&w->threads[i]) && nearest_owner(&w->threads[i]))
            w->threads[i].holder = nearest_owner(&w->threads[i]);
    }
    for (size_t i = 0; i < w->n; i++) {
        find_circle(w, &w->threads[i]);
        stuck = stuck || w->threads[i].verdict == VERDICT_DEADLOCKED || !w->threads[i].moves;
    }
    /* What waits for its command, which goes on, is at work. */
    for (size_t i = 0; i < w->n; i++) {
        if (w->threads[i].command && w->threads[i].able &&
            w->threads[i].verdict != VERDICT_DEADLOCKED)
            w->threads[i].verdict = VERDICT_AWAKE;
    }
    return stuck;
}

/* Is it the same wait, which has gone on all the time in between, and for the same holder? */
static bool is_same_wait(const struct thread *before, const struct thread *t)
{
    if (before->member->id != t->member->id)
        return false;
    if (before->command || t->command)
        return before->command && t->command && before->command->pid == t->command->pid &&
               before->tree_switches == t->tree_switches;
    if (!before->object || !t->object)
        return false;
    return shk_snapshot_segment(before->snapshot)->id == shk_snapshot_segment(t->snapshot)->id &&
           before->object->serial == t->object->serial &&
           before->object->holder == t->object->holder &&
           before->member->waits_for == t->member->waits_for &&
           t->member->waiting >= before->member->waiting + BETWEEN_SNAPSHOTS;
}

/* It was stopped or in disk sleep before, and has not run since; or its command. */
static bool is_same_stall(const struct thread *before, const struct thread *t)
{
    return before->stalled && before->activity == t->activity && before->switches == t->switches &&
           before->stopped.pid == t->stopped.pid && before->tree_switches == t->tree_switches;
}

static void settle(const struct world *before, struct world *w)
{
    for (size_t i = 0; i < w->n; i++) {
        struct thread *now = &w->threads[i];
        const struct thread *t = find_thread(before, now->snapshot, now->member);

        now->settled = t && (!t->moves || t->verdict == VERDICT_DEADLOCKED) && is_same_wait(t, now);
        now->stalled = now->stalled && t && is_same_stall(t, now);
    }
}

int judge_world(struct world *w, const char *on_etcd)
{
    struct world before;
    int error = read_world(w, on_etcd);

    for (size_t i = 0; i < w->n; i++)
        w->threads[i].settled = true;
    if (error != 0 || !judge(w))
        return error;
    before = *w;
    nanosleep(&(struct timespec){.tv_nsec = BETWEEN_SNAPSHOTS}, NULL);
    error = read_world(w, on_etcd);
    settle(&before, w);
    judge(w);
    drop_world(&before);
    return error;
}

void drop_world(struct world *w)
{
    for (size_t i = 0; i < w->n; i++)
        free(w->threads[i].leaves);
    drop_processes(&w->processes);
    drop_snapshots(w->snapshots);
    free(w->by_member);
    free(w->threads);
}
