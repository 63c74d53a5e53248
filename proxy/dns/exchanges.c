#include "proxy/dns/exchanges.h"

#include <search.h>
#include <string.h>

#include "base/cleanup.h"

static int by_key(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct abi_tuple));
}

static void link_newest(struct exchanges *exchanges, struct exchange *exchange)
{
    exchange->newer = NULL;
    exchange->older = exchanges->newest;
    *(exchanges->newest ? &exchanges->newest->newer : &exchanges->oldest) = exchange;
    exchanges->newest = exchange;
}

static void unlink_exchange(struct exchanges *exchanges, struct exchange *exchange)
{
    *(exchange->newer ? &exchange->newer->older : &exchanges->newest) = exchange->older;
    *(exchange->older ? &exchange->older->newer : &exchanges->oldest) = exchange->newer;
}

struct exchange *exchanges_add(struct exchanges *exchanges, const struct abi_tuple *key)
{
    struct exchange *exchange = calloc(1, sizeof(*exchange));

    if (!exchange)
        return NULL;
    exchange->key = *key;
    exchange->fd = -1;
    if (!tsearch(exchange, &exchanges->tree, by_key)) {
        free(exchange);
        return NULL;
    }
    link_newest(exchanges, exchange);
    return exchange;
}

void exchanges_remove(struct exchanges *exchanges, struct exchange **exchange)
{
    tdelete(*exchange, &exchanges->tree, by_key);
    unlink_exchange(exchanges, *exchange);
    free(TAKE(*exchange));
}

struct exchange *exchanges_find(const struct exchanges *exchanges, const struct abi_tuple *key)
{
    struct exchange **found = tfind(key, &exchanges->tree, by_key);

    return found ? *found : NULL;
}

void exchanges_used(struct exchanges *exchanges, struct exchange *exchange)
{
    unlink_exchange(exchanges, exchange);
    link_newest(exchanges, exchange);
}

bool exchange_is_of(const struct exchange *exchange, uint64_t cookie, const struct addr *server)
{
    const struct addr *dst = &exchange->origin.dst;

    return exchange->origin.cookie == cookie && dst->port == server->port &&
           memcmp(dst->ip, server->ip, sizeof(dst->ip)) == 0;
}

struct exchange *exchanges_next_of(struct exchange *at, uint64_t cookie, const struct addr *server)
{
    while (at && !exchange_is_of(at, cookie, server))
        at = at->older;
    return at;
}

/* Of those with an upstream socket, or of all, the one that was quiet longest where there are too
 * many. */
static struct exchange *to_make_way(const struct exchanges *exchanges, uint64_t pod, bool open,
                                    size_t most_of_pod, size_t most)
{
    struct exchange *oldest = NULL, *oldest_of_pod = NULL;
    size_t of_pod = 0, all = 0;

    for (struct exchange *at = exchanges->newest; at; at = at->older) {
        if (open && at->fd < 0)
            continue;
        all++;
        oldest = at;
        if (at->origin.pod == pod) {
            of_pod++;
            oldest_of_pod = at;
        }
    }
    if (of_pod >= most_of_pod)
        return oldest_of_pod;
    return all >= most ? oldest : NULL;
}

struct exchange *exchanges_to_end(const struct exchanges *exchanges, uint64_t pod)
{
    return to_make_way(exchanges, pod, false, EXCHANGES_OF_POD, ABI_ASKERS_MAX);
}

struct exchange *exchanges_to_quiet(const struct exchanges *exchanges, uint64_t pod)
{
    return to_make_way(exchanges, pod, true, EXCHANGES_OPEN_OF_POD, EXCHANGES_OPEN_MAX);
}
