/*
 * Connections to the servers, each with a thread that carries out its transfers: see descriptors.h.
 * A call takes one that is not in use, and waits while the thread works.
 */
#ifndef SHKE_CHANNEL_H
#define SHKE_CHANNEL_H

#include "etcd/buffer.h"
#include "etcd/host.h"

#include <curl/curl.h>
#include <semaphore.h>

struct shke_channel {
    CURL *curl; /* for the thread only, while it works; else for the channel's user */
    struct shke_buffer reply;
    struct shke_channel *next; /* of those that are not in use */

    /* ---- The thread ---- */
    pthread_t thread;
    sem_t asked, done; /* a transfer, or the thread's beginning */
    CURLcode result;
    int began; /* 0, or why it could not begin */
    bool ends;
};

/* A channel with an empty reply: 0 or an error. */
int shke_channel_new(struct shke_channel **);
/* It is not in use. */
void shke_channel_free(struct shke_channel *);
/* What curl_easy_perform(3) says. */
CURLcode shke_channel_perform(struct shke_channel *);
/*
 * How often that may have sent the request: libcurl itself sends anew, on a new connection, what
 * went to one that the server had just closed.
 */
unsigned shke_channel_sendings(struct shke_channel *);

#endif
