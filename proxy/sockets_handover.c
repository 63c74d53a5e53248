/* What an agent knows of open sockets, for the agent that comes after it: the kernel tells of their
 * end only once, and it tells the new one. */
#include "proxy/sockets_handover.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <string.h>

#include "proxy/flow/refusal.h"
#include "proxy/handover.h"
#include "proxy/identity/identity.h"
#include "proxy/pods/pods.h"
#include "proxy/sockets_own.h"

/* ---- sockets ---- */

static json_t *names_out(const struct names_found *names)
{
    json_t *list = json_array();

    for (size_t i = 0; i < names->len; i++)
        json_array_append_new(list, json_string(names->text[i]));
    return list;
}

static void names_in(const json_t *list, struct names_found *out)
{
    size_t i;
    json_t *name;

    json_array_foreach(list, i, name)
    {
        const char *text = json_string_value(name);

        if (out->len == NAMES_TOLD_MAX || !text)
            return;
        out->text[out->len] = strdup(text);
        if (!out->text[out->len]) {
            out->incomplete = true;
            return;
        }
        out->len++;
    }
}

/* NULL without memory. */
static json_t *row_of(const struct tracked *entry)
{
    const struct process *process = entry->process;

    return json_pack(
        "{s:I, s:o, s:o, s:i, s:I, s:I, s:I, s:o, s:i, s:i, s:i, s:b, s:b, s:b, s:b, "
        "s:I, s:I, s:I, "
        "s:I, s:i, s:i, s:s*, s:s*}",
        "cookie", (json_int_t)entry->cookie, "src", handover_address(&entry->src), "dst",
        handover_address(&entry->dst), "protocol", (int)entry->protocol, "pid",
        (json_int_t)(process ? process->pid : 0), "start_ns",
        (json_int_t)(process ? process->start_ns : 0), "pod",
        (json_int_t)(entry->pod ? entry->pod->cgroup_id : 0), "names", names_out(&entry->names),
        "route", (int)entry->route, "visibility", (int)entry->visibility, "opaque",
        (int)entry->opaque, "unheard", (int)entry->unheard, "has_flow", (int)entry->has_flow,
        "flow_done", (int)entry->flow_done, "released", (int)entry->released, "began_ns",
        (json_int_t)entry->began_ns, "closed_ns", (json_int_t)entry->closed_ns, "tx",
        (json_int_t)entry->tx, "rx", (json_int_t)entry->rx, "failure", (int)entry->failure, "tls",
        (int)entry->tls, "error", entry->error, "refused", entry->refused);
}

struct visit {
    void (*visit)(void *arg, json_t *row);
    void *arg;
};

static void visit_one(const void *node, VISIT when, void *closure)
{
    const struct tracked *entry = *(struct tracked *const *)node;
    const struct visit *visit = closure;

    if (when == postorder || when == leaf)
        visit->visit(visit->arg, row_of(entry));
}

void sockets_each(const struct sockets *sockets, void (*visit)(void *arg, json_t *row), void *arg)
{
    struct visit closure = {visit, arg};

    twalk_r(sockets->tree, visit_one, &closure);
}

bool sockets_adopt(struct sockets *sockets, const json_t *row)
{
    struct tracked like = {
        .cookie = handover_number(row, "cookie"),
        .protocol = handover_choice(row, "protocol", PROTOCOL_MAX),
        .pod = pods_find(sockets->parts.pods, handover_number(row, "pod")),
        .route = handover_choice(row, "route", ROUTE_MAX),
        .visibility = handover_choice(row, "visibility", VISIBILITY_MAX),
        .opaque = handover_choice(row, "opaque", OPAQUE_MAX),
        .tls = (uint16_t)handover_number(row, "tls"),
        .unheard = handover_flag(row, "unheard"),
        .has_flow = handover_flag(row, "has_flow"),
        .flow_done = handover_flag(row, "flow_done"),
        .elsewhere = handover_choice(row, "route", ROUTE_MAX) != ROUTE_KERNEL,
        .began_ns = handover_number(row, "began_ns"),
        .closed_ns = handover_number(row, "closed_ns"),
        .tx = handover_number(row, "tx"),
        .rx = handover_number(row, "rx"),
        .failure = (uint16_t)handover_number(row, "failure"),
        .refused = refusal_find(json_string_value(json_object_get(row, "refused"))),
    };
    const char *error = json_string_value(json_object_get(row, "error"));
    struct tracked *entry;

    if (!like.cookie || !handover_read_address(json_object_get(row, "src"), &like.src) ||
        !handover_read_address(json_object_get(row, "dst"), &like.dst))
        return false;
    if (sockets_find(sockets, like.cookie, &like.dst, like.src.port))
        return true; /* the kernel was faster */
    names_in(json_object_get(row, "names"), &like.names);
    if (error) {
        like.error = strdup(error);
        like.incomplete = !like.error;
    }
    entry = sockets_track(
        sockets, &like,
        identity_flow_begin(sockets->parts.identity, (uint32_t)handover_number(row, "pid"),
                            handover_number(row, "start_ns"), handover_number(row, "pod")));
    if (!entry) {
        names_found_fini(&like.names);
        free(like.error);
        return false;
    }
    if (handover_flag(row, "released"))
        sockets_release(sockets, entry);
    return true;
}

/* ---- flows that end ---- */

json_t *sockets_flow_row(const struct sockets_flow *flow)
{
    return json_pack("{s:I, s:o, s:i, s:i, s:i, s:i, s:I, s:I, s:b, s:s, s:s*}", "cookie",
                     (json_int_t)flow->cookie, "dst", handover_address(&flow->dst), "src_port",
                     (int)flow->src_port, "route", (int)flow->route, "visibility",
                     (int)flow->visibility, "opaque", (int)flow->opaque, "tx", (json_int_t)flow->tx,
                     "rx", (json_int_t)flow->rx, "goes_on", (int)flow->goes_on, "error",
                     flow->error, "refused", flow->refused);
}

bool sockets_flow_read(const json_t *row, struct sockets_flow *out)
{
    struct sockets_flow flow = {
        .cookie = handover_number(row, "cookie"),
        .src_port = (uint16_t)handover_number(row, "src_port"),
        .route = handover_choice(row, "route", ROUTE_MAX),
        .visibility = handover_choice(row, "visibility", VISIBILITY_MAX),
        .opaque = handover_choice(row, "opaque", OPAQUE_MAX),
        .tx = handover_number(row, "tx"),
        .rx = handover_number(row, "rx"),
        .goes_on = handover_flag(row, "goes_on"),
        .refused = refusal_find(json_string_value(json_object_get(row, "refused"))),
    };
    const char *error = json_string_value(json_object_get(row, "error"));

    if (!flow.cookie || !handover_read_address(json_object_get(row, "dst"), &flow.dst))
        return false;
    snprintf(flow.error, sizeof(flow.error), "%s", error ? error : "");
    *out = flow;
    return true;
}
