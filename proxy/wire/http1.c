/* http1: see http1.h. Two readers walk over the same bytes. http1_guard cuts them into sections
 * (start line, fields, chunk line) and says where each ends; llhttp is fed section by section and
 * must reach its own milestone (head complete, chunk size known, message complete) exactly there.
 * Where they differ, two servers could as well: refused. What the fields mean is http1_rules'. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "proxy/wire/http1_state.h"

/* ---- sections ---- */

static void message_begins(struct http1 *http1)
{
    http1_llhttp_begin(http1);
    http1_guard_begin(&http1->guard,
                      http1->kind == HTTP1_REQUEST ? HTTP1_REQUEST_LINE : HTTP1_STATUS_LINE,
                      HTTP1_HEAD_MAX);
    http1->phase = PHASE_START;
}

/* The guard found a section's end; llhttp's callbacks must have moved the phase on. */
static bool section_ends(struct http1 *http1, enum http1_phase section)
{
    if (section == PHASE_START) {
        http1->phase = PHASE_FIELDS;
        http1_guard_begin(&http1->guard, HTTP1_FIELDS, http1->guard.left);
        return true;
    }
    if (section == PHASE_FIELDS)
        http1->head.len = (uint32_t)http1->fed_at;
    return http1->phase != section || http1_refuse(http1, "an unclear end of a section");
}

static bool feed_lines(struct http1 *http1, struct span bytes, size_t *consumed)
{
    enum http1_phase section = http1->phase;
    enum http1_guard_verdict verdict = http1_guard_scan(&http1->guard, bytes, &bytes.len);
    const char *reason = http1->guard.reason;

    if (!http1_llhttp_feed(http1, bytes, consumed))
        return false;
    switch (verdict) {
    case HTTP1_GUARD_MORE:
        return http1->phase == section || http1_refuse(http1, "an unclear end of a section");
    case HTTP1_GUARD_END:
        return section_ends(http1, section);
    case HTTP1_GUARD_BAD:
        break;
    }
    if (section == PHASE_START && http1->llhttp.method == HTTP_PRI)
        reason = "an HTTP/2 preface on an HTTP/1 connection";
    return http1_refuse(http1, reason);
}

static bool feed_counted(struct http1 *http1, struct span bytes, size_t *consumed)
{
    enum http1_phase section = http1->phase;

    if (bytes.len > http1->left)
        bytes.len = (size_t)http1->left;
    if (!http1_llhttp_feed(http1, bytes, consumed))
        return false;
    http1->left -= bytes.len;
    if ((http1->phase == PHASE_ENDED) != (section == PHASE_BODY && !http1->left))
        return http1_refuse(http1, "an unclear end of a body");
    if (section == PHASE_CHUNK && !http1->left)
        http1_chunk_line_begins(http1);
    return true;
}

/* A peer that said "close" sends no more; stray line ends are what llhttp forgives too. */
static bool feed_last(struct http1 *http1, struct span bytes, size_t *consumed)
{
    for (*consumed = 0; *consumed < bytes.len; ++*consumed)
        if (bytes.data[*consumed] != '\r' && bytes.data[*consumed] != '\n') {
            message_begins(http1); /* of which the head before says nothing */
            return http1_refuse(http1, "bytes behind the last message");
        }
    return true;
}

static bool feed_section(struct http1 *http1, struct span bytes, size_t *consumed)
{
    switch (http1->phase) {
    case PHASE_IDLE:
        message_begins(http1);
        return feed_lines(http1, bytes, consumed);
    case PHASE_START:
    case PHASE_FIELDS:
    case PHASE_CHUNK_LINE:
    case PHASE_TRAILER:
        return feed_lines(http1, bytes, consumed);
    case PHASE_BODY:
    case PHASE_CHUNK:
        return feed_counted(http1, bytes, consumed);
    case PHASE_UNTIL_CLOSE:
        return http1_llhttp_feed(http1, bytes, consumed);
    case PHASE_LAST:
        return feed_last(http1, bytes, consumed);
    case PHASE_ENDED:
    case PHASE_SETTLING:
    case PHASE_RAW:
    case PHASE_BAD:
        break;
    }
    *consumed = 0;
    return false;
}

