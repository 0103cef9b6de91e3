/* The account of the article, and its two sides: the depositor and the drawer. */
#ifndef DEMOS_ACCOUNT_H
#define DEMOS_ACCOUNT_H

#include "common.h"

struct side {
    const char *program; /* "depositor" */
    const char *purpose;
    const char *name;  /* its own, without --name: "存款者" */
    const char *does;  /* "存款" */
    int64_t sign;      /* of its amount in the balance */
    uint32_t needs;    /* the flag paid_in that lets it go on; it leaves the other */
    const char *ready; /* the event that says so, with --event */
    const char *other; /* the event of the other side */
};

int account_main(int argc, char **argv, const struct side *);

#endif
