/* scan: a state is a set of the program's nodes: what has begun and may go on, and what may begin
 * (set->start), which every state has. In state 0 nothing has begun: there bytes are passed by,
 * without a state to wait for, until some are met that may begin a match. */
#include "policy/scan_parts.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "policy/regex_states.h"

enum { CACHE_MIN = 65536, IDLE = 0 };
/* What the table has: the place of the next state's row, and LOOK where it is not just gone to: the
 * state is IDLE, or something matches there. */
#define LOOK    (UINT32_C(1) << 31)
#define UNKNOWN UINT32_MAX

struct scan_cache {
    uint64_t serial; /* of the set it is laid out for; 0: none yet */
    uint64_t epoch;  /* of the states it has: no other time has any cache the same */
    size_t row;      /* entries of a state in the table: one for each class of bytes */
    struct states states;
    uint32_t *table;
    uint64_t nodes[PROGRAM_WORDS_MAX];
    uint16_t stack[PROGRAM_NODES_MAX];
    size_t bytes;
    uint64_t memory[];
};

struct scanning { /* one call */
    const struct scan_set *set;
    struct scan_cache *cache;
    struct scan_stream *stream;
    scan_on_match *on_match;
    void *arg;
};

int scan_cache_new(struct scan_cache **out, size_t bytes)
{
    struct scan_cache *cache;

    if (bytes < CACHE_MIN)
        bytes = CACHE_MIN;
    cache = malloc(sizeof(*cache) + bytes); /* its pages are touched as they are needed */
    if (!cache)
        return -ENOMEM;
    cache->serial = 0;
    cache->bytes = bytes;
    *out = cache;
    return 0;
}

void scan_cache_free(struct scan_cache **cache)
{
    free(TAKE(*cache));
}

size_t scan_stream_size(const struct scan_set *set)
{
    return sizeof(struct scan_stream) + set->program->words * sizeof(uint64_t);
}

void scan_stream_init(const struct scan_set *set, struct scan_stream *stream)
{
    *stream = (struct scan_stream){0}; /* no cache is of epoch 0 */
    memcpy(stream->nodes, set->begin, set->program->words * sizeof(*stream->nodes));
}

/* ---- states ---- */

/* The state that these nodes are: the place of its row, and LOOK where that is due. All states are
 * forgotten when there is no room for one more. */
static uint32_t state_of(const struct scanning *scanning, const uint64_t *nodes)
{
    const struct scan_set *set = scanning->set;
    struct scan_cache *cache = scanning->cache;
    bool fresh, matches = false;
    size_t number = states_find(&cache->states, nodes, &fresh);
    uint32_t place;

    if (number == SIZE_MAX)
        return UNKNOWN;
    place = (uint32_t)(number * cache->row);
    for (size_t i = 0; fresh && i < cache->row; i++)
        cache->table[place + i] = UNKNOWN;
    for (size_t i = 0; i < set->program->words; i++)
        matches |= (nodes[i] & set->matches[i]) != 0;
    return matches || number == IDLE ? place | LOOK : place;
}

static void forget(const struct scanning *scanning)
{
    static atomic_uint_fast64_t epoch;

    states_forget(&scanning->cache->states);
    scanning->cache->epoch = atomic_fetch_add(&epoch, 1) + 1;
    state_of(scanning, scanning->set->start); /* IDLE */
}

/* As state_of(), and there is room. nodes are not the states' own. */
static uint32_t go_to(const struct scanning *scanning, const uint64_t *nodes)
{
    uint32_t entry = state_of(scanning, nodes);

    if (entry != UNKNOWN)
        return entry;
    forget(scanning);
    return state_of(scanning, nodes);
}

/* Makes the cache one of this set. */
static void lay_out(const struct scanning *scanning)
{
    const struct program *program = scanning->set->program;
    struct scan_cache *cache = scanning->cache;
    size_t room =
        states_room(program->words, program->classes * sizeof(*cache->table), cache->bytes);

    if (cache->serial == scanning->set->serial)
        return;
    cache->serial = scanning->set->serial;
    cache->row = program->classes;
    states_lay(&cache->states, cache->memory, program->words, room);
    cache->table = (uint32_t *)((uint8_t *)cache->memory + states_bytes(program->words, room));
    forget(scanning);
}

/* Where a state goes by a byte, seen for the first time. */
static uint32_t learn(const struct scanning *scanning, uint32_t place, uint8_t byte)
{
    const struct scan_set *set = scanning->set;
    const struct program *program = set->program;
    struct scan_cache *cache = scanning->cache;
    uint64_t epoch = cache->epoch;
    uint32_t entry;

    memset(cache->nodes, 0, program->words * sizeof(*cache->nodes));
    program_step(program, states_at(&cache->states, place / cache->row), byte, cache->nodes,
                 cache->stack);
    program_keep(program, cache->nodes);
    for (size_t i = 0; i < program->words; i++)
        cache->nodes[i] |= set->start[i];
    entry = go_to(scanning, cache->nodes);
    if (cache->epoch == epoch) /* else the state it came from is forgotten */
        cache->table[place + program->class_of[byte]] = entry;
    return entry;
}

