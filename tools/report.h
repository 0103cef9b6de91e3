/* What 'shmctl doctor' finds: in words at once, or in a table. */
#ifndef SHMCTL_REPORT_H
#define SHMCTL_REPORT_H

#include "table.h"

extern const struct table_kind finding_table;

struct report {
    struct table *table; /* NULL: in words, at once */
    bool problems;
};

/* One more finding; it is a problem if there is a fix. */
void found(struct report *, const char *about, const char *fix, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The servers of etcd: doctor_etcd.c. Returns an exit status. */
int check_etcd(struct report *);

#endif
