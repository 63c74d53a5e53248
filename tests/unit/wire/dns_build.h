/* dns_build: DNS messages for tests, put together piece by piece; what they say may be untrue. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "proxy/wire/dns.h"

enum { QUERY = 0x0100, ANSWER = 0x8180 };

struct build {
    uint8_t data[2 * DNS_MESSAGE_MAX];
    size_t len;
    size_t data_at; /* where the data of the record being built begins */
};

static inline void put(struct build *build, const void *data, size_t len)
{
    memcpy(build->data + build->len, data, len);
    build->len += len;
}

static inline void put_uint(struct build *build, size_t size, size_t value)
{
    for (size_t i = 0; i < size; i++)
        build->data[build->len++] = (uint8_t)(value >> 8 * (size - 1 - i));
}

/* "www.example." becomes labels, "www.@12" labels and a pointer to offset 12. */
static inline void put_name(struct build *build, const char *name)
{
    while (*name && *name != '@') {
        size_t len = strcspn(name, ".");

        put_uint(build, 1, len);
        put(build, name, len);
        name += len + (name[len] == '.');
    }
    if (*name)
        put_uint(build, 2, 0xc000 | strtoul(name + 1, NULL, 10));
    else
        put_uint(build, 1, 0);
}

static inline void count(struct build *build, unsigned section)
{
    uint8_t *at = build->data + 4 + 2 * section;

    if (++at[1] == 0)
        at[0]++;
}

/* Header and question; flags such as QUERY and ANSWER. */
static inline void begin(struct build *build, unsigned flags, const char *name, unsigned type)
{
    memset(build, 0, sizeof(*build));
    put_uint(build, 2, 0x1234);
    put_uint(build, 2, flags);
    build->len = 12;
    count(build, 0);
    put_name(build, name);
    put_uint(build, 2, type);
    put_uint(build, 2, 1);
}

/* A record of section 1 to 3, whose data follows, until record_end(). */
static inline void record(struct build *build, unsigned section, const char *owner, unsigned type,
                          uint32_t ttl)
{
    count(build, section);
    put_name(build, owner);
    put_uint(build, 2, type);
    put_uint(build, 2, 1);
    put_uint(build, 4, ttl);
    put_uint(build, 2, 0);
    build->data_at = build->len;
}

static inline void record_end(struct build *build)
{
    size_t len = build->len - build->data_at;

    build->data[build->data_at - 2] = (uint8_t)(len >> 8);
    build->data[build->data_at - 1] = (uint8_t)len;
}

static inline void record_of(struct build *build, const char *owner, unsigned type, uint32_t ttl,
                             struct span data)
{
    record(build, 1, owner, type, ttl);
    put(build, data.data, data.len);
    record_end(build);
}

static inline void record_to(struct build *build, const char *owner, unsigned type, uint32_t ttl,
                             const char *target)
{
    record(build, 1, owner, type, ttl);
    put_name(build, target);
    record_end(build);
}

static inline struct span built(const struct build *build)
{
    return span_of(build->data, build->len);
}

/* Parses a copy in memory of its own, so that a sanitizer sees any look beside it. dns->message is
 * the caller's to free. */
static inline int parse(struct span bytes, struct dns *dns, const char **why)
{
    uint8_t *copy = malloc(bytes.len ? bytes.len : 1);
    int status;

    assert_non_null(copy);
    if (bytes.len)
        memcpy(copy, bytes.data, bytes.len);
    status = dns_parse(span_of(copy, bytes.len), dns, why);
    if (status < 0)
        free(copy);
    return status;
}

static inline void forget(struct dns *dns)
{
    free((void *)(uintptr_t)dns->message.data);
    dns->message = (struct span){0};
}
