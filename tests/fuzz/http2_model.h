/* http2_model: what a client and a server mean to say to each other, and how much of it has
 * arrived: the model that http2_relay_fuzz holds the relay against. Heads and bodies are made from
 * numbers, so that what arrives can be made anew and compared. */
#pragma once

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "proxy/http2/http2.h"
#include "tests/fuzz/check.h"

enum { EXCHANGES_MAX = 64, HEADS_MAX = 6, FIELDS_MAX = 16, TEXT_MAX = 16 << 10 };

enum kind { KIND_REQUEST, KIND_INTERIM, KIND_ANSWER, KIND_TRAILERS, KIND_REFUSAL };

/* One direction of an exchange. */
struct message {
    struct {
        enum kind kind;
        uint32_t seed;
    } heads[HEADS_MAX];
    unsigned heads_len, heads_sent, heads_got;
    uint64_t target; /* bytes that its sender has by now */
    bool ends;       /* ... and they are all */
    bool trailers;
    uint64_t sent, got;
    uint64_t told;            /* to the hook */
    uint64_t pulled, written; /* by the relay, for who gets it */
    bool end_sent, end_got;
    bool resets;        /* its sender wants the stream reset, */
    bool reset, closed; /* has, or is done with it, */
    uint32_t code, closed_code;
    bool stalled; /* who gets it takes nothing now */
    size_t untaken;
};

enum told { TOLD_NOTHING, TOLD_REQUEST, TOLD_ANSWER, TOLD_CLOSED };

struct exchange {
    unsigned number;
    int32_t id[HTTP2_SIDES];
    struct message by[HTTP2_SIDES];
    uint8_t shape; /* see request_head() */
    bool refused, no_memory;
    size_t words; /* of its refusal that came */
    enum told told;
    struct http2_end end;
};

enum {
    SHAPE_BODY = 1,
    SHAPE_GRPC = 2,
    SHAPE_DENIED = 4,
    SHAPE_NO_MEMORY = 8,
    SHAPE_CONNECT = 16,
    SHAPE_HEAD = 32,
    SHAPE_WEBSOCKET = 64,
    SHAPE_LENGTH = 128
};

/* A header block, and the text that it borrows. */
struct block {
    nghttp2_nv nv[FIELDS_MAX];
    size_t len;
    size_t used;
    char text[TEXT_MAX];
};

static inline uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static inline void block_add(struct block *block, const char *name, const char *value)
{
    size_t name_len = strlen(name), value_len = strlen(value);
    nghttp2_nv *nv = &block->nv[block->len++];

    CHECK(block->len <= FIELDS_MAX && block->used + name_len + value_len + 2 <= TEXT_MAX);
    nv->name = memcpy(block->text + block->used, name, name_len + 1);
    block->used += name_len + 1;
    nv->value = memcpy(block->text + block->used, value, value_len + 1);
    block->used += value_len + 1;
    nv->namelen = name_len;
    nv->valuelen = value_len;
    nv->flags = value_len % 7 == 3 ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE;
}

/* Fields of any name and value that may be in a header block. */
static inline void block_add_random(struct block *block, uint32_t seed)
{
    static const char *const names[] = {"cookie",     "accept", "x",   "set-cookie",
                                        "user-agent", "x-long", "via", "te-x"};
    unsigned len = next_random(&seed) % 6;

    for (unsigned i = 0; i < len; i++) {
        const char *name = names[next_random(&seed) % ARRAY_SIZE(names)];
        char value[600];
        size_t value_len = next_random(&seed) % 8 ? next_random(&seed) % 40
                                                  : next_random(&seed) % (sizeof(value) - 1);

        for (size_t at = 0; at < value_len; at++) {
            uint8_t c = (uint8_t)next_random(&seed);

            value[at] = (char)(c <= ' ' || c == 0x7f ? 'a' + c % 26 : c);
        }
        value[value_len] = '\0';
        block_add(block, name, value);
    }
}

