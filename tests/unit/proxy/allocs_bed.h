/* allocs_bed: what stands around the control thread's parts, in the place of the kernel, the keeper
 * and the bus: records come from the test, and what is told is gathered as lines. */
#pragma once

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/doors/origin.h"
#include "proxy/identity/identity.h"
#include "proxy/keeper/keeper.h"
#include "proxy/pods/pods.h"
#include "proxy/ringbuf.h"

enum { POD = 7, LINES = 32, LINE = 256 };
enum { ASKS = 1, CONNECTS, IS_REFUSED, IS_THE_CHILDS }; /* sockets, by cookie */

static struct pod pod = {
    .refs = 1, .cgroup_id = POD, .tls_read = true, .space = (char *)"", .name = (char *)""};
static struct keeper_net {
    struct listeners listeners;
} net;
static struct addr server_addr;
static uint64_t start_ns; /* of this process: it is in /proc, too */

/* What one life told. */
static struct told {
    char lines[LINES][LINE];
    size_t len;
    unsigned lost;
} told;
static uint64_t kernel_lost, kernel_lost_told;

/* ---- in the place of the kernel, and of what needs root
 * ------------------------------------------ */

static int (*on_record)(void *arg, void *data, size_t len);
static void *on_record_arg;
static struct {
    const void *data;
    size_t len;
} ring; /* the record that waits */

int ringbuf_new(struct ringbuf **out, int map_fd, int (*handle)(void *arg, void *data, size_t len),
                void *arg, struct err *err)
{
    (void)map_fd, (void)err;
    on_record = handle;
    on_record_arg = arg;
    *out = (struct ringbuf *)&ring;
    return 0;
}

enum ringbuf_turn ringbuf_read(struct ringbuf *of)
{
    const void *data = ring.data;

    (void)of;
    ring.data = NULL;
    return data && on_record(on_record_arg, (void *)data, ring.len) < 0 ? RINGBUF_MORE
                                                                        : RINGBUF_ALL;
}

void ringbuf_free(struct ringbuf **of)
{
    *of = NULL;
}

int ringbuf_fd(const struct ringbuf *of)
{
    (void)of;
    return -1;
}

int bpf_map__fd(const struct bpf_map *map)
{
    (void)map;
    return -1;
}

int bpf_map_lookup_elem(int fd, const void *key, void *value)
{
    (void)fd, (void)key;
    *(uint64_t *)value = kernel_lost;
    return 0;
}

struct pod *pods_find(struct pods *pods, uint64_t cgroup_id)
{
    (void)pods;
    return cgroup_id == POD ? &pod : NULL;
}

struct sallyport_bpf *keeper_bpf(struct keeper *keeper)
{
    (void)keeper;
    return NULL;
}

int keeper_socket(struct keeper *keeper, uint64_t netns_cookie, int family, int type,
                  struct err *err)
{
    (void)keeper, (void)netns_cookie, (void)err;
    return listener_socket(family, type);
}

uint64_t keeper_net_cookie(const struct keeper_net *at)
{
    (void)at;
    return 1;
}

const struct listeners *keeper_net_listeners(const struct keeper_net *at)
{
    return &at->listeners;
}

int origin_of_asker(struct keeper *at, const struct abi_tuple *key, struct origin *out,
                    struct err *err)
{
    (void)at, (void)err;
    *out = (struct origin){.dst = server_addr,
                           .src = {.port = key->port},
                           .cookie = ASKS,
                           .pod = POD,
                           .netns_cookie = 1,
                           .pid = (uint32_t)getpid(),
                           .start_ns = start_ns};
    memcpy(out->src.ip, key->ip, sizeof(key->ip));
    return 0;
}

void origin_forget_asker(struct sallyport_bpf *at, const struct abi_tuple *key)
{
    (void)at, (void)key;
}

static inline void append(char *line, const char *text)
{
    size_t len = strlen(line);

    snprintf(line + len, LINE - len, " %s", text ? text : "-");
}

/* In the place of the bus, and with its view of what is lost. */
void bus_emit(struct bus_producer *producer, struct flow_event **emitted)
{
    struct flow_event *event = *emitted;
    char *line = told.lines[told.len];

    (void)producer;
    if (!event || event->incomplete) {
        told.lost++;
        flow_event_free(emitted);
        return;
    }
    assert_true(told.len < LINES);
    if (event->kind == FLOW_EVENT_LOST) {
        kernel_lost_told += event->lost.count;
        flow_event_free(emitted);
        return;
    }
    snprintf(line, LINE, "%s", flow_event_name(event->kind));
    if (event->kind == FLOW_EVENT_EXEC) {
        append(line, event->process->binary);
        append(line, event->process->arguments);
    }
    for (size_t i = 0; i < event->names_len; i++)
        append(line, event->names[i]);
    if (event->kind == FLOW_EVENT_DNS) {
        append(line, event->dns.name);
        append(line, event->dns.rcode);
        for (size_t i = 0; i < event->dns.ips_len; i++)
            append(line, event->dns.ips[i]);
    }
    if (event->error)
        append(line, event->error);
    told.len++;
    flow_event_free(emitted);
}
