/*
 * Requests to the servers of etcd, through their JSON gateway (POST /v3/...).
 *
 * The servers, and how to be admitted, come from the variables of etcdctl: ETCDCTL_ENDPOINTS
 * (default http://127.0.0.1:2379), ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY, ETCDCTL_USER,
 * ETCDCTL_PASSWORD. They are read when the process opens its first segment on etcd.
 *
 * A request is sent again, to the next server, until one answers: the reply may have been lost
 * after the request was carried out, and a request that is thought lost may be carried out later.
 * So each request that changes something compares what it relies on, and comes to the same end when
 * it is carried out twice, or late.
 */
#ifndef SHKE_CLIENT_H
#define SHKE_CLIENT_H

#include "etcd/buffer.h"
#include "etcd/host.h"

#include <curl/curl.h>
#include <json-c/json.h>

struct shke_client;

/*
 * How long a request is tried. A call that has waited until its deadline, or must not wait, gives
 * its request SHKE_GRACE all the same: a change of the leader takes 1 to 2 s.
 */
struct shke_trial {
    const struct shki_deadline *deadline; /* NULL: only the limit counts */
    int64_t limit;                        /* ns, with a deadline from its end; 0: SHKE_GRACE */
};
#define SHKE_GRACE SHK_SEC(2)

/*
 * While a deadline's request has no answer, the thread's interrupt call is run now and then, which
 * may use the library. A caller that holds a lock over a request therefore tries it for a while
 * only, and again without the lock:
 *
 *     do {
 *         lock; r = ... shke_brief(trial) ...; unlock;
 *     } while (shke_again(trial, r));
 */
struct shke_trial shke_brief(const struct shke_trial *);
bool shke_again(const struct shke_trial *, int result);

/* One server's time for a reply: then the next one is asked. More when all have been asked. */
#define SHKE_REPLY_MS      2000
#define SHKE_REPLY_MOST_MS 8000

/* 0, -ENOMEM, -EINVAL (a variable). */
int shke_client_new(struct shke_client **);
void shke_client_free(struct shke_client *);

/*
 * The reply of `path`, such as "kv/txn", to the request: 0, and *reply is the caller's; or
 *   -EHOSTUNREACH  no server has answered for a majority in time; it is not known whether the
 *                  request has been, or will be, carried out
 *   -ESTALE        there is no such lease
 *   -EACCES        refused: user, password, rights, certificates
 *   -ENOSPC        etcd has reached its quota
 *   -EMSGSIZE      the request is too large
 *   -EPROTO        etcd does not understand it
 *   -ENOMEM
 *
 * *sent, unless it is NULL: how often it may have been sent. If more than once, an earlier sending
 * may be carried out after the reply to the last one has come: what that reply refuses is not
 * refused for ever.
 */
int shke_call(struct shke_client *, const char *path, const struct shke_buffer *request,
              const struct shke_trial *, json_object **reply, unsigned *sent);

/*
 * For a stream: a new transfer to `path` at the n-th server, which gives what it receives to
 * `receive`; or NULL, -ENOMEM. `headers` is to be freed after it. `request` stays the caller's
 * until then.
 */
CURL *shke_stream(struct shke_client *, unsigned n, const char *path,
                  const struct shke_buffer *request, curl_write_callback receive, void *arg,
                  struct curl_slist **headers);

/* A stream was refused because its token has run out: ask for another one. */
void shke_renew_token(struct shke_client *);

/*
 * Ask the n-th server alone, once: POST to the path, such as "/v3/maintenance/status". 0;
 * -EHOSTUNREACH, -EACCES: it does not answer, certificates; -ENOMEM.
 */
struct shke_answer {
    char *text;    /* the caller's; whatever it is */
    int64_t delay; /* ns */
    time_t date;   /* of its clock; 0: it does not say */
};
int shke_ask_server(struct shke_client *, unsigned n, const char *path,
                    const struct shke_buffer *request, struct shke_answer *);
unsigned shke_n_endpoints(const struct shke_client *);
const char *shke_endpoint(const struct shke_client *, unsigned n);

/* "http://10.0.0.1:2379, http://10.0.0.2:2379" */
const char *shke_endpoints(const struct shke_client *);

/*
 * A reply that says that something went wrong: an error; this server cannot tell, another one may;
 * or another token is wanted. `has_user`: as which to ask for one.
 */
#define SHKE_ASK_ANOTHER 1
#define SHKE_NEW_TOKEN   2
int shke_judge(const char *endpoint, bool has_user, json_object *reply);

/* What else may be the cause of a failed transfer, in parentheses; or "". certificate: or NULL. */
const char *shke_hint(const char *endpoint, const char *certificate, CURLcode);

/* A number, which the gateway has as a string; 0: there is none. */
int64_t shke_number(json_object *, const char *key);

#endif
