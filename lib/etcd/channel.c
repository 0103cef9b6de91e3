#include "etcd/channel.h"

#include "etcd/descriptors.h"

#include <stdlib.h>

static void wait_for(sem_t *s)
{
    while (sem_wait(s) != 0)
        ; /* EINTR */
}

static void *work(void *arg)
{
    struct shke_channel *ch = arg;

    ch->began = shke_own_descriptors();
    if (ch->began == 0) {
        ch->curl = curl_easy_init();
        ch->began = ch->curl ? 0 : -ENOMEM;
    }
    sem_post(&ch->done);
    if (ch->began < 0)
        return NULL;
    for (;;) {
        wait_for(&ch->asked);
        if (ch->ends)
            break;
        ch->result = curl_easy_perform(ch->curl);
        sem_post(&ch->done);
    }
    curl_easy_cleanup(ch->curl); /* which closes connections of this thread's table */
    return NULL;
}

static void discard(struct shke_channel *ch)
{
    sem_destroy(&ch->asked);
    sem_destroy(&ch->done);
    shke_buffer_free(&ch->reply);
    free(ch);
}

int shke_channel_new(struct shke_channel **out)
{
    struct shke_channel *ch = calloc(1, sizeof(*ch));
    int r;

    if (ch == NULL)
        return shke_fail(-ENOMEM, "out of memory");
    sem_init(&ch->asked, 0, 0);
    sem_init(&ch->done, 0, 0);
    r = shke_thread(&ch->thread, work, ch);
    if (r == 0) {
        wait_for(&ch->done);
        r = ch->began;
        if (r < 0) {
            pthread_join(ch->thread, NULL);
            r = shke_say_no_descriptors(r);
        }
    }
    if (r < 0)
        discard(ch);
    else
        *out = ch;
    return r;
}

void shke_channel_free(struct shke_channel *ch)
{
    ch->ends = true;
    sem_post(&ch->asked);
    pthread_join(ch->thread, NULL);
    discard(ch);
}

CURLcode shke_channel_perform(struct shke_channel *ch)
{
    sem_post(&ch->asked);
    wait_for(&ch->done);
    return ch->result;
}

unsigned shke_channel_sendings(struct shke_channel *ch)
{
    long connects = 0;

    curl_easy_getinfo(ch->curl, CURLINFO_NUM_CONNECTS, &connects);
    return connects > 0 ? 2 : 1;
}
