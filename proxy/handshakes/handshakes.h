/* handshakes: what pods' programs say first by datagrams: the ClientHello of QUIC and of DTLS,
 * told, and judged by policies.
 *
 * The kernel (bpf/hello.h) tells of what may be one; it has left by then, so what a policy denies
 * is ended from there on. Told is what the program offers, for the server's answer is not seen.
 * Control thread only; bounded: of what was begun longest ago the rest is not waited for. Called
 * by:  ../sockets.c, which knows the exchange. Leads to:   ../wire/quic.h, ../wire/dtls.h;
 * hello_verdict.h. */
#pragma once

#include "base/err.h"
#include "events/bus.h"
#include "policy/facts.h"

struct abi_datagram;
struct act;
struct handshakes;
struct identity;
struct names;
struct policies;
struct sallyport_bpf;

struct handshakes_parts {      /* all borrowed, all outlive it; producer is the control thread's */
    struct sallyport_bpf *bpf; /* NULL: nobody reads what is said of exchanges */
    struct identity *identity;
    struct policies *policies; /* NULL: none has a say */
    struct names *names;
    struct act *act;
    struct bus_producer *producer;
};

int handshakes_new(struct handshakes **out, const struct handshakes_parts *parts, struct err *err);
void handshakes_free(struct handshakes **handshakes);

/* Whose exchange it is; each may be NULL. */
struct handshakes_who {
    struct process *process;
    struct pod *pod;
    struct addr src;
};
struct handshakes_told {
    bool opaque;    /* it is QUIC or DTLS, and so cannot be read */
    char said[320]; /* denied: why, as a sentence; else "" */
};
/* ABI_DATAGRAM */
void handshakes_on_datagram(struct handshakes *handshakes, const struct abi_datagram *record,
                            const struct handshakes_who *who, struct handshakes_told *out);

/* The exchange is over. */
void handshakes_forget(struct handshakes *handshakes, uint64_t cookie, const struct addr *dst);
