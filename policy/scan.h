/* scan: many regular expressions at once in a stream of bytes, however it is cut.
 *
 * Expressions are as regex.h has them, but found anywhere (^ and $ are the stream's ends). Time is
 * linear in the bytes, whatever the expressions, and memory bounded: states of a DFA are made when
 * they are first met, kept in a cache of the caller's, and all forgotten when it is full. At worst
 * each byte costs a step of the NFA.
 *
 * Called by:  inspect_engine.c, for what vectorscan is not there for. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "policy/regex.h"

enum {
    SCAN_PATTERNS_MAX = 1024,
    SCAN_NODES_MAX =
        8192, /* of all expressions of a set together: a stream's state is a bit each */
};

struct scan_set; /* compiled; never changes: any thread may use it */

/* Of one expression at least. 0; -EINVAL: fault says what is wrong with expressions[*which];
 * -E2BIG: together they are too long for one set, or the only one is; -ENOMEM. An expression that
 * matches no bytes at all ("a*") is a fault: it would match everywhere. */
int scan_set_new(struct scan_set **out, const char *const *expressions, size_t len, size_t *which,
                 struct regex_fault *fault);
void scan_set_free(struct scan_set **set);        /* accepts an empty one */
size_t scan_set_size(const struct scan_set *set); /* bytes of memory */

/* A thread's, for any number of streams. It remembers the set it was last used with (other sets may
 * be used in between, but then it begins anew each time: better one for each set). */
struct scan_cache;
/* Of so many bytes, 64 kB at least; -ENOMEM. */
int scan_cache_new(struct scan_cache **out, size_t bytes);
void scan_cache_free(struct scan_cache **cache); /* accepts an empty one */

/* Where one stream stands. Plain data of scan_stream_size() bytes: allocated, copied and freed by
 * whose stream it is; holds nothing of any cache. */
struct scan_stream {
    uint64_t offset; /* bytes fed so far */
    uint64_t epoch;  /* of the cache that `state` is of */
    uint32_t state;
    bool stopped;
    uint64_t nodes[]; /* where matches may go on: a bit each */
};
size_t scan_stream_size(const struct scan_set *set);
void scan_stream_init(const struct scan_set *set, struct scan_stream *stream);

/* Told of each place where a match of a pattern ends: for "ab{2,4}" in "abbbb" of 3 (ends are
 * offsets behind the last byte), 4 and 5. Patterns that end at one place are told in their order.
 * False: enough, the stream is stopped. */
typedef bool scan_on_match(size_t pattern, uint64_t end, void *arg);

/* The next bytes. Allocates nothing. False once on_match said enough: then nothing is looked at. */
bool scan_feed(const struct scan_set *set, struct scan_cache *cache, struct scan_stream *stream,
               struct span bytes, scan_on_match *on_match, void *arg);
/* There are no more: what has a '$' may match now. */
bool scan_end(const struct scan_set *set, struct scan_cache *cache, struct scan_stream *stream,
              scan_on_match *on_match, void *arg);
