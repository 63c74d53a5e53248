/* ringbuf: a BPF ring buffer, by libbpf, which also says whether all of it was read.
 *
 * A processor reserves a record, writes it and submits it. ring_buffer__consume() stops at one that
 * is not submitted yet, and returns as if that were the end, though others may lie behind it that
 * were submitted long ago: what is concluded from "all was read" is wrong then. The positions that
 * tell are in the buffer's first two pages (kernel/bpf/ringbuf.c); libbpf hands them out from 1.3
 * on, Debian 12 has 1.1. One thread.
 *
 * Called by:  identity/, kernel/ring.c. */
#pragma once

#include <stddef.h>

#include "base/err.h"

struct ringbuf;

/* handle: as libbpf's ring_buffer_sample_fn; -EAGAIN ends the turn behind the record. map_fd is
 * borrowed. */
int ringbuf_new(struct ringbuf **out, int map_fd, int (*handle)(void *arg, void *data, size_t len),
                void *arg, struct err *err);
void ringbuf_free(struct ringbuf **ringbuf);
/* Readable while there is anything, one that is being written included. Borrowed. */
int ringbuf_fd(const struct ringbuf *ringbuf);

enum ringbuf_turn {
    RINGBUF_ALL,  /* what was submitted before the call was handled */
    RINGBUF_MORE, /* handle() had enough */
    RINGBUF_BUSY, /* one is being written, and there may be others behind it */
};
enum ringbuf_turn ringbuf_read(struct ringbuf *ringbuf);
