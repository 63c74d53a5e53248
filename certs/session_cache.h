/* session_cache: TLS sessions with servers, kept to be resumed: bounded, shared by all workers.
 *
 * A resumed handshake shows no certificate, so what was found out about it is kept beside the
 * session; and nothing is kept past what it was found out for: the end of the chain, or an hour.
 * The key says for whom it may be resumed: whatever had a say in that must be in it
 * (proxy/flow/resume.c). A session of TLS 1.3 is given once (RFC 8446 appendix C.4); one of 1.2 is
 * copied. Least recently used goes first. */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/err.h"
#include "base/span.h"
#include "certs/authority.h"

struct client_cert;
struct session_cache;

enum {
    SESSION_CACHE_KEY_SIZE = 32,
    SESSION_CACHE_OF_KEY =
        4, /* programs open some connections at once; of TLS 1.3 each needs its own */
    SESSION_CACHE_SECONDS = 3600,
};

/* What was found out about a server in the handshake that a session comes from. */
struct session_facts {
    const struct authority *authority; /* of its leaf; borrowed: it lives as long as the credentials
                                          that the key names by their generation */
    X509 *issuer;                      /* of its certificate, as verified; owned, or NULL */
    struct span staple; /* the OCSP response with it; owned (OPENSSL_free), or empty */
    const struct client_cert *client; /* it was shown this one; borrowed likewise, or NULL */
    bool by_its_names; /* no name was asked for, its own ones are for the client to judge */
    time_t not_after;  /* when the first of its chain ends */
    uint64_t seen_ns;  /* monotonic */
    size_t size;       /* bytes its chain takes, about */
};

void session_facts_fini(struct session_facts *facts);

/* capacity: cache; bytes: of all of them, about. */
int session_cache_new(struct session_cache **out, size_t capacity, size_t bytes, struct err *err);
void session_cache_free(struct session_cache **cache);

/* Keeps a copy of both; without memory, or if the session cannot be resumed, nothing. */
void session_cache_keep(struct session_cache *cache, const uint8_t key[SESSION_CACHE_KEY_SIZE],
                        const SSL_SESSION *session, const struct session_facts *facts);
/* The newest one, and what belongs to it, which are the caller's; NULL: there is none. */
SSL_SESSION *session_cache_take(struct session_cache *cache,
                                const uint8_t key[SESSION_CACHE_KEY_SIZE], uint64_t now_ns,
                                struct session_facts *facts);
/* Those of this key do not work. */
void session_cache_drop(struct session_cache *cache, const uint8_t key[SESSION_CACHE_KEY_SIZE]);