/* ---- the interface ---- */

static bool is_interim(const struct http1 *http1)
{
    return http1->head.code / 100 == 1 && http1->head.code != 101;
}

/* Tells the end of a message and stands ready for the next. */
static enum http1_status message_ends(struct http1 *http1)
{
    if (http1_turns_raw(http1)) {
        http1->phase = PHASE_RAW;
        return HTTP1_RAW;
    }
    if (is_interim(http1)) { /* the final answer to the same request follows */
        http1->phase = PHASE_IDLE;
        return HTTP1_DONE;
    }
    http1->head_request = http1->connect = false;
    if (http1->head.upgrade)
        http1->phase = PHASE_SETTLING;
    else
        http1->phase = http1->head.keep_alive ? PHASE_IDLE : PHASE_LAST;
    return HTTP1_DONE;
}

enum http1_status http1_feed(struct http1 *http1, struct span bytes, size_t *consumed)
{
    *consumed = 0;
    if (http1->phase == PHASE_ENDED)
        return message_ends(http1);
    if (http1->phase == PHASE_RAW)
        return HTTP1_RAW;
    while (*consumed < bytes.len && http1->phase != PHASE_SETTLING) {
        bool in_head = http1->phase <= PHASE_FIELDS;
        size_t fed = 0;
        bool fine =
            feed_section(http1, span_of(bytes.data + *consumed, bytes.len - *consumed), &fed);

        *consumed += fed;
        if (!fine)
            return HTTP1_BAD;
        if (in_head && http1->phase > PHASE_FIELDS)
            return HTTP1_HEAD;
        if (http1->phase == PHASE_ENDED)
            return message_ends(http1);
    }
    return http1->phase == PHASE_BAD ? HTTP1_BAD : HTTP1_MORE;
}

enum http1_status http1_eof(struct http1 *http1)
{
    switch (http1->phase) {
    case PHASE_START: /* nothing but the blank lines before a request? */
        if (http1->head.method_len || http1->guard.column || http1->kind == HTTP1_RESPONSE)
            break;
        return HTTP1_DONE;
    case PHASE_UNTIL_CLOSE:
        http1->phase = PHASE_LAST;
        return HTTP1_DONE;
    case PHASE_ENDED:
        message_ends(http1);
        return HTTP1_DONE;
    case PHASE_IDLE:
    case PHASE_SETTLING:
    case PHASE_LAST:
    case PHASE_RAW:
        return HTTP1_DONE;
    case PHASE_BAD:
        return HTTP1_BAD;
    case PHASE_FIELDS:
    case PHASE_BODY:
    case PHASE_CHUNK_LINE:
    case PHASE_CHUNK:
    case PHASE_TRAILER:
        break;
    }
    http1_refuse(http1, "a message cut short");
    return HTTP1_BAD;
}

struct http1 *http1_new(enum http1_kind kind)
{
    struct http1 *http1 = calloc(1, sizeof(*http1));

    if (http1)
        http1->kind = kind;
    return http1;
}

void http1_free(struct http1 **http1)
{
    free(TAKE(*http1));
}

void http1_answers(struct http1 *http1, bool head_request, bool connect)
{
    http1->head_request = head_request;
    http1->connect = connect;
}

void http1_on_body(struct http1 *http1,
                   void (*on_body)(void *arg, enum http1_part part, struct span bytes), void *arg)
{
    http1->on_body = on_body;
    http1->on_body_arg = arg;
}

void http1_upgraded(struct http1 *http1, bool taken)
{
    if (http1->phase == PHASE_SETTLING)
        http1->phase = taken ? PHASE_RAW : http1->head.keep_alive ? PHASE_IDLE : PHASE_LAST;
}

bool http1_idle(const struct http1 *http1)
{
    return http1->phase == PHASE_IDLE || http1->phase == PHASE_LAST ||
           http1->phase == PHASE_SETTLING;
}

const struct http1_head *http1_head(const struct http1 *http1)
{
    return &http1->head;
}

uint64_t http1_body_bytes(const struct http1 *http1)
{
    return http1->body_bytes;
}

const char *http1_reason(const struct http1 *http1)
{
    return http1->reason ? http1->reason : "";
}
