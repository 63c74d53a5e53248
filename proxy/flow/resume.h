/* resume: TLS sessions that go on, on either leg, where nothing that the program is shown changes
 * by it.
 *
 * With a server, a session is resumed only for the pod, the place, the names, the offers and the
 * trust it was made under. With a program, only while upstream says the same as then: its ticket is
 * good for the very leaf that would be shown now, and the protocol agreed on now. And it gets one
 * only where upstream gives one, for a server that gives none is not known to forget nothing.
 *
 * Called by:  dial.c and open.c, around their handshakes; relay.c, when upstream's tickets come. */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>

#include "certs/session_cache.h"

struct flow;

struct resume {
    struct session_facts shown; /* what upstream has shown, now or in the session that goes on */
    uint8_t key[SESSION_CACHE_KEY_SIZE];
    bool keyed;    /* key is there: sessions are offered and kept */
    bool offered;  /* upstream was offered a session */
    bool refused;  /* that went wrong: not again */
    bool learnt;   /* shown is filled for this handshake */
    bool given;    /* upstream gave us a session */
    unsigned due;  /* tickets that the pod is to be given, */
    unsigned told; /* and those it has been or will be */
};

void resume_fini(struct resume *resume);

/* Pure: everything that has a say in what is agreed and believed: who asks, where, for which name,
 * with which offers, and what is trusted. False: OpenSSL fails. */
bool resume_key(const struct flow *flow, uint8_t out[SESSION_CACHE_KEY_SIZE]);

/* Before the handshake with upstream: offers what is kept. */
void resume_offer(struct flow *flow, SSL *ssl);
/* After it (or in its midst, when a session comes so early): what upstream shows. */
void resume_learn(struct flow *flow, SSL *ssl);
/* For SSL_CTX_sess_set_new_cb on the upstreams' side. */
int resume_on_session(SSL *ssl, SSL_SESSION *session);
/* The handshake failed for which a session was offered: it is to be tried without. */
void resume_give_up(struct flow *flow);

/* Before the handshake with the pod, when the leaf is in ssl: for whom its tickets are good. */
bool resume_bind(struct flow *flow, SSL *ssl, bool revoked);
/* The pod's handshake is done, or upstream's tickets came: passes on what is due. < 0: the pod's
 * leg is broken. */
int resume_tickets(struct flow *flow);
