/* lookups_bed: a program's lookups with one server, what is answered, and the names that are bound
 * by it; for the tests of lookups. */
#pragma once

#include "proxy/dns/lookups.h"

#include "base/clock.h"
#include "proxy/dns/names.h"
#include "tests/unit/dns/asked.h"
#include "tests/unit/dns/policed.h"

static struct names *names;
static struct pod pod = {.cgroup_id = 7, .tls_read = true};
static struct lookups lookups;
static uint8_t out[65535 + LOOKUPS_REFUSAL_MAX];
static size_t out_len;
static struct lookups_denial denial;

static inline int begin(void **state)
{
    static const struct addr src = {.ip = {[10] = 0xff, 0xff, 192, 0, 2, 1}, .port = 40000};
    static const struct addr dst = {.ip = {[10] = 0xff, 0xff, 192, 0, 2, 53}, .port = 53};

    (void)state;
    atomic_init(&pod.refs, 1);
    pod.tls_read = true;
    told[0] = 0;
    if (names_new(&names, NULL) < 0)
        return -1;
    lookups = (struct lookups){
        .names = names, .pod = &pod, .src = src, .dst = dst, .cookie = 1, .protocol = PROTOCOL_UDP};
    return 0;
}

static inline int end(void **state)
{
    (void)state;
    lookups_fini(&lookups);
    names_free(&names);
    return 0;
}

static inline enum lookups_result answer(struct span message)
{
    /* in memory of its own, so that a sanitizer sees any look beside it */
    uint8_t *copy = malloc(message.len ? message.len : 1);
    enum lookups_result result;

    assert_non_null(copy);
    memcpy(copy, message.data, message.len);
    result = lookups_answer(&lookups, span_of(copy, message.len), out, &out_len);
    free(copy);
    return result;
}

/* The names bound to 203.0.113.LAST, a blank behind each. */
static inline void expect_bound(uint8_t last, const char *wanted)
{
    struct addr at = {.ip = {[10] = 0xff, 0xff, 203, 0, 113, last}};
    struct names_found found;
    char text[1024] = "";

    names_find(names, pod.cgroup_id, &at, clock_ns(), &found);
    for (size_t i = 0; i < found.len; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s ", found.text[i]);
    names_found_fini(&found);
    assert_string_equal(text, wanted);
}

/* The names of 203.0.113.LAST that policies go by, likewise. */
static inline void expect_trusted(uint8_t last, const char *wanted)
{
    const struct addr at = {.ip = {[10] = 0xff, 0xff, 203, 0, 113, last}};
    struct names_trusted found;
    char text[1024] = "";

    names_find_trusted(names, pod.cgroup_id, &at, clock_ns(), &found);
    for (size_t i = 0; i < found.names.len; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s ", found.names.list[i]);
    names_trusted_fini(&found);
    assert_string_equal(text, wanted);
}
