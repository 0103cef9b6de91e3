/* The account, the relay, the set of locks and the board. */
#include "soak.h"

#include <errno.h>

/*
 * The account: deposits and draws alternate, and all wait on one condition with a lock of its own.
 * An owner that finds that a holder died wakes all: the dead may have committed and not said so.
 */
static void transact_once(uint64_t parity)
{
    static const int64_t timeouts[] = {SHK_FOREVER, SHK_FOREVER, SHK_FOREVER, SHK_MS(1)};
    long long r = shk_cond_acquire(account, SHK_FOREVER);

    for (;;) {
        enter(ACCOUNT, is_wait_over(r) ? 0 : r);
        if (r == SHK_ORPHANED)
            expect("cond_notify_all", shk_cond_notify_all(account));
        if (atomic_load(&ledgers[ACCOUNT].count) % 2 == parity || stopping())
            break;
        leave(ACCOUNT);
        r = shk_cond_wait(account, me->mortal ? timeouts[chance(4)] : SHK_FOREVER);
    }
    if (!stopping()) {
        commit(ACCOUNT);
        expect("cond_notify_all", shk_cond_notify_all(account));
    }
    leave(ACCOUNT);
    expect("cond_release", shk_cond_release(account));
}

void transact(void)
{
    while (!stopping()) {
        transact_once(me->role == DRAWER);
        if (chance(4) == 0)
            pause_a_little();
    }
}

/*
 * The relay: a token is given by waking one taker, which takes it, and wakes one giver. No other
 * hears of it, and a taker does not look for a token before it has been woken: so a wake-up that is
 * lost stops the relay, for newcomers, too. A wake-up may vanish when the one that had it is killed
 * and no other waited then; so one is given only while the immortal taker waits.
 */
static void enter_relay(long long r)
{
    enter(RELAY, r);
    if (r == SHK_ORPHANED) {
        expect("cond_notify_all", shk_cond_notify_all(given));
        expect("cond_notify_all", shk_cond_notify_all(taken));
    }
}

static void leave_relay(void)
{
    leave(RELAY);
    expect("cond_release", shk_cond_release(given));
}

static bool token(void)
{
    return atomic_load(&ledgers[RELAY].count) % 2;
}

static void wake_one(struct shk_cond *cond)
{
    int n;

    begin(NOTIFYING);
    n = shk_cond_notify(cond, 1);
    expect("cond_notify", n);
    atomic_fetch_add(&me->given, (uint64_t)n);
    end_step();
}

static void wait_in_relay(struct shk_cond *cond)
{
    long long r;

    leave(RELAY);
    begin(COND_WAITING);
    r = shk_cond_wait(cond, SHK_FOREVER);
    if (r >= 0)
        atomic_fetch_add(&me->taken, 1);
    end_step();
    enter_relay(r);
}

void give(void)
{
    while (!stopping()) {
        enter_relay(shk_cond_acquire(given, SHK_FOREVER));
        while (token() && !stopping())
            wait_in_relay(taken);
        if (!stopping() && atomic_load(&notes->taker_waits)) {
            commit(RELAY);
            wake_one(given);
        }
        get_on();
        leave_relay();
        pause_a_little();
    }
}

void take(void)
{
    while (!stopping()) {
        enter_relay(shk_cond_acquire(given, SHK_FOREVER));
        if (!me->mortal)
            atomic_store(&notes->taker_waits, 1);
        wait_in_relay(given);
        if (!me->mortal)
            atomic_store(&notes->taker_waits, 0);
        if (token() && !stopping()) {
            commit(RELAY);
            wake_one(taken);
        }
        leave_relay();
    }
}

/* ---- The locks ---- */

static long long acquire(uint64_t i)
{
    static const int64_t timeouts[] = {SHK_FOREVER, SHK_FOREVER, SHK_MS(1), SHK_NOWAIT};

    return shk_lock_acquire(locks[i], timeouts[chance(4)]);
}

static void use_lock(uint64_t i, long long acquired)
{
    bool twice = i % 2 && chance(2) == 0; /* it is recursive */

    enter((unsigned)i, acquired);
    if (twice)
        expect("lock_acquire, again", shk_lock_acquire(locks[i], SHK_FOREVER));
    commit((unsigned)i);
    if (twice)
        expect("lock_release, once", shk_lock_release(locks[i]));
    leave((unsigned)i);
    expect("lock_release", shk_lock_release(locks[i]));
}

/* One lock, or two in an order in which there is no deadlock: -EDEADLK would be wrong. */
void lock_and_unlock(void)
{
    while (!stopping()) {
        uint64_t i = chance(LOCKS), j = i + chance(LOCKS - i);
        long long outer = acquire(i), inner;

        get_on();
        if (is_wait_over(outer))
            continue;
        expect("lock_acquire", outer);
        inner = j > i ? acquire(j) : -EAGAIN;
        if (!is_wait_over(inner))
            use_lock(j, inner);
        use_lock(i, outer);
        if (chance(16) == 0)
            pause_a_little();
    }
}

/* ---- The board ---- */

static void write_board(long long acquired)
{
    enter(BOARD, acquired);
    if (acquired == SHK_ORPHANED)
        expect("rwlock_recover", shk_rwlock_recover(board));
    commit(BOARD);
    leave(BOARD);
    if (chance(4) == 0) {
        expect("rwlock_downgrade", shk_rwlock_downgrade(board));
        check_ledger(BOARD);
    }
}

/* Many read, and one writes; what is half written is seen by none that is not told. */
void read_and_write(void)
{
    static const int64_t timeouts[] = {SHK_FOREVER, SHK_FOREVER, SHK_MS(1), SHK_NOWAIT};

    while (!stopping()) {
        bool writes = chance(8) == 0;
        int64_t timeout = timeouts[chance(4)];
        long long r =
            writes ? shk_rwlock_acquire(board, timeout) : shk_rwlock_acquire_shared(board, timeout);

        get_on();
        if (is_wait_over(r))
            continue;
        expect("rwlock_acquire", r);
        if (writes)
            write_board(r);
        else if (r == 0)
            check_ledger(BOARD);
        expect("rwlock_release", shk_rwlock_release(board));
        if (chance(16) == 0)
            pause_a_little();
    }
}
