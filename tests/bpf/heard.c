#include "heard.h"

#include <bpf/libbpf.h>
#include <string.h>

#include "fixture.h"
#include "sallyport.skel.h"

struct heard heard;
static struct ring_buffer *ring;

static int on_record(void *arg, void *data, size_t size)
{
    const struct abi_socket *record = data;

    (void)arg;
    if ((record->kind < ABI_SOCKET_CONNECT || record->kind > ABI_SOCKET_DENIED) &&
        record->kind != ABI_SOCKET_ACCEPT && record->kind != ABI_SOCKET_HELD)
        return 0; /* a process's, or a namespace's */
    assert_int_equal(size, sizeof(*record));
    assert_true(heard.len < HEARD_MAX);
    heard.records[heard.len++] = *record;
    return 0;
}

void heard_init(void)
{
    ring =
        ring_buffer__new(bpf_map__fd(keeper_bpf(fx.keeper)->maps.records), on_record, NULL, NULL);
    assert_non_null(ring);
}

void heard_fini(void)
{
    ring_buffer__free(ring);
    ring = NULL;
}

void heard_read(void)
{
    assert_true(ring_buffer__consume(ring) >= 0);
}

void heard_forget(void)
{
    heard_read();
    heard.len = 0;
}

static bool matches(const struct abi_socket *record, enum abi_record_kind kind, uint64_t cookie)
{
    return record->kind == kind && (!cookie || record->cookie == cookie);
}

size_t heard_count(enum abi_record_kind kind, uint64_t cookie)
{
    size_t count = 0;

    heard_read();
    for (size_t i = 0; i < heard.len; i++)
        count += matches(&heard.records[i], kind, cookie);
    return count;
}

const struct abi_socket *heard_one(enum abi_record_kind kind, uint64_t cookie)
{
    assert_int_equal(heard_count(kind, cookie), 1);
    for (size_t i = 0; i < heard.len; i++)
        if (matches(&heard.records[i], kind, cookie))
            return &heard.records[i];
    return NULL;
}
