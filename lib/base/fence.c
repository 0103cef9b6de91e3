#include "base/fence.h"

#include "base/deadline.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The thread sanitizer cannot see what the kernel does. */
#if defined(__SANITIZE_THREAD__)
#define UNSEEN
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNSEEN
#endif
#endif

/* The values of <linux/membarrier.h>, which old headers lack. */
#define GLOBAL_EXPEDITED          (1 << 1)
#define REGISTER_GLOBAL_EXPEDITED (1 << 2)

/* ns: where the call fails */
#define MOMENT 1000000

static long membarrier(int command)
{
#if defined(SYS_membarrier) && !defined(UNSEEN)
    return syscall(SYS_membarrier, command, 0, 0);
#else
    (void)command;
    return -1;
#endif
}

bool shki_fence_is_wanted(void)
{
    const char *text = secure_getenv("SHK_MEMBARRIER");

    return text == NULL || strcmp(text, "0") != 0;
}

bool shki_fence_register(void)
{
    return membarrier(REGISTER_GLOBAL_EXPEDITED) == 0;
}

void shki_fence_heavy(bool asymmetric)
{
    static const struct timespec moment = {.tv_nsec = MOMENT};
    int64_t end;

    atomic_thread_fence(memory_order_seq_cst);
    if (!asymmetric || membarrier(GLOBAL_EXPEDITED) == 0)
        return;
    /*
     * It fails for want of memory, or in a process that has forbidden itself the call since it
     * joined. A processor's store buffer is empty long before the moment is over. The store before
     * this fence is visible since the fence. So a thread that loaded the old value has a store that
     * is visible after the moment, and a thread that loads later sees the new value. A signal, or a
     * filter of system calls, ends a sleep early.
     */
    for (end = shki_now() + MOMENT; shki_now() < end;)
        nanosleep(&moment, NULL);
}
