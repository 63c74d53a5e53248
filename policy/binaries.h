/* binaries: the lists that policies tell programs by (matchBinaries), each with a number, so that
 * what is known of a process is a set of numbers, which the kernel can look up and hand on.
 *
 * Pure. Called by:  table.c; proxy/enforce/, which tells the kernel. */
#pragma once

#include "policy/policy.h"

enum {
    BINARIES_LISTS_MAX = 64,
    BINARIES_VALUE_MAX = 255, /* bytes of a path, or of its beginning or end */
};

struct binaries_list {
    enum policy_operator kind; /* POLICY_IN, POLICY_PREFIX, POLICY_POSTFIX */
    bool family;               /* what descends from one of these counts as one */
    char **values;             /* owned */
    size_t len;
    unsigned users; /* 0: free */
};
struct binaries { /* begins zeroed */
    struct binaries_list lists[BINARIES_LISTS_MAX];
    uint64_t fresh; /* numbers that were given out since somebody zeroed this */
    bool changed;   /* likewise: there are others than before */
};
void binaries_fini(struct binaries *binaries);

/* The number of such a list, which has one more user. -ENOSPC: there is none left; -E2BIG: a value
 * is too long; -ENOMEM. */
int binaries_use(struct binaries *binaries, const struct policy_binaries *of);
void binaries_release(struct binaries *binaries, uint64_t numbers);
/* This number is in use, with this value among others: of a list whose maker is not here. The first
 * value makes it so; it has one user. -ENOMEM. */
int binaries_restore(struct binaries *binaries, int number, enum policy_operator kind,
                     const char *value);
/* On which lists a path is: a bit for each number. */
uint64_t binaries_of(const struct binaries *binaries, const char *path);
/* Of these numbers, those that count for descendants. */
uint64_t binaries_family(const struct binaries *binaries, uint64_t numbers);
