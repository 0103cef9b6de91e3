/* Numbers that look random, always the same ones for a seed. */
#ifndef DEMOS_NOISE_H
#define DEMOS_NOISE_H

#include <stdint.h>

/* The whole state: it begins as the seed, any number. */
struct noise {
    uint64_t state;
};

double noise_uniform(struct noise *); /* 0 to less than 1, as numpy's random.random() */
double noise_normal(struct noise *);  /* of mean 0 and variance 1 */

#endif
