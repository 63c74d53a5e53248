/* clock: the kernel's clocks, in nanoseconds. */
#pragma once

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_read_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Monotonic: for durations and time-outs, which a change of the wall clock must not touch. */
static inline uint64_t clock_ns(void)
{
    return clock_read_ns(CLOCK_MONOTONIC);
}

/* How far the wall clock is ahead of the boot clock, by which the kernel tells when things
 * happened. Who is interrupted between reading one and the other would be wrong by as long. */
static inline uint64_t clock_wall_ahead_ns(void)
{
    enum { TRIES = 8, CLOSE_NS = 1000000 };
    uint64_t before, wall, after;
    int tries = 0;

    do {
        before = clock_read_ns(CLOCK_BOOTTIME);
        wall = clock_read_ns(CLOCK_REALTIME);
        after = clock_read_ns(CLOCK_BOOTTIME);
    } while (after - before > CLOSE_NS && ++tries < TRIES);
    return wall - before;
}
