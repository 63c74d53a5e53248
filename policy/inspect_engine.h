/* inspect_engine: where in a stream an expression may end: vectorscan's streams, or scan.h's.
 *
 * Private to inspect.c. Both tell every place where a match of an expression ends, in order for
 * each expression. */
#pragma once

#include "policy/inspect.h"
#include "policy/scan.h"

struct engine;
struct engine_scratch;
struct engine_stream;

/* quick: those that vectorscan takes, written so that they mean the same to both; own: a policy's,
 * which mean what regex.h says. Numbered in this order. */
int engine_new(struct engine **out, enum inspect_engine kind, const char *const *quick,
               size_t quick_len, const char *const *own, size_t own_len, struct err *err);
void engine_free(struct engine **engine);
const char *engine_name(const struct engine *engine);

int engine_scratch_new(struct engine_scratch **out, const struct engine *engine);
void engine_scratch_free(struct engine_scratch **scratch);

int engine_stream_new(struct engine_stream **out, const struct engine *engine);
void engine_stream_free(struct engine_stream **stream);
/* 0; -ECANCELED: on_match said enough; else it cannot go on. */
int engine_feed(struct engine_stream *stream, struct engine_scratch *scratch, struct span bytes,
                scan_on_match *on_match, void *arg);
int engine_end(struct engine_stream *stream, struct engine_scratch *scratch,
               scan_on_match *on_match, void *arg);
