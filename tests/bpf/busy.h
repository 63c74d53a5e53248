/* busy: shared by busy.bpf.c and busy.c. */
#pragma once

#include "bpf/abi.h"

/* struct abi_said, as far as it is filled. */
struct busy_piece {
    __u8 head[__builtin_offsetof(struct abi_said, bytes)];
    __u8 bytes[8];
} __attribute__((aligned(8)));
