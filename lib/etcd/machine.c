#include "etcd/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void shke_machine_here(struct shke_machine *p)
{
    const char *machine = secure_getenv("SHMKIT_ETCD_MACHINE");
    FILE *boot = fopen("/proc/sys/kernel/random/boot_id", "re");
    struct stat st;

    *p = (struct shke_machine){0};
    if (machine && *machine)
        snprintf(p->host, sizeof(p->host), "%s", machine);
    else
        gethostname(p->host, sizeof(p->host) - 1);
    if (boot && fgets(p->boot, sizeof(p->boot), boot))
        p->boot[strcspn(p->boot, "\n")] = '\0';
    if (boot)
        fclose(boot);
    if (stat("/proc/self/ns/pid", &st) == 0)
        p->namespace_ = st.st_ino;
}

void shke_machine_write(const struct shke_machine *p, struct shke_buffer *b)
{
    shke_add_string(b, ",\"boot\":");
    shke_add_json_string(b, p->boot);
    shke_addf(b, ",\"ns\":%llu", (unsigned long long)p->namespace_);
}

static uint64_t add_hash(uint64_t h, const char *text)
{
    do
        h = (h ^ (unsigned char)*text) * 1099511628211u;
    while (*text++);
    return h;
}

static const char *text_of(json_object *record, const char *key)
{
    json_object *value;

    return json_object_object_get_ex(record, key, &value) &&
                   json_object_is_type(value, json_type_string)
               ? json_object_get_string(value)
               : "";
}

uint64_t shke_machine_number(const struct shke_machine *here, json_object *record)
{
    const char *host = text_of(record, "host"), *boot = text_of(record, "boot");
    json_object *ns;
    uint64_t number = 0;

    if (json_object_object_get_ex(record, "ns", &ns))
        number = (uint64_t)json_object_get_int64(ns);
    if (number == 0 || (strcmp(host, here->host) == 0 && strcmp(boot, here->boot) == 0))
        return number;
    return add_hash(add_hash(14695981039346656037u ^ number, host), boot) | UINT64_C(1) << 63;
}
