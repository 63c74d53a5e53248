#include "proxy/http2/flood.h"

#include "base/cleanup.h"

enum { SECOND_NS = 1000000000 };

/* A token is the time in which it comes back. */
static const struct {
    const char *reason;
    uint64_t burst, token_ns;
} buckets[] = {
    [FLOOD_RESET] = {"too many resets", 1000, SECOND_NS / 500},
    [FLOOD_SETTINGS] = {"too many SETTINGS", 100, SECOND_NS / 10},
    [FLOOD_PING] = {"too many PINGs", 1000, SECOND_NS / 100},
    [FLOOD_EMPTY] = {"too many empty frames", 1000, SECOND_NS / 100},
    [FLOOD_PRIORITY] = {"too many PRIORITY frames", 1000, SECOND_NS / 100},
    [FLOOD_WINDOW] = {"too many WINDOW_UPDATEs", 1000, SECOND_NS / 100},
};
_Static_assert(ARRAY_SIZE(buckets) == _FLOOD_KIND_MAX, "give every kind a bucket");

bool flood_spend(struct flood *flood, enum flood_kind kind, uint64_t now_ns)
{
    uint64_t *full_ns = &flood->full_ns[kind];
    uint64_t token_ns = buckets[kind].token_ns;

    if (flood->earned[kind]) {
        flood->earned[kind]--;
        return true;
    }
    if (*full_ns < now_ns)
        *full_ns = now_ns;
    if (*full_ns - now_ns + token_ns > buckets[kind].burst * token_ns)
        return false;
    *full_ns += token_ns;
    return true;
}

void flood_earn(struct flood *flood, enum flood_kind kind, uint32_t n)
{
    uint32_t room = FLOOD_EARNED_MAX - flood->earned[kind];

    flood->earned[kind] += n < room ? n : room;
}

const char *flood_reason(enum flood_kind kind)
{
    return buckets[kind].reason;
}
