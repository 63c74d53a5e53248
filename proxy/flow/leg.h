/* leg: one side of a flow, plain or TLS, behind one interface.
 *
 * Sockets are non-blocking and watched edge-triggered: `readable` and `writable` stay true until
 * the kernel said EAGAIN, or a read came short. Short means drained, unless the peer has hung up or
 * failed, or said something urgent: then more is still to be read, and no further edge will tell.
 * Every function returns a negative errno on failure, -EAGAIN when it has to wait for an edge. */
#pragma once

#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/span.h"

struct worker;

struct leg {
    struct worker *worker;
    int fd;   /* owned; -1: none */
    SSL *ssl; /* owned; NULL: plain */
    struct event event;
    bool watched;
    bool connecting; /* connect(2) under way: neither read nor write */
    bool readable, writable;
    bool hung_up;    /* the peer sent FIN */
    bool unsure;     /* more may wait behind the bytes: read until the kernel says EAGAIN */
    bool at_end;     /* the FIN was read from the socket */
    bool ended;      /* the end of the peer's bytes was read */
    bool ended_well; /* ... by close_notify where there is TLS */
    bool shut;       /* our own end was sent */
    bool lost;       /* a reset was met: what looks like the peer's end is a cut */
    bool broken;     /* OpenSSL gave up: what it says from then on means nothing */
    int reason;      /* TLS: OpenSSL's first complaint (SSL_R_…) when something failed */
    int alert;       /* TLS: the peer's fatal alert (RFC 8446 section 6.2), 0: none */
    size_t asked;    /* TLS: how many bytes OpenSSL wanted last */
    bool used;       /* TLS: OpenSSL may have buffers that it needs no more */
    uint64_t rx, tx; /* bytes received and sent on the socket */
    uint8_t *stash;  /* bytes received, not yet taken: to be read before what the socket has */
    size_t stash_at, stash_len;

    bool secured;            /* the TLS handshake is done */
    uint64_t shown_ns;       /* TLS, accepted: when it was shown our certificate, monotonic; or 0 */
    unsigned messages;       /* handshake messages that came after it, since: */
    uint64_t messages_since; /* monotonic */
    bool chatters;           /* they were too many: reading fails from then on */
};

/* How legs read and write for OpenSSL, for worker->leg_bio; BIO_meth_free() it. NULL when out of
 * memory. */
BIO_METHOD *leg_bio_new(void);

void leg_init(struct leg *leg, struct worker *worker);
/* Closes. reset: by RST instead of FIN. */
void leg_fini(struct leg *leg, bool reset);

/* Takes fd and watches it: on_ready(fd, EV_…, arg) for every edge; the caller passes `what` on to
 * leg_ready() first. */
int leg_watch(struct leg *leg, int fd, event_callback_fn on_ready, void *arg);
void leg_ready(struct leg *leg, short what);
/* For worker->errors: of those legs the kernel knows an error, urgent data, or both ends. */
void leg_on_errors(evutil_socket_t fd, short what, void *arg);

/* Makes it a TLS leg; takes ssl. accept: as the server. */
int leg_secure(struct leg *leg, SSL *ssl, bool accept);
/* 0 when done. On failure err has the sentence and leg->alert the peer's alert, or 0 when the
 * failure is ours or the connection's. */
int leg_handshake(struct leg *leg, struct err *err);
/* The name of leg->alert. */
const char *leg_alert_name(const struct leg *leg);

/* Acknowledges what came without waiting for something to send along: for who has it from us that
 * his turn has come, and whose kernel holds small segments back until then (Nagle). */
void leg_acknowledge(struct leg *leg);

/* TLS 1.3, accepted: gives the peer a session ticket, now or with what is written next. On failure
 * the leg is broken. */
int leg_ticket(struct leg *leg);

/* 0, or why the connection was lost, for who has no room to read until that is said. A reset behind
 * the peer's end (EPIPE) is none: the end counts. */
int leg_error(struct leg *leg);

/* As leg_read() of one byte, which stays to be read. TLS only. */
ssize_t leg_peek(struct leg *leg);
/* What is there to be read, which stays to be read: > 0 bytes; 0: the end. Plain only. */
ssize_t leg_look(struct leg *leg, void *data, size_t len);
/* Puts bytes back that were read too far, and the end with them: all is as if never read. Plain
 * only. */
int leg_unread(struct leg *leg, struct span bytes);
/* > 0 bytes; 0: the end (leg->ended_well says how). */
ssize_t leg_read(struct leg *leg, void *data, size_t len);
/* TLS: bytes that were received wait in memory, so that the next read need not ask the kernel. */
bool leg_holds(const struct leg *leg);
ssize_t leg_write(struct leg *leg, const void *data, size_t len);
/* Sends our end: close_notify where there is TLS and `well`, then FIN. 0 when sent (now or before),
 * -EAGAIN when the peer must first take what it was sent: try again at the next edge, for FIN
 * without close_notify would look like a cut. */
int leg_shut(struct leg *leg, bool well);
