/* inspect: what must not be in a body: many patterns at once in a stream of bytes, however it is
 * cut.
 *
 * Built in: payment-card (issuer, length, Luhn), iban (country, length, mod 97), private-key (PEM),
 * aws-access-key, gcp-key, github-token, slack-token, jwt, email, us-ssn. Beside them a policy's
 * own expressions, as regex.h has them. Works in two steps: an engine (inspect_engine.h: vectorscan
 * where it is there, else scan.h) says where something may end, by an expression that is quick to
 * follow; then, on a window of the last bytes, it is confirmed or not (builtin.h). So memory and
 * time for each byte are bounded.
 *
 * What is no match once another digit follows ("4111111111111111" and a 2) can be told only by the
 * byte behind it. A hasty stream, whose bytes leave after each call, takes the end of what it was
 * given for that of the match: it may tell more than was there, never less. For one that is not
 * hasty, the cuts make no difference.
 * Pure; what is compiled never changes, so any thread may use it.
 * Called by:  proxy/flow/inspection.c, with bodies as they go by, decoded (decode.h). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

enum {
    INSPECT_WINDOW = 256, /* a match that is longer is told without its beginning */
};

struct inspect_pattern {
    const char *name;
    const char *regex; /* NULL: built in */
};
enum inspect_engine {
    INSPECT_BEST, /* vectorscan, where it was built in and the processor can */
    INSPECT_OWN,
};

struct inspect; /* counted by references */

/* The names of what is built in, closed by NULL. */
extern const char *const inspect_built_in[];
bool inspect_is_built_in(const char *name);

/* Copies what it is given. -EINVAL: an expression is none, or a name is not built in; -ENOMEM. */
int inspect_new(struct inspect **out, const struct inspect_pattern *patterns, size_t len,
                enum inspect_engine engine, struct err *err);
void inspect_unref(struct inspect **inspect); /* accepts an empty one */
const char *inspect_name(const struct inspect *inspect, size_t pattern);
const char *inspect_engine_name(const struct inspect *inspect); /* "vectorscan", "own" */

/* What a thread needs for it, for any number of streams. */
struct inspect_scratch;
int inspect_scratch_new(struct inspect_scratch **out, const struct inspect *inspect);
void inspect_scratch_free(struct inspect_scratch **scratch); /* accepts an empty one */

/* One direction of one body. */
struct inspect_stream;

struct inspect_hit {
    size_t pattern; /* as they were given to inspect_new() */
    uint64_t offset, length;
    struct span
        bytes; /* borrowed for the call. Of a jwt: header and claims, up to the second dot */
};
/* False: enough; nothing more is looked at. */
typedef bool inspect_on_hit(const struct inspect_hit *hit, void *arg);

/* Holds a reference. -ENOMEM. */
int inspect_stream_new(struct inspect_stream **out, struct inspect *inspect, bool hasty);
void inspect_stream_free(struct inspect_stream **stream); /* accepts an empty one */
/* The next bytes. Something own is told once a stream: where it ends first; what is built in, each
 * time. False: on_hit had enough, now or before. */
bool inspect_feed(struct inspect_stream *stream, struct inspect_scratch *scratch, struct span bytes,
                  inspect_on_hit *on_hit, void *arg);
/* There are no more. */
bool inspect_end(struct inspect_stream *stream, struct inspect_scratch *scratch,
                 inspect_on_hit *on_hit, void *arg);
/* Looking was not possible to the end: out of memory. */
bool inspect_failed(const struct inspect_stream *stream);
