#include "proxy/flow/query.h"

#include <errno.h>

#include "proxy/flow/steps.h"

enum { LENGTH = 2 }; /* bytes before a message that say how long it is */

void query_init(struct flow *flow)
{
    const struct facts *facts = &flow->facts;

    flow->relay.lookups = (struct lookups){
        .names = flow->worker->parts.names,
        .policies = flow->worker->parts.policies,
        .act = flow->worker->parts.act,
        .producer = flow->worker->producer,
        .process = facts->who.process,
        .pod = facts->who.pod,
        .src = facts->where.src,
        .dst = facts->where.dst,
        .cookie = facts->where.socket_cookie,
        .protocol = PROTOCOL_TCP,
        .tls = flow->pod.ssl,
        .server_name = facts->where.host[0] ? facts->where.host : NULL,
    };
}

static void set_raw(struct flow *flow, enum opaque why)
{
    flow->relay.kind = RELAY_RAW;
    if (!flow->relay.lookups.asked)
        facts_set_opaque(&flow->facts, why);
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

/* Between two messages of the server's. There is room, as was asked before. */
static bool insert(struct flow *flow, struct span message)
{
    struct pipeline *down = &flow->relay.down;

    if (flow->pod.shut)
        return true; /* nobody reads it */
    if (!down->data)
        down->data = worker_buffer_get(flow->worker, &down->size);
    if (!down->data)
        return false;
    if (down->size - down->len < LENGTH + message.len) {
        memmove(down->data, down->data + down->start, down->len - down->start);
        down->ready -= down->start;
        down->parsed -= down->start;
        down->len -= down->start;
        down->start = 0;
    }
    return replace(down, 0, message);
}

/* A question may have to be answered in the server's place: until what came before has gone to the
 * program, it waits. */
static bool may_answer(const struct pipeline *down)
{
    return !down->data || down->size - (down->len - down->start) >= LENGTH + LOOKUPS_REFUSAL_MAX;
}

/* The next message of the program's; false: the flow ends. */
static bool ask(struct flow *flow, struct span message)
{
    struct pipeline *up = &flow->relay.up;
    struct lookups_denial denial;
    int result = lookups_ask(&flow->relay.lookups, message, &denial);

    switch (result) {
    case 0:
        pass(up, LENGTH + message.len);
        return true;
    case -EBADMSG: /* which policies have been asked about */
        set_raw(flow, OPAQUE_UNKNOWN);
        return true;
    case -EACCES:
        drop(up, LENGTH + message.len);
        if (denial.answer_len && insert(flow, span_of(denial.answer, denial.answer_len)))
            return true;
        err_set(&flow->why, result, "%s", denial.reason);
        return false;
    default:
        err_sys(&flow->why, result, "a question to a name server");
        return false;
    }
}

static bool feed_up(struct flow *flow)
{
    struct relay *relay = &flow->relay;
    struct span message;

    while (relay->kind == RELAY_DNS && may_answer(&relay->down) &&
           next_message(&relay->up, &message))
        if (!ask(flow, message))
            return false;
    return true;
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
    if (relay->kind == RELAY_DNS && !relay->lookups.asked && relay->down.len) { /* it is no DNS */
        enum opaque why = relay->up.len ? OPAQUE_UNKNOWN : OPAQUE_SERVER_FIRST;

        set_raw(flow, why);
        return verdict_unseen_opaque(flow, why);
    }
    return relay->kind != RELAY_DNS || feed_down(flow);
}
