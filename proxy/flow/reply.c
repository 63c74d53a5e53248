#include "proxy/flow/reply.h"

#include <stdio.h>
#include <string.h>

#include "proxy/flow/steps.h"

enum { DRAINED_MAX = 64 << 10 };
enum { ANSWER_MAX = 640, ANSWER_WORDS = 400 }; /* the status and the fields need 150 at most */

void reply_end(struct relay *relay)
{
    relay->ending = true;
    relay->down.len = relay->down.parsed = relay->down.ready;
}

void reply_cut(struct relay *relay)
{
    relay->stuck = true;
    relay->down.over = relay->down.ended = true;
    relay->down.ended_well = false;
    relay->down.len = relay->down.parsed = relay->down.ready;
}

bool reply_fits(const struct pipeline *down)
{
    return !down->data || down->size - (down->ready - down->start) >= ANSWER_MAX;
}

static const char *phrase(uint16_t code)
{
    return code == 400   ? "Bad Request"
           : code == 421 ? "Misdirected Request"
           : code == 502 ? "Bad Gateway"
                         : "Forbidden";
}

void reply_answer(struct flow *flow, const struct exchange_decision *decision, bool last)
{
    struct pipeline *down = &flow->relay.down;
    char text[ANSWER_MAX], words[ANSWER_WORDS];
    int said = snprintf(words, sizeof(words), "sallyport: %.380s\n", decision->reason);
    int len = snprintf(text, sizeof(text),
                       "HTTP/1.1 %u %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
                       "%s\r\n%s",
                       decision->code, phrase(decision->code), said,
                       last ? "Connection: close\r\n" : "", flow->relay.bodiless ? "" : words);

    if (!down->data)
        down->data = worker_buffer_get(flow->worker, &down->size);
    if (!down->data || !reply_fits(down)) {
        reply_cut(&flow->relay);
        return;
    }
    if (last)
        reply_end(&flow->relay);
    if (down->start) { /* what went on makes room */
        memmove(down->data, down->data + down->start, down->len - down->start);
        down->len = down->parsed = down->ready = down->len - down->start;
        down->start = 0;
    }
    memcpy(down->data + down->len, text, (size_t)len);
    down->len = down->parsed = down->ready = down->len + (size_t)len;
}

void reply_refuse(struct flow *flow, const struct facts_request *request,
                  struct exchange_decision decision)
{
    flow->relay.refused = true;
    flow->relay.lives = flow->relay.draining = false;
    flow->relay.bodiless = span_equal(request->method, BYTES("HEAD"));
    flow->relay.denied = decision;
    exchange_begin(flow, &flow->relay.refusal, request);
}

static void forget_parsed(struct pipeline *up)
{
    if (up->parsed < up->len)
        memmove(up->data + up->ready, up->data + up->parsed, up->len - up->parsed);
    up->len -= up->parsed - up->ready;
    up->parsed = up->ready;
}

void reply_drain(struct relay *relay)
{
    struct pipeline *up = &relay->up;
    enum http1_status status;
    size_t consumed;

    status =
        http1_feed(relay->request, span_of(up->data + up->parsed, up->len - up->parsed), &consumed);
    up->parsed += consumed;
    forget_parsed(up);
    if (status == HTTP1_MORE && !(up->ended && up->parsed == up->len))
        return;
    relay->draining = false;
    relay->lives = status == HTTP1_DONE;
}

void reply_spare(struct relay *relay, const struct http1_head *head,
                 const struct facts_request *request)
{
    struct span length = facts_find_field(request->fields, request->fields_len, "content-length");
    size_t bytes = 0;

    for (size_t i = 0; i < length.len && bytes <= DRAINED_MAX; i++)
        bytes = bytes * 10 + (size_t)(length.data[i] - '0'); /* http1.c has seen to it */
    relay->lives = head->keep_alive && head->minor && !head->upgrade &&
                   (!head->body || length.data) && bytes <= DRAINED_MAX &&
                   !facts_find_field(request->fields, request->fields_len, "expect").data;
    relay->draining = relay->lives;
    if (relay->draining)
        reply_drain(relay);
}

bool reply_is_due(const struct relay *relay)
{
    return relay->refused && !relay->draining && !relay->parting && !relay->pending_len &&
           relay->down.in_head && http1_idle(relay->response);
}

void reply_refused(struct flow *flow)
{
    struct relay *relay = &flow->relay;

    exchange_refused(flow, &relay->refusal, &relay->denied);
    relay->lives = relay->lives && !relay->stuck && !relay->down.ended &&
                   relay->down.parsed == relay->down.len;
    reply_answer(flow, &relay->denied, !relay->lives);
    relay->refused = !relay->lives;
}
