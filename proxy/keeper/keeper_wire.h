/* keeper_wire: what an agent and the keeper process say to each other, one message a packet.
 *
 * Pure: bytes and a count of descriptors in, one message out. The same form asks and answers. Both
 * ends are root's, but they may be of different builds: who changes this form raises the version
 * and still understands the one before, or an upgrade would lose every listener.
 * Called by:  keeper_client.c, keeper_process.c. */
#pragma once

#include "base/span.h"
#include "bpf/abi.h"
#include "proxy/keeper/listener.h"

enum {
    KEEPER_WIRE_VERSION = 1,
    /* A namespace's: stream, datagram, ICMP, raw, each by both families, and itself. */
    KEEPER_WIRE_LISTENERS = 2 + 2 * ABI_PEERS + 4,
    KEEPER_WIRE_FDS_MAX = KEEPER_WIRE_LISTENERS + 1 > 16 ? KEEPER_WIRE_LISTENERS + 1 : 16,
    KEEPER_WIRE_TEXT_MAX = 400,
    KEEPER_WIRE_MAX = 64 + KEEPER_WIRE_TEXT_MAX,
};

enum keeper_verb {
    KEEPER_HELLO = 1, /* with the map hold_until; the youngest that said it has the say */
    KEEPER_ADD,       /* with a namespace, and its cookie or 0; answer: its listeners */
    KEEPER_GIVE,      /* with a namespace and its listeners, which a keeper that died had opened */
    KEEPER_REMOVE,    /* a namespace, by its cookie */
    KEEPER_NEXT,      /* answer: the one with the next higher cookie, all of it; -ENOENT: no more */
    KEEPER_SOCKETS,   /* answer: up to count sockets of a kind, made in a namespace */
    KEEPER_END,       /* close everything and end */
    KEEPER_VERBS,
};

struct keeper_message {
    enum keeper_verb verb;
    bool answer;
    int code; /* of an answer: 0 or a negative errno */
    uint64_t cookie;
    uint32_t kind;  /* SOCKETS: enum inside_kind */
    uint32_t count; /* SOCKETS: wanted, or sent along */
    uint32_t open;  /* GIVE, and answers to ADD and NEXT: which listeners are sent along, a bit each
                       in the order of keeper_wire_listeners() */
    uint16_t ports[1 + ABI_PEERS];   /* of these: the stream's, then the datagrams' */
    char text[KEEPER_WIRE_TEXT_MAX]; /* why it failed */
};

/* Returns the length. */
size_t keeper_wire_encode(const struct keeper_message *message, uint8_t out[KEEPER_WIRE_MAX]);
/* False for what does not make sense, or not with so many descriptors. */
bool keeper_wire_decode(struct span bytes, size_t fds, struct keeper_message *out);

/* How many descriptors go with a message: the namespace's or map's own first, if any. */
size_t keeper_wire_fds(const struct keeper_message *message);

/* The places of a namespace's descriptors, in the order of the wire. */
void keeper_wire_listeners(struct listeners *listeners, int *places[KEEPER_WIRE_LISTENERS]);
/* Says in *message which are open, and puts these into fds, borrowed. Returns how many. */
size_t keeper_wire_put(struct keeper_message *message, const struct listeners *listeners,
                       int fds[KEEPER_WIRE_LISTENERS]);
/* The other way: moves as many of fds as the message says into *out, which has none open. */
void keeper_wire_take(const struct keeper_message *message, int *fds, struct listeners *out);
