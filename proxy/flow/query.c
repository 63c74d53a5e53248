#include "proxy/flow/query.h"

#include <errno.h>

#include "proxy/flow/steps.h"

enum { LENGTH = 2 }; /* bytes before a message that say how long it is */

void query_init(struct flow *flow)
{
    const struct facts *facts = &flow->facts;

    flow->relay.lookups = (struct lookups){
        .names = flow->worker->parts.names,
        .producer = flow->worker->producer,
        .process = facts->who.process,
        .pod = facts->who.pod,
        .src = facts->where.src,
        .dst = facts->where.dst,
        .cookie = facts->where.socket_cookie,
        .protocol = PROTOCOL_TCP,
    };
}

/* False: it is not to pass unread. */
static bool to_raw(struct flow *flow)
{
    enum opaque why = flow->relay.up.len ? OPAQUE_UNKNOWN : OPAQUE_SERVER_FIRST;

    flow->relay.kind = RELAY_RAW;
    if (!flow->relay.lookups.asked)
        facts_set_opaque(&flow->facts, why);
    return verdict_unseen_opaque(flow, why);
}

static bool next_message(const struct pipeline *line, struct span *message)
{
    struct span rest = span_of(line->data + line->parsed, line->len - line->parsed);

    return span_take_vector(&rest, LENGTH, message);
}

static void pass(struct pipeline *line, size_t len)
{
    line->parsed += len;
    line->ready = line->parsed;
}

static bool feed_up(struct flow *flow)
{
    struct pipeline *up = &flow->relay.up;
    struct span message;
    int result;

    while (next_message(up, &message)) {
        result = lookups_ask(&flow->relay.lookups, message);
        if (result == -EBADMSG)
            return to_raw(flow);
        if (result < 0) {
            err_sys(&flow->why, result, "a question to a name server");
            return false;
        }
        pass(up, LENGTH + message.len);
    }
    return true;
}

/* Puts another message in the place of the next one; what follows moves along. */
static bool replace(struct pipeline *line, size_t old_len, struct span message)
{
    uint8_t *at = line->data + line->parsed;
    size_t new_len = LENGTH + message.len;

    if (line->len - old_len + new_len > line->size)
        return false;
    memmove(at + new_len, at + old_len, line->len - line->parsed - old_len);
    at[0] = (uint8_t)(message.len >> 8);
    at[1] = (uint8_t)message.len;
    memcpy(at + LENGTH, message.data, message.len);
    line->len = line->len - old_len + new_len;
    pass(line, new_len);
    return true;
}

static void drop(struct pipeline *line, size_t len)
{
    uint8_t *at = line->data + line->parsed;

    line->len -= len;
    memmove(at, at + len, line->len - line->parsed);
}

static bool feed_down(struct flow *flow)
{
    struct pipeline *down = &flow->relay.down;
    uint8_t *changed = flow->worker->scratch;
    struct span message;
    size_t changed_len;

    while (next_message(down, &message)) {
        size_t len = LENGTH + message.len;

        switch (lookups_answer(&flow->relay.lookups, message, changed, &changed_len)) {
        case LOOKUPS_RELAY:
            pass(down, len);
            break;
        case LOOKUPS_CHANGED:
            if (!replace(down, len, span_of(changed, changed_len)))
                return false;
            break;
        case LOOKUPS_DROP:
            drop(down, len);
            break;
        }
    }
    return true;
}

bool query_feed(struct flow *flow)
{
    struct relay *relay = &flow->relay;

    if (!feed_up(flow))
        return false;
    if (!relay->lookups.asked && relay->down.len) /* the server speaks first: no DNS */
        return to_raw(flow);
    return relay->kind != RELAY_DNS || feed_down(flow);
}
