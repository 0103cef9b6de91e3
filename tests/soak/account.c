/* The account of a round, from what all have left in the notes. */
#include "soak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct totals totals;

/* Of this round: how many may have been given, or taken, by a call that was killed. */
static uint64_t unsure_permits_given, unsure_permits_taken, unsure_wakeups_given,
    unsure_wakeups_taken;

/* ---- Deaths ---- */

/* Batches whose producers were killed in the middle. */
static struct batch {
    enum queue_number queue;
    unsigned count;
    uint64_t first;
} * batches;
static size_t batches_used, batches_room;

static void remember_batch(const struct place *place)
{
    if (batches_used == batches_room) {
        batches_room = batches_room ? 2 * batches_room : 1024;
        batches = realloc(batches, batches_room * sizeof(*batches));
        if (!batches)
            abort();
    }
    batches[batches_used++] =
        (struct batch){place->queue, atomic_load(&place->count), atomic_load(&place->first)};
}

void account_for_death(struct place *place)
{
    uint32_t step = atomic_exchange(&place->step, NO_STEP), count = atomic_load(&place->count);

    switch (step) {
    case PUTTING:
        remember_batch(place);
        break;
    case RESERVING:
        for (uint64_t i = 0; i < count; i++)
            atomic_fetch_or(&notes->item[place->queue][place->first + i], ITEM_REFUSED);
        break;
    case GETTING:
        for (unsigned i = 0; i < BATCH; i++)
            if (atomic_load(&place->hand[i].number) < ITEMS_MAX)
                atomic_fetch_or(&notes->item[place->queue][place->hand[i].number],
                                ITEM_TAKEN_ALONG);
        break;
    case ACKING:
        atomic_fetch_or(&notes->item[place->queue][place->first], ITEM_TAKEN_ALONG);
        break;
    case SETTING:
        place->sets_unsure++;
        break;
    case ADDING:
        place->adds_unsure++;
        break;
    case NOTIFYING:
        unsure_wakeups_given++;
        break;
    case COND_WAITING:
        unsure_wakeups_taken++;
        break;
    case POSTING:
        unsure_permits_given += count;
        break;
    case PERMIT_WAITING:
        unsure_permits_taken++;
        break;
    }
    for (unsigned i = 0; i < BATCH; i++)
        atomic_store(&place->hand[i].number, NO_ITEM);
}

/* ---- The account ---- */

static char *problem;
static size_t problem_size;

static bool wrong(const char *what, const char *where, uint64_t number)
{
    snprintf(problem, problem_size, what, where, (unsigned long long)number);
    return false;
}

/* Of a batch that was not acknowledged nothing comes after one that is missing. */
static bool add_batches(void)
{
    for (size_t b = 0; b < batches_used; b++) {
        bool missing = false;

        for (uint64_t i = batches[b].first; i < batches[b].first + batches[b].count; i++) {
            bool came =
                atomic_load(&notes->item[batches[b].queue][i]) & (ITEM_GOT | ITEM_TAKEN_ALONG);

            if (came && missing)
                return wrong(
                    "a put to queue %s of several items was killed, and %llu came without the one "
                    "before",
                    queue_names[batches[b].queue], i);
            missing |= !came;
        }
    }
    return true;
}

static bool add_queue(enum queue_number queue)
{
    uint64_t items = atomic_load(&notes->next_item[queue]);

    for (uint64_t i = 0; i < items && i < ITEMS_MAX; i++) {
        unsigned state = atomic_load_explicit(&notes->item[queue][i], memory_order_relaxed);
        bool came = state & (ITEM_GOT | ITEM_TAKEN_ALONG);

        totals.queue[queue].put += (state & ITEM_PUT) != 0;
        totals.queue[queue].got += (state & ITEM_GOT) != 0;
        totals.queue[queue].refused += (state & ITEM_REFUSED) != 0;
        totals.queue[queue].taken_along += came && !(state & ITEM_GOT);
        totals.queue[queue].unsure += !(state & (ITEM_PUT | ITEM_REFUSED));
        totals.queue[queue].came += came && !(state & (ITEM_PUT | ITEM_REFUSED));
        if (state & ITEM_PUT && !came) {
            totals.queue[queue].lost++;
            wrong("queue %s lost item %llu", queue_names[queue], i);
        }
        if (state & ITEM_REFUSED && came) {
            totals.queue[queue].phantom++;
            wrong("queue %s delivered item %llu, which it had refused", queue_names[queue], i);
        }
    }
    if (totals.queue[queue].lost + totals.queue[queue].phantom > 0)
        return false;
    return notes->left_in_queue[queue] == 0 ||
           wrong("queue %s is drained and says that it has %llu items", queue_names[queue],
                 notes->left_in_queue[queue]);
}