static inline void request_head(const struct exchange *exchange, struct block *block)
{
    char number[16];
    const char *path = exchange->shape & SHAPE_DENIED      ? "/denied?a=b"
                       : exchange->shape & SHAPE_NO_MEMORY ? "/no-memory"
                                                           : "/shop.Cart/Add";

    snprintf(number, sizeof(number), "%u", exchange->number);
    if (exchange->shape & (SHAPE_CONNECT | SHAPE_WEBSOCKET))
        block_add(block, ":method", "CONNECT");
    else if (exchange->shape & SHAPE_HEAD)
        block_add(block, ":method", "HEAD");
    else
        block_add(block, ":method", exchange->shape & SHAPE_BODY ? "POST" : "GET");
    if (exchange->shape & SHAPE_WEBSOCKET)
        block_add(block, ":protocol", "websocket");
    if (!(exchange->shape & SHAPE_CONNECT)) {
        block_add(block, ":scheme", "https");
        block_add(block, ":path", path);
    }
    block_add(block, ":authority", "shop.example:8443");
    block_add(block, "x-n", number);
    if (exchange->shape & SHAPE_GRPC)
        block_add(block, "content-type", "application/grpc+proto");
    if (exchange->shape & SHAPE_LENGTH) {
        snprintf(number, sizeof(number), "%u", (unsigned)exchange->by[HTTP2_POD].target);
        block_add(block, "content-length", number);
    }
}

/* How the relay itself answers: see http2.h. */
#define REFUSAL_WORDS "sallyport: no\n"
static inline void refusal_head(const struct exchange *exchange, struct block *block)
{
    block_add(block, ":status", exchange->shape & SHAPE_GRPC ? "200" : "403");
    if (exchange->shape & SHAPE_GRPC) {
        block_add(block, "content-type", "application/grpc");
        block_add(block, "grpc-status", "7");
        block_add(block, "grpc-message", "sallyport: no");
    } else if (!(exchange->shape & SHAPE_HEAD)) {
        block_add(block, "content-type", "text/plain");
        block_add(block, "content-length", "14");
    }
    for (size_t i = 0; i < block->len; i++)
        block->nv[i].flags = NGHTTP2_NV_FLAG_NONE;
}

/* The head number `at` of a message. */
static inline void make_head(const struct exchange *exchange, enum http2_side by, unsigned at,
                             struct block *block)
{
    static const char *const codes[] = {"200", "404", "500", "299", "302"};
    static const char *const interim_codes[] = {"100", "103", "102"};
    uint32_t seed = exchange->by[by].heads[at].seed;

    block->len = block->used = 0;
    switch (exchange->by[by].heads[at].kind) {
    case KIND_REQUEST:
        request_head(exchange, block);
        break;
    case KIND_REFUSAL:
        refusal_head(exchange, block);
        return;
    case KIND_INTERIM:
        block_add(block, ":status", interim_codes[seed % ARRAY_SIZE(interim_codes)]);
        break;
    case KIND_ANSWER:
        block_add(block, ":status",
                  exchange->shape & (SHAPE_CONNECT | SHAPE_WEBSOCKET)
                      ? "200"
                      : codes[seed % ARRAY_SIZE(codes)]);
        if (exchange->shape & SHAPE_HEAD)
            block_add(block, "content-length", "12345");
        break;
    case KIND_TRAILERS:
        block_add(block, "grpc-status", "0");
        break;
    }
    block_add_random(block, seed);
}

static inline unsigned plan_head(struct message *message, enum kind kind, uint32_t seed)
{
    CHECK(message->heads_len < HEADS_MAX);
    message->heads[message->heads_len].kind = kind;
    message->heads[message->heads_len].seed = seed;
    return message->heads_len++;
}

static inline uint8_t pattern(const struct exchange *exchange, enum http2_side by, uint64_t at)
{
    return (uint8_t)(at * 31 + (at >> 8) * 7 + exchange->number * 13 + (by ? 101 : 0));
}

static inline void check_bytes(const struct exchange *exchange, enum http2_side by, uint64_t at,
                               struct span bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        CHECK(bytes.data[i] == pattern(exchange, by, at + i));
}

/* Nobody will get the rest, so the relay may give credit for it as it likes. */
static inline bool is_dropped(const struct exchange *exchange)
{
    return exchange->refused || exchange->no_memory || exchange->told == TOLD_CLOSED ||
           exchange->by[HTTP2_POD].reset || exchange->by[HTTP2_UPSTREAM].reset ||
           exchange->by[HTTP2_POD].closed || exchange->by[HTTP2_UPSTREAM].closed;
}
