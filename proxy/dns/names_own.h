/* names_own: what names*.c share; private to them. */
#pragma once

#include <pthread.h>

#include "proxy/dns/configured.h"
#include "proxy/dns/names.h"

struct binding {
    struct binding *newer, *older;           /* of the pod */
    struct binding *newer_here, *older_here; /* of the address */
    struct place *place;
    uint64_t until_ns, trusted_until_ns; /* the latter 0, or not later */
    size_t len;
    char name[];
};

struct place {
    uint8_t ip[16]; /* first: what the tree sorts by */
    struct binding *newest, *oldest;
    size_t len;
};

struct resolved {
    uint64_t pod; /* first: what the tree sorts by */
    void *places; /* tsearch(3) of struct place */
    struct binding *newest, *oldest;
    size_t len, bytes;
    struct configured *configured; /* NULL: that is not known */
};

struct names {
    pthread_mutex_t lock;
    void *pods; /* tsearch(3) of struct resolved */
    void (*on_trusted)(void *arg, uint64_t pod, const char *name, const struct addr *address,
                       uint64_t until_ns);
    void *on_trusted_arg;
};

/* With the lock held. NULL: there is none, and, where one was to be made, out of memory. */
struct resolved *names_find_pod(struct names *names, uint64_t pod, bool make);
struct place *names_find_place(struct resolved *pod, const struct addr *address, bool make);

/* Without it. */
void names_tell_one(const struct names *names, uint64_t pod, const char *name,
                    const struct addr *address, uint64_t until_ns);
