#include "proxy/kernel/ring_handover.h"

#include <string.h>

#include "base/clock.h"
#include "proxy/handover.h"
#include "proxy/identity/identity.h"
#include "proxy/kernel/ring_own.h"
#include "proxy/limits.h"
#include "proxy/pods/pods.h"

/* For all that a worker has before it. */
enum { WORKER_MS = 3000 };

/* ---- what is told ---- */

static json_t *side_out(const struct stream_state_side *side)
{
    return json_pack("{s:b, s:b, s:b, s:I, s:o}", "ktls", (int)side->ktls, "heard",
                     (int)side->heard, "waits", (int)side->waits, "at", (json_int_t)side->at,
                     "kept", handover_bytes(span_of(side->kept, side->kept_len)));
}

static json_t *state_out(const struct stream_state *state)
{
    return json_pack("{s:i, s:i, s:i, s:I, s:I, s:i, s:i, s:b, s:i, s:I, s:o, s:o}", "kind",
                     (int)state->kind, "visibility", (int)state->visibility, "opaque",
                     (int)state->opaque, "tx", (json_int_t)state->tx, "rx", (json_int_t)state->rx,
                     "requests", (int)state->requests, "unowed", (int)state->unowed, "unread",
                     (int)state->unread, "awaited", (int)state->awaited, "heads",
                     (json_int_t)state->heads, "up", side_out(&state->up), "down",
                     side_out(&state->down));
}

static json_t *keys_out(const struct entry *entry)
{
    json_t *list = json_array();

    for (size_t i = 0; i < ABI_DIRECTIONS; i++) {
        const struct abi_ktls *keys = entry->ktls[i];

        if (keys)
            json_array_append_new(list, json_pack("{s:i, s:I, s:i, s:i, s:b, s:b}", "direction",
                                                  (int)i, "time_ns", (json_int_t)keys->time_ns,
                                                  "version", (int)keys->version, "cipher",
                                                  (int)keys->cipher, "unread", (int)keys->unread,
                                                  "passed", (int)!keys->kind));
    }
    return list;
}

static json_t *row_of(const struct entry *entry, bool settled)
{
    const struct origin *origin = &entry->origin;
    json_t *row =
        json_pack("{s:I, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:b, s:o}",
                  "cookie", (json_int_t)origin->cookie, "src", handover_address(&origin->src),
                  "dst", handover_address(&origin->dst), "pod", (json_int_t)origin->pod, "cgroup",
                  (json_int_t)origin->cgroup, "netns", (json_int_t)origin->netns_cookie, "pid",
                  (json_int_t)origin->pid, "start_ns", (json_int_t)origin->start_ns, "time_ns",
                  (json_int_t)origin->time_ns, "began_ns", (json_int_t)entry->began_ns, "over_ns",
                  (json_int_t)(entry->over ? entry->over_ns : 0), "ended", (int)entry->ended,
                  "accepted", (int)entry->accepted, "keys", keys_out(entry));

    if (row && settled && entry->state && entry->state->known &&
        json_object_set_new(row, "state", state_out(entry->state)) < 0) {
        json_decref(row);
        return NULL;
    }
    return row;
}

/* Its worker writes down what it knows of it. */
static void end_here(struct ring *ring, struct entry *entry)
{
    struct stream_closing closing = {
        .time_ns = clock_read_ns(CLOCK_BOOTTIME),
        .goes_on = true,
        .untold = entry->untold,
    };

    entry->state = calloc(1, sizeof(*entry->state));
    closing.state = entry->state;
    memcpy(closing.lost, entry->lost, sizeof(closing.lost));
    lane_close(entry->lane, entry->seat, &closing);
    entry->seat = NULL;
    entry->next_over = ring->handed;
    ring->handed = entry;
}

static bool settle(struct ring *ring)
{
    uint64_t until_ns = clock_ns() + WORKER_MS * UINT64_C(1000000);
    bool settled = true;

    for (unsigned i = 0; i < ring->parts.workers_len; i++)
        settled = lane_settle(ring->lanes[i], until_ns) && settled;
    return settled;
}

void ring_hand_over(struct ring *ring)
{
    if (ring->stopped)
        return;
    for (size_t i = 0; i < ring->rows_len; i++)
        while (ring->rows[i])
            end_here(ring, ring_take(ring, &ring->rows[i]));
    ring->settled = settle(ring);
    ring->stopped = true;
}

void ring_each_handed(const struct ring *ring, void (*visit)(void *arg, json_t *row), void *arg)
{
    for (const struct entry *entry = ring->handed; entry; entry = entry->next_over)
        visit(arg, row_of(entry, ring->settled));
}

