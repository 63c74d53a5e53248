/* pcapng: blocks of a capture file (draft-ietf-opsawg-pcapng), whose packets are made up: what a
 * program said and heard inside TLS, as TCP segments that Wireshark and tcpdump can follow.
 *
 * Pure. In this machine's byte order, which the format allows.
 * Called by:  capture.c. */
#pragma once

#include <stdint.h>

#include "base/addr.h"
#include "base/span.h"
#include "events/buffer.h"

enum { PCAPNG_PAYLOAD_MAX = 32768 }; /* of one packet */
enum pcapng_flags {
    PCAPNG_FIN = 1,
    PCAPNG_SYN = 2,
    PCAPNG_RST = 4,
    PCAPNG_PSH = 8,
    PCAPNG_ACK = 16
};

struct pcapng_packet {
    uint64_t time_ns; /* wall clock */
    struct addr src, dst;
    uint32_t seq, ack;
    uint8_t flags;       /* of enum pcapng_flags */
    struct span payload; /* at most PCAPNG_PAYLOAD_MAX */
    struct span comment; /* UTF-8, less than 64 kB; empty: none */
};

struct pcapng_counts {
    uint64_t began_ns, ended_ns; /* wall clock */
    uint64_t came, missed;       /* packets: all of them, and those that are not in the file */
};

/* The section and its one interface. */
void pcapng_begin(struct buffer *out, const char *about);
void pcapng_packet(struct buffer *out, const struct pcapng_packet *packet);
/* How many bytes that appends. */
size_t pcapng_packet_size(const struct pcapng_packet *packet);
/* The last block: what is missing. */
void pcapng_end(struct buffer *out, const struct pcapng_counts *counts);
enum { PCAPNG_END_SIZE = 72 }; /* bytes that appends */