/* ---- streams ---- */

/* Patterns of what matches in nodes, but not in told, in their order: the program has the nodes of
 * the last pattern first. False: enough. */
static bool tell(const struct scanning *scanning, const uint64_t *nodes, const uint64_t *told,
                 uint64_t end)
{
    const struct scan_set *set = scanning->set;

    for (size_t i = set->program->words; i--;) {
        uint64_t bits = nodes[i] & set->matches[i] & (told ? ~told[i] : ~UINT64_C(0));

        while (bits) {
            size_t bit = 63 - (size_t)__builtin_clzll(bits);

            bits ^= UINT64_C(1) << bit;
            if (!scanning->on_match(set->program->nodes[i * 64 + bit].other, end, scanning->arg)) {
                scanning->stream->stopped = true;
                return false;
            }
        }
    }
    return true;
}

/* The first place, not before `at`, where a match may begin, as far as its first bytes tell; where
 * there are too few left to tell, when there is none. What is passed is over before it could match,
 * so it can be left out of the state. */
static size_t pass(const struct scan_set *set, struct span bytes, size_t at)
{
    const uint8_t *data = bytes.data, *letter_of = set->letter_of;
    const uint32_t *pairs = set->pairs, begin = 0x11111111, enough = set->enough;
    size_t from = at, last = bytes.len - 1;
    uint32_t open = 0; /* bit i of a group: i + 1 pairs fit so far */
    unsigned now = letter_of[data[at]];

    for (; at + 8 <= last; at += 8) {
        uint32_t open_then = open, found = 0;
        unsigned then = now;

        for (unsigned i = 1; i <= 8; i++) {
            unsigned next = letter_of[data[at + i]];

            open = (open << 1 | begin) & pairs[now * SCAN_LETTERS + next];
            found |= open;
            now = next;
        }
        if (found & enough) {
            open = open_then;
            now = then;
            break;
        }
    }
    for (; at < last; at++) {
        unsigned next = letter_of[data[at + 1]];

        open = (open << 1 | begin) & pairs[now * SCAN_LETTERS + next];
        now = next;
        if (open & enough) { /* back to the first that is still open, of any group */
            open |= open >> 16;
            open |= open >> 8;
            open |= open >> 4;
            return at - (31 - (unsigned)__builtin_clz(open & 15));
        }
    }
    return bytes.len - from > SCAN_DEPTH ? bytes.len - SCAN_DEPTH : from;
}

/* Follows states from a place on, until one is to be looked at or the bytes end; *at moves on. What
 * the last one was, LOOK with it. */
static uint32_t follow(const struct scanning *scanning, uint32_t place, struct span bytes,
                       size_t *at)
{
    const uint8_t *class_of = scanning->set->program->class_of;
    const uint32_t *table = scanning->cache->table;
    const uint8_t *data = bytes.data;
    size_t i = *at, len = bytes.len;
    uint32_t entry = place;

    while (i < len && !(entry & LOOK)) {
        place = entry;
        entry = table[place + class_of[data[i++]]];
    }
    *at = i;
    return entry == UNKNOWN ? learn(scanning, place, data[i - 1]) : entry;
}

bool scan_feed(const struct scan_set *set, struct scan_cache *cache, struct scan_stream *stream,
               struct span bytes, scan_on_match *on_match, void *arg)
{
    struct scanning scanning = {set, cache, stream, on_match, arg};
    uint32_t entry;

    if (stream->stopped || !bytes.len)
        return !stream->stopped;
    lay_out(&scanning);
    entry = stream->epoch == cache->epoch ? stream->state : go_to(&scanning, stream->nodes);
    for (size_t at = 0; at < bytes.len;) {
        uint32_t place = entry & ~LOOK;

        if (place == IDLE)
            at = pass(set, bytes, at);
        entry = follow(&scanning, place, bytes, &at);
        if (entry & LOOK && entry != (IDLE | LOOK) &&
            !tell(&scanning, states_at(&cache->states, (entry & ~LOOK) / cache->row), NULL,
                  stream->offset + at))
            return false;
    }
    stream->offset += bytes.len;
    stream->epoch = cache->epoch;
    stream->state = entry;
    memcpy(stream->nodes, states_at(&cache->states, (entry & ~LOOK) / cache->row),
           set->program->words * sizeof(*stream->nodes));
    return true;
}

bool scan_end(const struct scan_set *set, struct scan_cache *cache, struct scan_stream *stream,
              scan_on_match *on_match, void *arg)
{
    const struct program *program = set->program;
    struct scanning scanning = {set, cache, stream, on_match, arg};

    if (stream->stopped)
        return false;
    stream->stopped = true;
    memset(cache->nodes, 0, program->words * sizeof(*cache->nodes));
    program_end(program, stream->nodes, nodes_has(stream->nodes, program->len), cache->nodes,
                cache->stack);
    return tell(&scanning, cache->nodes, stream->nodes, stream->offset);
}