/* ---- what is learnt ---- */

static bool side_in(const json_t *from, struct stream_state_side *side)
{
    *side = (struct stream_state_side){
        .ktls = handover_flag(from, "ktls"),
        .heard = handover_flag(from, "heard"),
        .waits = handover_flag(from, "waits"),
        .at = handover_number(from, "at"),
    };
    return handover_read_bytes(json_object_get(from, "kept"), &side->kept, &side->kept_len);
}

/* NULL: it does not say, or there is no memory: then it is read from the next head on. */
static struct stream_state *state_in(const json_t *from)
{
    struct stream_state *state = from ? calloc(1, sizeof(*state)) : NULL;

    if (!state)
        return NULL;
    *state = (struct stream_state){
        .known = true,
        .kind = (unsigned)handover_number(from, "kind"),
        .visibility = handover_choice(from, "visibility", VISIBILITY_MAX),
        .opaque = handover_choice(from, "opaque", OPAQUE_MAX),
        .tx = handover_number(from, "tx"),
        .rx = handover_number(from, "rx"),
        .requests = (uint32_t)handover_number(from, "requests"),
        .unowed = (unsigned)handover_number(from, "unowed"),
        .unread = handover_flag(from, "unread"),
        .awaited = (unsigned)handover_number(from, "awaited"),
        .heads = handover_number(from, "heads"),
    };
    if (!side_in(json_object_get(from, "up"), &state->up) ||
        !side_in(json_object_get(from, "down"), &state->down))
        stream_state_free(&state);
    return state;
}

static void keys_in(const json_t *list, struct entry *entry)
{
    const json_t *from;
    size_t i;

    json_array_foreach(list, i, from)
    {
        unsigned direction = (unsigned)handover_number(from, "direction");
        struct abi_ktls *keys;

        if (direction >= ABI_DIRECTIONS || entry->ktls[direction] ||
            !(keys = calloc(1, sizeof(*keys))))
            continue;
        *keys = (struct abi_ktls){
            .kind = handover_flag(from, "passed") ? 0 : ABI_KTLS,
            .cookie = entry->origin.cookie,
            .pod = entry->origin.pod,
            .pid = entry->origin.pid,
            .time_ns = handover_number(from, "time_ns"),
            .version = (uint16_t)handover_number(from, "version"),
            .cipher = (uint16_t)handover_number(from, "cipher"),
            .direction = (uint8_t)direction,
            .unread = handover_flag(from, "unread"),
        };
        entry->ktls[direction] = keys;
    }
}

static bool origin_in(const json_t *row, struct origin *origin)
{
    *origin = (struct origin){
        .cookie = handover_number(row, "cookie"),
        .pod = handover_number(row, "pod"),
        .cgroup = handover_number(row, "cgroup"),
        .netns_cookie = handover_number(row, "netns"),
        .pid = (uint32_t)handover_number(row, "pid"),
        .start_ns = handover_number(row, "start_ns"),
        .time_ns = handover_number(row, "time_ns"),
    };
    return origin->cookie && handover_read_address(json_object_get(row, "src"), &origin->src) &&
           handover_read_address(json_object_get(row, "dst"), &origin->dst);
}

bool ring_take_over(struct ring *ring, const json_t *row)
{
    struct lane_opening opening = {
        .accepted = handover_flag(row, "accepted"),
        .midway = true,
        .since_ns = 0, /* what was read before is not read again */
    };
    uint64_t over_ns = handover_number(row, "over_ns");
    struct entry *entry, *before;
    enum limit lacks;

    if (ring->stopped || !origin_in(row, &opening.origin))
        return false;
    opening.pod = pods_find(ring->parts.pods, opening.origin.pod);
    if (!opening.pod)
        return false;
    lacks = limits_admit_stream(ring->parts.limits, opening.pod);
    if (lacks) {
        if (!opening.accepted)
            ring_refuse(ring, &opening.origin, lacks);
        return false;
    }
    before = ring_find(ring, opening.origin.cookie, UINT64_MAX);
    if (opening.origin.pid)
        opening.process = identity_flow_begin(ring->parts.identity, opening.origin.pid,
                                              opening.origin.start_ns, opening.origin.pod);
    opening.state = state_in(json_object_get(row, "state"));
    entry = ring_open(ring, &opening, handover_number(row, "began_ns"), before);
    if (!entry)
        return false;
    keys_in(json_object_get(row, "keys"), entry);
    entry->ended = handover_choice(row, "ended", STREAM_ENDED_MAX);
    if (over_ns)
        ring_note_over(ring, entry, over_ns);
    return true;
}
