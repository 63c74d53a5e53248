/* http1: one direction of an HTTP/1 connection, cut into heads and bodies (RFC 9112).
 *
 * llhttp in strict mode, plus a guard for what it lets through and two servers could read
 * differently. Pure: bytes in, events out; no socket, no clock. The caller keeps the bytes of a
 * head contiguous until it was told, and forwards exactly what was consumed.
 * Called by:  flow/request.c for both directions of a relay; kernel/stream_http1.c for those of a
 *             connection that it only hears; telemetry/admin.c; tests/fuzz. */
#pragma once

#include "base/span.h"

enum { HTTP1_FIELDS_MAX = 256, HTTP1_HEAD_MAX = 1 << 20 };

enum http1_kind { HTTP1_REQUEST, HTTP1_RESPONSE };

enum http1_status {
    HTTP1_MORE, /* all input consumed; give more */
    HTTP1_HEAD, /* a head is complete: http1_head() is valid until the next feed */
    HTTP1_DONE, /* the message is complete; the next feed begins another */
    HTTP1_RAW,  /* what follows is not HTTP any more (CONNECT, upgrade taken): stop feeding */
    HTTP1_BAD,  /* refused: http1_reason() says why; stop feeding */
};

struct http1_field { /* offsets into the head's bytes */
    uint32_t name_at, name_len;
    uint32_t value_at, value_len; /* surrounding blanks cut off */
};

struct http1_head {
    uint8_t major, minor;
    uint16_t code;                  /* responses */
    uint32_t method_at, method_len; /* requests */
    uint32_t target_at, target_len; /* requests: as sent */
    uint32_t len;                   /* bytes of the whole head, its empty line included */
    size_t fields_len;
    struct http1_field fields[HTTP1_FIELDS_MAX];
    bool keep_alive; /* the connection may carry another message after this one */
    bool upgrade;    /* request: asks to leave HTTP (Upgrade or CONNECT) */
    bool body;       /* a body follows (responses: as far as the head alone can tell) */
};

struct http1;

struct http1 *http1_new(enum http1_kind kind); /* NULL: out of memory */
void http1_free(struct http1 **http1);

/* Consumes up to bytes.len bytes and stops at the next thing to tell; *consumed says how far. A
 * head's bytes are consumed as they come (MORE) and the feed that ends it says HEAD, with
 * *consumed just behind its empty line; body bytes, chunk lines and trailers are consumed as MORE;
 * DONE stands just behind the last byte of the message, and may come with *consumed == 0. BAD
 * leaves *consumed on the offending byte, wherever the pieces were cut. Blank lines before a
 * request are bytes of its head. */
enum http1_status http1_feed(struct http1 *http1, struct span bytes, size_t *consumed);

/* Responses: what the request it answers was, to be said after HTTP1_HEAD's predecessor was DONE
 * and before the head is fed. head_request: no body follows whatever the head says; connect: a 2xx
 * turns the connection RAW. Default: neither. Holds over interim answers, until the final one. */
void http1_answers(struct http1 *http1, bool head_request, bool connect);

enum http1_part {
    HTTP1_BODY,  /* without chunk framing */
    HTTP1_ASIDE, /* what goes with one: chunk extensions and trailer fields, as sent */
};
/* Who is shown the bytes of bodies from here on; NULL: nobody. */
void http1_on_body(struct http1 *http1,
                   void (*on_body)(void *arg, enum http1_part part, struct span bytes), void *arg);

/* Requests: the response settled whether an upgrade was taken. Until then a request that asked to
 * upgrade yields DONE and then nothing is consumed. taken: the next feed says RAW. */
void http1_upgraded(struct http1 *http1, bool taken);

/* The peer closed: DONE when that ends the message (read-until-close) or nothing had begun, BAD
 * when the message was cut short. */
enum http1_status http1_eof(struct http1 *http1);

/* Whether the parser stands between messages: nothing of the next one has been consumed. */
bool http1_idle(const struct http1 *http1);

/* After HTTP1_BAD within a head: what was read of it so far, whole fields and perhaps not the whole
 * target. */
const struct http1_head *http1_head(const struct http1 *http1);
/* The number of body bytes of the current message consumed so far (decoded: chunk framing does
 * not count). */
uint64_t http1_body_bytes(const struct http1 *http1);
/* A short phrase for events and logs, such as "two Content-Length fields"; never NULL after BAD. */
const char *http1_reason(const struct http1 *http1);

/* The first field called name (any case), or false. base: the head's first byte. */
bool http1_find(const struct http1_head *head, const uint8_t *base, const char *name,
                struct span *value);

/* The authority a request is for: absolute-form beats Host (RFC 9112 section 3.2.2), port cut off,
 * lower case, one closing dot dropped; written into out. False when there is none. */
bool http1_authority(const struct http1_head *head, const uint8_t *base, char *out, size_t size);

/* The same in its parts. */
struct authority_parts;
bool http1_authority_parts(const struct http1_head *head, const uint8_t *base,
                           struct authority_parts *out);

/* The method and the target of a request line that was refused, as far as they are there: words,
 * however they are parted, and whether or not anybody should take them for those; but nothing where
 * the first is longer than any method is. For events. */
void http1_words(struct span bytes, struct span *method, struct span *target);

/* Whether bytes may be the beginning of an HTTP/1 request ("GET /"): 1 yes, 0 no, -1 too few to
 * say. */
int http1_looks_like_request(struct span bytes);
