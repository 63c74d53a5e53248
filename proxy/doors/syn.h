/* syn: the packet that begins a TCP connection, kept back by bpf/hold.h, and the packets that
 * answer it in place of our listener.
 *
 * Pure: bytes in, whole IP packets out, with their checksums, as a raw socket sends them.
 * Called by:  attempts.c. */
#pragma once

#include <stdbool.h>

#include "base/addr.h"
#include "base/span.h"
#include "bpf/abi.h"

enum { SYN_ANSWER_MAX = 40 + 8 + ABI_SYN_MAX };

struct syn {
    bool v4;                     /* the packet's family; the socket may be an IPv6 one */
    struct addr src, to;         /* the program's side; our listener's */
    uint8_t head_len;            /* of the IP header */
    uint8_t len;                 /* of all */
    uint8_t packet[ABI_SYN_MAX]; /* the headers alone, complete */
};

/* From what the kernel keeps of one; false: it is none. */
bool syn_parse(struct span packet, struct syn *out);
/* The same connection's? Then one is a repetition of the other. */
bool syn_is_again(const struct syn *a, const struct syn *b);

/* What ends the socket's connect() with this errno (negative), or the one nearest to it that a
 * packet can tell. Returns the packet's length. */
size_t syn_refuse(const struct syn *syn, int error, uint8_t out[SYN_ANSWER_MAX]);
