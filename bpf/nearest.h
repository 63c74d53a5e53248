/* nearest: arithmetic of counts; a header of its own so that the host can test it. */
#pragma once

#include <linux/types.h>

/* A count of 64 bits of which only the lower half is known exactly, and all about: right as long as
 * the two are less than 2 GiB apart, which no socket's buffers are. */
static inline __attribute__((always_inline)) __u64 nearest(__u64 about, __u32 low)
{
    return about + (__s64)(__s32)(low - (__u32)about);
}
