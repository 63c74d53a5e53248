#include "proxy/ringbuf.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"

struct ringbuf {
    struct ring_buffer *buffer;
    void *pages; /* MAP_FAILED: none */
};

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* The first page has how far it was read, the second how far it was reserved. */
static unsigned long position(const struct ringbuf *ringbuf, size_t page)
{
    const void *at = (const char *)ringbuf->pages + page * page_size();

    return atomic_load_explicit((const _Atomic unsigned long *)at, memory_order_acquire);
}

int ringbuf_new(struct ringbuf **out, int map_fd, int (*handle)(void *arg, void *data, size_t len),
                void *arg, struct err *err)
{
    CLEANUP(ringbuf_free) struct ringbuf *ringbuf = calloc(1, sizeof(*ringbuf));

    if (!ringbuf)
        return err_set(err, -ENOMEM, "a BPF ring buffer");
    ringbuf->pages = mmap(NULL, 2 * page_size(), PROT_READ, MAP_SHARED, map_fd, 0);
    if (ringbuf->pages == MAP_FAILED)
        return err_sys(err, -errno, "mapping a BPF ring buffer");
    ringbuf->buffer = ring_buffer__new(map_fd, handle, arg, NULL);
    if (!ringbuf->buffer)
        return err_sys(err, -errno, "reading a BPF ring buffer");
    *out = TAKE(ringbuf);
    return 0;
}

void ringbuf_free(struct ringbuf **ringbuf)
{
    struct ringbuf *gone = TAKE(*ringbuf);

    if (!gone)
        return;
    ring_buffer__free(gone->buffer);
    if (gone->pages != MAP_FAILED)
        munmap(gone->pages, 2 * page_size());
    free(gone);
}

int ringbuf_fd(const struct ringbuf *ringbuf)
{
    return ring_buffer__epoll_fd(ringbuf->buffer);
}

enum ringbuf_turn ringbuf_read(struct ringbuf *ringbuf)
{
    unsigned long until = position(ringbuf, 1);

    if (ring_buffer__consume(ringbuf->buffer) < 0)
        return RINGBUF_MORE;
    /* they wrap around */
    return (long)(until - position(ringbuf, 0)) > 0 ? RINGBUF_BUSY : RINGBUF_ALL;
}
