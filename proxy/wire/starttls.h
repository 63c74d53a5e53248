/* starttls: does a conversation that begins in the clear turn to TLS?
 *
 * Pure: bytes in the order in which they come, a word out; no bytes are kept. No protocol's
 * commands are read. What STARTTLS (SMTP, IMAP, NNTP, Sieve, XMPP), STLS, AUTH TLS, LDAP's StartTLS
 * and PostgreSQL's SSLRequest have in common tells more than they do, for it shows that the server
 * agreed: the client has said something, was answered, and what it says next is a ClientHello.
 * Called by:  flow/splice.c, with what passes unread. */
#pragma once

#include "base/span.h"

enum starttls_status {
    STARTTLS_LOOKING,
    STARTTLS_YES,
    STARTTLS_NO, /* TLS from its first byte, or so much passed that it will not be */
};

enum { STARTTLS_HEAD = 6, STARTTLS_SEEN_MAX = 16384 };

/* All zero: nothing was said yet. */
struct starttls {
    enum starttls_status said;
    uint8_t head[STARTTLS_HEAD]; /* how what the client says begins, since the server last spoke */
    size_t head_len;
    size_t skip; /* bytes of the client's before another beginning */
    size_t seen; /* of both */
    bool asked;  /* the client has said something in the clear before */
};

/* What comes next from the client, and from the server. The answer stays once it is given. */
enum starttls_status starttls_client(struct starttls *starttls, struct span bytes);
enum starttls_status starttls_server(struct starttls *starttls, struct span bytes);