static bool add_ledger(unsigned places, unsigned ledger)
{
    uint64_t acked = 0;

    for (unsigned i = 0; i < places; i++)
        acked += atomic_load(&notes->place[i].acked[ledger]);
    totals.commits[ledger] += notes->counts[ledger];
    totals.acked[ledger] += acked;
    return acked == notes->counts[ledger] ||
           wrong("the ledger of %s has another number of commits than the %llu that were "
                 "acknowledged",
                 ledger == ACCOUNT ? "the account"
                 : ledger == RELAY ? "the relay"
                                   : "a lock",
                 acked);
}

/* The account's: what depositors and drawers have been told must be what is there. */
static bool add_account(unsigned places)
{
    uint64_t deposits = 0, withdrawals = 0;

    for (unsigned i = 0; i < places; i++)
        *(notes->place[i].role == DEPOSITOR ? &deposits : &withdrawals) +=
            atomic_load(&notes->place[i].acked[ACCOUNT]);
    totals.deposits += deposits;
    totals.withdrawals += withdrawals;
    totals.balance += notes->balance;
    return (int64_t)(deposits - withdrawals) * AMOUNT == notes->balance ||
           wrong("%s does not balance: %llu deposits were acknowledged", "the account", deposits);
}

/*
 * Wake-ups have been counted by the notifiers and by the waiters. A death in between leaves one
 * unsure.
 */
static bool add_relay(unsigned places)
{
    uint64_t wakeups = 0, resumed = 0;

    for (unsigned i = 0; i < places; i++) {
        const struct place *place = &notes->place[i];
        bool relays = place->role == GIVER || place->role == TAKER;

        wakeups += relays ? atomic_load(&place->given) : 0;
        resumed += relays ? atomic_load(&place->taken) : 0;
    }
    totals.wakeups += wakeups;
    totals.resumed += resumed;
    totals.wakeups_unsure += unsure_wakeups_given + unsure_wakeups_taken;
    /*
     * No bound above: for each SHK_ORPHANED, and at the end, all are woken, which is not counted
     * where it is done.
     */
    if (soak.pthread)
        return true; /* that kind only says how many there may have been */
    return resumed + unsure_wakeups_taken >= wakeups ||
           wrong("%s lost wake-ups: %llu were given", "the relay", wakeups);
}

static bool add_semaphore(unsigned places)
{
    uint64_t given = 0, taken = 0;

    for (unsigned i = 0; i < places; i++) {
        given += notes->place[i].role == POSTER ? atomic_load(&notes->place[i].given) : 0;
        taken += notes->place[i].role == WAITER ? atomic_load(&notes->place[i].taken) : 0;
    }
    totals.permits_given += given;
    totals.permits_taken += taken;
    totals.permits_unsure += unsure_permits_given + unsure_permits_taken;
    if (taken + notes->permits > given + unsure_permits_given)
        return wrong("%s has given permits twice: %llu were released", "the semaphore", given);
    return taken + notes->permits + unsure_permits_taken >= given ||
           wrong("%s has lost permits: %llu were released", "the semaphore", given);
}

/* Each life that was killed in a set may have set it, and each actor by no more than that. */
static bool add_values(unsigned places)
{
    uint64_t adds = 0, adds_unsure = 0;

    for (unsigned i = 0; i < places; i++) {
        const struct place *place = &notes->place[i];
        uint64_t sets = atomic_load(&place->sets), count = notes->newest.count[i];

        if (count < sets || count > sets + place->sets_unsure)
            return wrong("%s has another number of changes than the %llu that an actor was told",
                         "the value", sets);
        adds += atomic_load(&place->adds);
        adds_unsure += place->adds_unsure;
        totals.sets += sets;
        totals.values_unsure += place->sets_unsure + place->adds_unsure;
    }
    totals.adds += adds;
    return (notes->number >= adds && notes->number <= adds + adds_unsure) ||
           wrong("%s is not the sum of the %llu that were added", "the number", adds);
}

