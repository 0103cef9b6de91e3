#include "common.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

void must(long long result)
{
    if (result < 0)
        give_up("%s", shk_last_error());
}

struct shk_segment *common_segment(const struct shk_segment_options *options)
{
    struct shk_segment *segment;

    must(shk_segment_open(unique_name(), SHK_CREATE, options, &segment));
    return segment;
}

void common_unlink(void *unused)
{
    (void)unused;
    shk_segment_unlink(unique_name());
}

void shared_mutex(pthread_mutex_t *mutex, bool robust)
{
    pthread_mutexattr_t attributes;

    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (robust)
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

void shared_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

void *shared_memory(size_t size)
{
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (memory != MAP_FAILED)
        return memory;
    team_fails("mmap: %s", strerror(errno));
    return NULL;
}
