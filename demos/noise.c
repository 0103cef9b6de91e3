#include "noise.h"

#include <math.h>

/* SplitMix64 (Steele, Lea, Flood 2014): a counter, and a function that stirs its bits. */
static uint64_t next(struct noise *noise)
{
    uint64_t x = noise->state += 0x9e3779b97f4a7c15;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

double noise_uniform(struct noise *noise)
{
    return (next(noise) >> 11) * 0x1p-53;
}

/*
 * Box and Muller; the second number that it would give is not kept, so that the state is one word.
 */
double noise_normal(struct noise *noise)
{
    double radius = sqrt(-2 * log(1 - noise_uniform(noise)));

    return radius * cos(2 * M_PI * noise_uniform(noise));
}