static void add_counts(unsigned places)
{
    for (unsigned i = 0; i < places; i++)
        totals.laps += atomic_load(&notes->place[i].laps);
    totals.orphaned += atomic_load(&notes->orphaned);
    totals.closings += atomic_load(&notes->closings);
    totals.leases += atomic_load(&notes->leases);
    totals.given_back += atomic_load(&notes->given_back);
    totals.came_again += atomic_load(&notes->came_again);
    totals.lines += atomic_load(&notes->line_begun);
    totals.lines_orphaned += atomic_load(&notes->lines_orphaned);
    totals.lodgings += atomic_load(&notes->lodgings);
}

void begin_account(void)
{
    batches_used = 0;
    unsure_permits_given = unsure_permits_taken = unsure_wakeups_given = unsure_wakeups_taken = 0;
}

bool add_up(unsigned places, char *text, size_t size)
{
    bool right = true;

    problem = text;
    problem_size = size;
    for (enum queue_number i = 0; i < QUEUES; i++)
        right &= add_queue(i);
    for (unsigned i = 0; i < LEDGERS; i++)
        right &= add_ledger(places, i);
    add_counts(places);
    right &= add_batches();
    right &= add_account(places);
    right &= add_relay(places);
    right &= add_semaphore(places);
    right &= add_values(places);
    return right;
}

/* ---- What is printed ---- */

typedef unsigned long long big;

static void print_queues(void)
{
    printf("\n%-10s %12s %12s %8s %9s %9s %12s %5s %8s\n", "queue", "acknowledged", "got", "unsure",
           "of these", "refused", "taken along", "lost", "doubled*");
    for (enum queue_number i = 0; i < QUEUES; i++)
        printf("%-10s %12llu %12llu %8llu %9llu %9llu %12llu %5llu %8llu\n", queue_names[i],
               (big)totals.queue[i].put, (big)totals.queue[i].got, (big)totals.queue[i].unsure,
               (big)totals.queue[i].came, (big)totals.queue[i].refused,
               (big)totals.queue[i].taken_along, (big)totals.queue[i].lost,
               (big)totals.queue[i].phantom);
    puts(
        "unsure: the producer was killed in its put; of these so many came, whole. taken along:\n"
        "in the hand of a consumer killed in its get or its ack. *or delivered though refused; an\n"
        "item that comes twice ends the soak at once.");
    printf("shut down and reopened: %llu times\n", (big)totals.closings);
    printf("leased: %llu times, of these %llu given back, %llu come again after that or a death\n",
           (big)totals.leases, (big)totals.given_back, (big)totals.came_again);
    printf("line: begun %llu times, a consumer was told of a dead producer %llu times\n",
           (big)totals.lines, (big)totals.lines_orphaned);
}

static void print_ledgers(void)
{
    uint64_t commits = 0, acked = 0;

    for (unsigned i = 0; i < LOCKS; i++) {
        commits += totals.commits[i];
        acked += totals.acked[i];
    }
    printf("\naccount    %llu deposits, %llu withdrawals acknowledged; balances at the ends of "
           "%llu rounds: %lld in all, "
           "by the books %lld\n",
           (big)totals.deposits, (big)totals.withdrawals, (big)totals.rounds,
           (long long)totals.balance, (long long)(totals.deposits - totals.withdrawals) * AMOUNT);
    printf("locks      %llu commits under %d locks, %llu acknowledged or settled\n", (big)commits,
           LOCKS, (big)acked);
    printf("relay      %llu tokens given or taken, %llu acknowledged or settled; "
           "%llu single wake-ups given, %llu waits "
           "resumed, %llu unsure\n",
           (big)totals.commits[RELAY], (big)totals.acked[RELAY], (big)totals.wakeups,
           (big)totals.resumed, (big)totals.wakeups_unsure);
    printf("event      %llu passages through the turnstile\n", (big)totals.laps);
    printf("semaphore  %llu permits released, %llu acquired, %llu unsure\n",
           (big)totals.permits_given, (big)totals.permits_taken, (big)totals.permits_unsure);
    printf("flats      %llu times permits with owners were taken; all came back\n",
           (big)totals.lodgings);
    printf("values     %llu sets and %llu additions acknowledged, %llu unsure\n", (big)totals.sets,
           (big)totals.adds, (big)totals.values_unsure);
    printf("board      %llu commits under the rwlock, %llu acknowledged or settled\n",
           (big)totals.commits[BOARD], (big)totals.acked[BOARD]);
    printf("orphaned   %llu acquires and waits were told of a dead holder\n", (big)totals.orphaned);
}

void print_totals(void)
{
    print_queues();
    print_ledgers();
}
