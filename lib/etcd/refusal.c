/* What a reply of etcd says that is no success. */
#include "etcd/client.h"

#include <string.h>

/* The codes of gRPC that the gateway passes on. */
enum {
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_NOT_FOUND = 5,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_UNAUTHENTICATED = 16,
};

int64_t shke_number(json_object *o, const char *key)
{
    json_object *value;

    return json_object_object_get_ex(o, key, &value) ? json_object_get_int64(value) : 0;
}

const char *shke_hint(const char *endpoint, const char *certificate, CURLcode r)
{
    bool is_plain = strncmp(endpoint, "http:", 5) == 0;

    if (is_plain)
        return r == CURLE_GOT_NOTHING ? " (does it want https://?)" : "";
    if (r == CURLE_SSL_CONNECT_ERROR)
        return certificate ? " (does it want http://?)"
                           : " (does it want http://, or ETCDCTL_CERT and ETCDCTL_KEY?)";
    return !certificate && (r == CURLE_RECV_ERROR || r == CURLE_SEND_ERROR)
               ? " (does it want ETCDCTL_CERT and ETCDCTL_KEY?)"
               : "";
}

int shke_judge(const char *endpoint, bool has_user, json_object *reply)
{
    json_object *text = NULL;
    const char *message;

    if (!json_object_object_get_ex(reply, "message", &text))
        json_object_object_get_ex(reply, "error", &text);
    message = text ? json_object_get_string(text) : "no message";
    switch (shke_number(reply, "code")) {
    case GRPC_UNAUTHENTICATED:
        return has_user ? SHKE_NEW_TOKEN
                        : shke_fail(-EACCES,
                                    "etcd at %s refuses: %s (ETCDCTL_USER and "
                                    "ETCDCTL_PASSWORD)",
                                    endpoint, message);
    case GRPC_PERMISSION_DENIED:
        return shke_fail(-EACCES, "etcd at %s refuses: %s", endpoint, message);
    case GRPC_NOT_FOUND:
        return shke_fail(-ESTALE, "etcd at %s: %s", endpoint, message);
    case GRPC_RESOURCE_EXHAUSTED:
        if (strstr(message, "space exceeded"))
            return shke_fail(-ENOSPC,
                             "etcd at %s is full: %s: 'etcdctl compact' with the latest revision, "
                             "'etcdctl defrag' and 'etcdctl alarm disarm' make room",
                             endpoint, message);
        break; /* too many requests */
    case GRPC_INVALID_ARGUMENT:
        if (strstr(message, "auth store is old") && has_user)
            return SHKE_NEW_TOKEN; /* a user or a role has been changed */
        if (strstr(message, "too large"))
            return shke_fail(-EMSGSIZE, "etcd at %s: %s", endpoint, message);
        if (strstr(message, "user name is empty") || strstr(message, "authentication failed"))
            return shke_fail(-EACCES,
                             "etcd at %s refuses: %s (ETCDCTL_USER and "
                             "ETCDCTL_PASSWORD)",
                             endpoint, message);
        return shke_fail(-EPROTO, "etcd at %s: %s", endpoint, message);
    case GRPC_FAILED_PRECONDITION:
    case GRPC_OUT_OF_RANGE:
    case GRPC_UNIMPLEMENTED:
        return shke_fail(-EPROTO, "etcd at %s: %s", endpoint, message);
    }
    shke_fail(-EHOSTUNREACH, "no majority of etcd answers: %s: %s", endpoint, message);
    return SHKE_ASK_ANOTHER;
}
