/* sample: the people of these tests: curl in no pod, in a pod, and with secrets, and a hostile
 * program. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "events/sink.h"

/* 2026-11-23T18:00:00.000000001Z */
#define SAMPLE_TIME 1795456800000000001u

#define V4(a, b, c, d, number)                                                                     \
    {                                                                                              \
        {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d}, number                             \
    }

#define SRC V4(192, 0, 2, 2, 60066)
#define DST V4(203, 0, 113, 10, 443)

#define RESOLVER V4(198, 51, 100, 53, 53)

static struct pod host_pod = {.refs = 1, .space = "", .name = ""};
static struct pod cart_pod = {.refs = 1, .space = "shop", .name = "cart-7d4b"};

static struct process shell = {
    .refs = 1,
    .exec_id = "bjE6MTox",
    .parent_exec_id = "",
    .binary = "/bin/bash",
    .arguments = "",
    .cwd = "/root",
    .pid = 1,
    .auid = 4294967295,
};

static struct process curl = {
    .refs = 1,
    .parent = &shell,
    .pod = &host_pod,
    .exec_id = "bjE6Mjoy",
    .parent_exec_id = "bjE6MTox",
    .binary = "/usr/bin/curl",
    .arguments = "https://ebpf.io/tetragon",
    .cwd = "/root",
    .pid = 4711,
    .nspid = 4711,
    .uid = 1000,
    .euid = 0,
    .gid = 100,
    .auid = 1000,
    .start_time_ns = SAMPLE_TIME,
    .cap_permitted = 1u << 21 | 1ull << 40 | 1ull << 41,
    .ns = {.uts = 1, .ipc = 2, .mnt = 3, .pid = 4, .net = 5, .cgroup = 6, .user = 7, .time = 8},
};

static struct process cart = {
    .refs = 1,
    .pod = &cart_pod,
    .exec_id = "bjE6Mzoz",
    .parent_exec_id = "",
    .binary = "/usr/bin/curl",
    .arguments = "-s https://ebpf.io/tetragon",
    .cwd = "/",
    .arguments_cut = true,
};

static struct process villain = {
    .refs = 1,
    .pod = &host_pod,
    .exec_id = "bjE6NDo0",
    .parent_exec_id = "",
    .binary = "/tmp/\x1b[2J\x9b\xc2\x9b\xe2\x80\xae"
              "evil",
    .arguments = "a\nb \"c\"",
    .cwd = "/\xff",
};

static struct process login = {
    .refs = 1,
    .pod = &host_pod,
    .exec_id = "bjE6NTo1",
    .parent_exec_id = "",
    .binary = "/usr/bin/curl",
    .arguments = "--oauth2-bearer-token=abc https://me:pw@a.example/",
    .cwd = "/",
};

/* What the tests do with a sink: one event in, its line out. The caller frees it. */
static inline char *sample_line(struct sink *sink, const struct flow_event *event)
{
    struct buffer out = {0};

    sink->render(sink, event, &out);
    buffer_append(&out, "", 1);
    assert_false(out.failed);
    return out.data;
}

/* The JSON that was kept for the people above. */
static inline int sample_forget(void **state)
{
    (void)state;
    free(TAKE(shell.json));
    free(TAKE(curl.json));
    free(TAKE(cart.json));
    free(TAKE(villain.json));
    free(TAKE(login.json));
    return 0;
}
