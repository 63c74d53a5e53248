/* program: what one program was seen to do about kTLS, what follows for its next connections, and
 * why it does not use kTLS, if it does not.
 *
 * Pure. Called by:  programs.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "policy/route.h"

/* ---- whether its connections bypass the proxy by themselves (`route: auto`) ---- */

enum {
    PROGRAM_BLIND_MAX = 3,  /* connections that turned out unread, whatever came in between */
    PROGRAM_NEED_MAX = 256, /* sightings that it takes to come back */
};
enum program_sight {
    PROGRAM_HANDS_KEYS, /* a connection's keys were handed to the kernel, by whatever route it came
                         */
    PROGRAM_IS_BLIND,   /* a connection in the kernel was not read: the program encrypted itself
                           after all */
    PROGRAM_IS_REFUSED, /* ... where that is denied, or a policy says onNoVisibility: steer; or of
                           one something was refused that the proxy might have let go */
};
struct program_use { /* begins zeroed: nothing is known of it */
    uint16_t need;   /* sightings until it bypasses the proxy; 0: one */
    uint16_t seen;   /* ... so far, since it was sent back last */
    uint16_t blind;  /* connections since it bypasses */
    bool bypasses;
};

/* Sightings that it takes, or took, to bypass the proxy. */
unsigned program_needs(const struct program_use *use);

/* Whether `bypasses` has changed. */
bool program_saw(struct program_use *use, enum program_sight sight);

/* ---- whether the kernel encrypts for it, and why not ---- */

enum program_known { PROGRAM_UNKNOWN, PROGRAM_YES, PROGRAM_NO };
struct program_facts {
    bool tx, rx;                /* keys were handed to the kernel, of what is sent, received */
    bool host;                  /* there is kTLS on this machine */
    enum program_known openssl; /* libssl is mapped into it */
    const char *own_bio; /* ... and what puts a BIO of its own between: a sentence; NULL: nothing
                            that is known to */
    bool asked;          /* it was started with a configuration of OpenSSL's that asks for it */
    uint16_t version;    /* of its TLS, as it was last seen; 0: not */
    const char *cipher;  /* likewise, IANA's name; NULL */
};
/* Whether the kernel does, or would if it were asked, as far as is known. */
bool program_is_capable(const struct program_facts *facts);
/* NULL: the kernel does. */
const char *program_why_not_sent(const struct program_facts *facts);
const char *program_why_not_received(const struct program_facts *facts);

/* ---- which route its next connection takes ---- */

struct program_way {          /* beside what was seen of it */
    enum policy_route pod;    /* as its pod's settings have it */
    enum policy_way policies; /* ... as policies do */
    bool passes;              /* what comes to the proxy is passed on unread */
    bool plain, ktls, sure;   /* what the kernel can here: enum abi_route_flags */
    bool http2;               /* it was seen to speak that */
};
/* As the kernel decides it (bpf/bypass.h). *why: in words. */
enum policy_route program_route(const struct program_facts *facts, const struct program_use *use,
                                const struct program_way *way, const char **why);
