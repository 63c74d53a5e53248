/* http1_state: one direction's reader, as its two halves share it. Private to http1.c, which walks
 * over the sections of a message, and http1_llhttp.c, which shows them to llhttp and hears what it
 * tells. */
#pragma once

#include <llhttp.h>

#include "proxy/wire/http1.h"
#include "proxy/wire/http1_guard.h"
#include "proxy/wire/http1_rules.h"

enum http1_phase {
    PHASE_IDLE,  /* between messages */
    PHASE_START, /* in the start line */
    PHASE_FIELDS,
    PHASE_BODY, /* `left` bytes of it */
    PHASE_CHUNK_LINE,
    PHASE_CHUNK, /* `left` bytes, the closing CRLF among them */
    PHASE_TRAILER,
    PHASE_UNTIL_CLOSE,
    PHASE_ENDED,    /* complete, but DONE not told yet */
    PHASE_SETTLING, /* a request asked to upgrade: the answer decides */
    PHASE_LAST,     /* the message before said close: nothing may come */
    PHASE_RAW,
    PHASE_BAD,
};

struct http1 {
    enum http1_kind kind;
    enum http1_phase phase;
    const char *reason;
    bool head_request, connect; /* of the request a response answers */
    llhttp_t llhttp;
    struct http1_guard guard;
    struct http1_rules rules;
    const uint8_t *fed; /* what llhttp is being fed, and where in the head that is */
    size_t fed_at;
    uint64_t left, body_bytes;
    void (*on_body)(void *arg, enum http1_part part, struct span bytes); /* NULL: nobody looks */
    void *on_body_arg;
    struct http1_field field; /* being read */
    bool in_name, in_value, in_extension;
    unsigned trailer_fields;
    struct http1_head head; /* its fields last: not cleared for each message */
};

/* Begins a message: llhttp, rules and head are as new. */
void http1_llhttp_begin(struct http1 *http1);

/* Shows llhttp bytes that lie within one section; its callbacks move the phase on. False: refused,
 * phase and reason say so, and *consumed stands on the offending byte. */
bool http1_llhttp_feed(struct http1 *http1, struct span bytes, size_t *consumed);

/* What follows a response's head is not HTTP: a tunnel, or another protocol. */
bool http1_turns_raw(const struct http1 *http1);

void http1_chunk_line_begins(struct http1 *http1);

/* Refuses the message. Returns false. */
bool http1_refuse(struct http1 *http1, const char *reason);
