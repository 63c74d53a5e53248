/* http2_sent: what one side of the HTTP/2 relay is sent, taken apart: frames that make sense where
 * they stand, and header blocks that decode. */
#pragma once

#include <nghttp2/nghttp2.h>

#include "base/span.h"
#include "tests/fuzz/check.h"

enum { FRAME_HEAD = 9 };

struct frames { /* what one side is sent */
    size_t before;
    uint8_t head[FRAME_HEAD];
    size_t head_len;
    uint8_t payload[16384];
    size_t len, want;
    bool block, regular; /* a header block is not at its end; it is behind its pseudo-headers */
    bool unwritten;
    uint64_t frames;
    nghttp2_hd_inflater *inflater;
};

/* A piece of a header block. */
static void check_block(struct frames *to, struct span piece, bool last)
{
    for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        ssize_t n = nghttp2_hd_inflate_hd2(to->inflater, &nv, &flags, piece.data, piece.len, last);

        CHECK(n >= 0 && (size_t)n <= piece.len);
        piece = span_of(piece.data + n, piece.len - (size_t)n);
        if (flags & NGHTTP2_HD_INFLATE_EMIT) {
            CHECK(nv.namelen && nghttp2_check_header_value(nv.value, nv.valuelen));
            CHECK(nv.name[0] == ':' ? !to->regular
                                    : nghttp2_check_header_name(nv.name, nv.namelen));
            to->regular |= nv.name[0] != ':';
        } else if (flags & NGHTTP2_HD_INFLATE_FINAL || !piece.len) {
            break;
        }
    }
    CHECK(!piece.len);
    if (last)
        nghttp2_hd_inflate_end_headers(to->inflater);
}

static void check_frame(struct frames *to)
{
    uint8_t type = to->head[3], flags = to->head[4];
    uint32_t id = (uint32_t)to->head[5] << 24 | (uint32_t)to->head[6] << 16 |
                  (uint32_t)to->head[7] << 8 | to->head[8];
    size_t skip = type == NGHTTP2_HEADERS && flags & NGHTTP2_FLAG_PRIORITY ? 5 : 0;

    if (!to->frames++)
        CHECK(type == NGHTTP2_SETTINGS && !(flags & NGHTTP2_FLAG_ACK));
    CHECK(type != NGHTTP2_PUSH_PROMISE && type <= NGHTTP2_CONTINUATION);
    CHECK(type > NGHTTP2_HEADERS || !(flags & NGHTTP2_FLAG_PADDED));
    CHECK(id ? id & 1 : type >= NGHTTP2_SETTINGS);
    CHECK(to->block == (type == NGHTTP2_CONTINUATION));
    if (type != NGHTTP2_HEADERS && type != NGHTTP2_CONTINUATION)
        return;
    if (!to->block)
        to->regular = false;
    to->block = !(flags & NGHTTP2_FLAG_END_HEADERS);
    check_block(to, span_of(to->payload + skip, to->len - skip), !to->block);
}

static inline void check_sent(struct frames *to, struct span bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        if (to->before) {
            CHECK(bytes.data[i] ==
                  (uint8_t)NGHTTP2_CLIENT_MAGIC[NGHTTP2_CLIENT_MAGIC_LEN - to->before--]);
            continue;
        }
        if (to->head_len < FRAME_HEAD)
            to->head[to->head_len++] = bytes.data[i];
        else
            to->payload[to->len++] = bytes.data[i];
        if (to->head_len < FRAME_HEAD)
            continue;
        to->want = (size_t)to->head[0] << 16 | (size_t)to->head[1] << 8 | to->head[2];
        CHECK(to->want <= sizeof(to->payload));
        if (to->len < to->want)
            continue;
        check_frame(to);
        to->head_len = to->len = 0;
    }
}
