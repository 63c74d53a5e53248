/* attempts_bed: attempts in the network of attempting.h: SYNs that are held, and what is left. */
#pragma once

#include "proxy/doors/attempts.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "proxy/limits.h"
#include "tests/unit/doors/attempting.h"

static const struct {
    const char *family;
    struct span held;
    size_t label, tcp; /* places: what repetitions may have another of; the TCP header */
} packets[] = {
    {"IPv4",
     BYTES("\x45\x10\x00\x30\x00\x07\x40\x00\x40\x06\x21\xa4\xc0\x00\x02\x02\xc0\x00\x02\x02"
           "\x9c\x40\xaf\xc8\x00\x01\xff\xff\x00\x00\x00\x00\x70\x02\xfa\xf0\xbe\xef\x00\x00"
           "\x02\x04\x05\xb4\x04\x02\x01\x01"),
     5, 20},
    {"IPv6",
     BYTES("\x60\x01\x23\x45\x00\x1c\x06\x40\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00"
           "\x00\x00\x00\x02\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02"
           "\x9c\x40\xaf\xc8\x00\x01\xff\xff\x00\x00\x00\x00\x70\x02\xfa\xf0\xbe\xef\x00\x00"
           "\x02\x04\x05\xb4\x04\x02\x01\x01"),
     3, 40},
};

static struct event_base *base;
static struct limits limits;
static struct attempts *attempts;
static uint64_t whose; /* pod the SYNs are of */

static inline unsigned open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static inline struct origin as_filed(uint64_t cookie)
{
    return (struct origin){.cookie = cookie, .src = held.src};
}

static inline void all_is_told(void)
{
    attempts_on_record(attempts, NULL);
}

static inline void tell_held(size_t family, uint64_t cookie, size_t changed_at)
{
    struct abi_syn record = {
        .kind = ABI_SYN_HELD,
        .len = (uint32_t)packets[family].held.len,
        .origin = {.cookie = cookie, .netns_cookie = NETNS, .port = 443, .pod = whose}};

    memcpy(record.packet, packets[family].held.data, record.len);
    if (changed_at)
        record.packet[changed_at] ^= 1;
    assert_true(syn_parse(span_of(record.packet, record.len), &held));
    attempts_on_record(attempts, &record);
}

static inline void hold(size_t family, uint64_t cookie, size_t changed_at)
{
    tell_held(family, cookie, changed_at);
    all_is_told();
}

static inline void say_gone(void)
{
    const struct abi_syn record = {.kind = ABI_SYN_GONE, .origin = {.cookie = COOKIE}};

    attempts_on_record(attempts, &record);
}

/* Its share of the limits comes with it. */
static inline void take(uint16_t port_change)
{
    struct origin origin = as_filed(COOKIE);
    uint64_t admitted = atomic_load(&limits.connections);
    int fd;

    origin.src.port ^= port_change;
    fd = attempts_take(attempts, &origin, NULL);
    append(fd < 0 ? "none" : "taken");
    assert_int_equal(atomic_load(&limits.connections), admitted);
    if (fd < 0)
        return;
    assert_true(fcntl(fd, F_GETFD) >= 0);
    close(fd);
    limits_leave(&limits, NULL);
}

static inline void make_attempts(unsigned room)
{
    /* half of so few files is put aside */
    const struct limits_machine machine = {
        .files = room ? 2ull * room * LIMITS_FLOW_FILES : UINT64_MAX, .memory = UINT64_MAX};
    const struct attempts_parts parts = {.base = base, .limits = &limits};
    struct err err = {0};

    seen[0] = 0;
    sockets_made = 0;
    limits_init(&limits, &machine);
    assert_int_equal(attempts_new(&attempts, &parts, &err), 0);
}

static inline void expect_nothing_left(unsigned files)
{
    attempts_free(&attempts);
    fd_close(&far_end);
    for (size_t i = 0; i < LIMIT_MAX; i++)
        assert_int_equal(atomic_load(&limits.used[i]), 0);
    assert_int_equal(atomic_load(&limits.connections), 0);
    assert_int_equal(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
    assert_int_equal(open_files(), files);
}

static inline int begin(void **state)
{
    static const struct scenario none = {.name = "none"};

    (void)state;
    now = &none;
    base = event_base_new();
    return base ? 0 : -1;
}

static inline int end(void **state)
{
    (void)state;
    event_base_free(base);
    return 0;
}
