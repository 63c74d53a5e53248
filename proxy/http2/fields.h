/* fields: a header block as nghttp2 decodes it, kept until it is whole; bounded.
 *
 * Holds nghttp2's own counted strings, so nothing is copied.
 * Called by:  session.c. */
#pragma once

#include <nghttp2/nghttp2.h>

#include "proxy/http2/http2.h"

enum fields_status {
    FIELDS_FINE,
    FIELDS_TOO_LONG, /* over HTTP2_LIST_MAX or HTTP2_FIELDS_MAX: the rest is not kept */
    FIELDS_BOMB,     /* and so much over it that decoding it is an attack */
    FIELDS_NO_MEMORY,
};

struct fields {
    struct {
        nghttp2_rcbuf *name, *value;
        uint8_t flags;
    } * list;
    size_t len, size; /* entries */
    size_t bytes;     /* of the list, as RFC 9113 section 6.5.2 counts; also what was not kept */
    size_t pseudo;    /* so many of the first are pseudo-headers */
    bool open;        /* a block has begun and is not whole */
    enum fields_status status;
};

void fields_begin(struct fields *fields);
enum fields_status fields_add(struct fields *fields, nghttp2_rcbuf *name, nghttp2_rcbuf *value,
                              uint8_t flags);
/* The block is whole, and this long on the wire: what decodes to far more than it, by naming the
 * same few entries again and again, is too long, too. */
void fields_weigh(struct fields *fields, size_t wire);
/* The block is done with; memory that was much goes back. */
void fields_done(struct fields *fields);
void fields_fini(struct fields *fields);

/* What they say. The regular ones are written into regular, which has room for HTTP2_FIELDS_MAX;
 * all borrows from fields. */
void fields_head(const struct fields *fields, struct facts_field *regular, struct http2_head *head);
/* All, in their order, as nghttp2 wants them; out has room for HTTP2_FIELDS_MAX. Borrows. */
size_t fields_nv(const struct fields *fields, nghttp2_nv *out);
/* The same in memory of their own: one allocation. NULL: none. */
struct fields_copy *fields_copy(const struct fields *fields);

struct fields_copy {
    size_t len;
    nghttp2_nv nv[]; /* and behind them their bytes */
};
