#include "policy/index.h"

#include <stdlib.h>

#include "policy/index_own.h"
#include "policy/regex.h"

void index_fini(struct index *index)
{
    free(index->any);
    free(index->slots);
    free(index->keys);
    free(index->leaves);
    free(index->bytes);
    free(index->pairs);
    free(index->dense);
    *index = (struct index){0};
}

struct look { /* one search */
    const struct index *index;
    struct span text;
    const struct addr *address;
    const uint64_t *wanted;
    uint64_t *bits;
    uint64_t *seen; /* of keys within, those that were looked at */
};

static bool is_wanted(const struct look *look, const struct index_leaf *leaf)
{
    const struct index *index = look->index;

    if (!look->wanted)
        return true;
    for (uint32_t i = 0; i < leaf->len; i++) {
        if (leaf->dense) {
            if (index->dense[leaf->at + i] & look->wanted[i])
                return true;
        } else {
            size_t first = index->pairs[leaf->at + i] >> 16;
            size_t last = first + (index->pairs[leaf->at + i] & 0xffff);

            if (bits_next(look->wanted, last / 64 + 1, first) <= last)
                return true;
        }
    }
    return false;
}

static bool excepts(const struct policy_cidr *cidr, const struct addr *address)
{
    for (size_t i = 0; i < cidr->except_len; i++)
        if (match_cidr(&cidr->except[i], address))
            return true;
    return false;
}

static bool holds(const struct look *look, const struct index_leaf *leaf)
{
    switch (leaf->check) {
    case INDEX_PATTERN:
        return is_wanted(look, leaf) && match_pattern(leaf->what, (const char *)look->text.data);
    case INDEX_REGEX:
        return is_wanted(look, leaf) && regex_match(leaf->what, look->text);
    case INDEX_EXCEPT:
        return !excepts(leaf->what, look->address);
    case INDEX_SURE:
        break;
    }
    return true;
}

static void take(const struct look *look, const struct index_leaf *leaf)
{
    const struct index *index = look->index;

    if (!holds(look, leaf))
        return;
    if (leaf->dense) {
        bits_or(look->bits, index->dense + leaf->at, leaf->len);
        return;
    }
    for (uint32_t i = 0; i < leaf->len; i++)
        bits_fill(look->bits, index->pairs[leaf->at + i] >> 16,
                  (index->pairs[leaf->at + i] & 0xffff) + 1);
}

static void look_up(const struct look *look, enum index_kind kind, const uint8_t *key, size_t len,
                    size_t bytes, uint64_t hash)
{
    const struct index *index = look->index;

    for (size_t at = index_hash_end(hash, kind, len) & index->slots_mask; index->slots[at];
         at = (at + 1) & index->slots_mask) {
        const struct index_key *found = &index->keys[index->slots[at] - 1];

        if (found->kind != kind || found->len != len ||
            (bytes && memcmp(index->bytes + found->at, key, bytes) != 0))
            continue;
        if (kind == INDEX_INNER) {
            if (bits_has(look->seen, found->inner))
                return;
            bits_set(look->seen, found->inner);
        }
        for (uint32_t i = 0; i < found->leaves; i++)
            take(look, &index->leaves[found->leaf + i]);
        return;
    }
}

static void look_heads(const struct look *look)
{
    const struct index *index = look->index;
    struct span text = look->text;
    uint64_t hash = INDEX_HASH_SEED;
    size_t done = 0;

    for (size_t len = bits_next(index->heads, INDEX_LENGTHS, 0); len <= text.len;
         len = bits_next(index->heads, INDEX_LENGTHS, len + 1)) {
        while (done < len)
            hash = index_hash_byte(hash, text.data[done++]);
        look_up(look, INDEX_HEAD, text.data, len, len, hash);
    }
    if (!index->has_texts || text.len > UINT16_MAX)
        return;
    while (done < text.len)
        hash = index_hash_byte(hash, text.data[done++]);
    look_up(look, INDEX_TEXT, text.data, text.len, text.len, hash);
}

static void look_tails(const struct look *look)
{
    const struct index *index = look->index;
    struct span text = look->text;
    uint64_t hash = INDEX_HASH_SEED;
    size_t done = 0;

    for (size_t len = bits_next(index->tails, INDEX_LENGTHS, 0); len <= text.len;
         len = bits_next(index->tails, INDEX_LENGTHS, len + 1)) {
        while (done < len)
            hash = index_hash_byte(hash, text.data[text.len - ++done]);
        look_up(look, INDEX_TAIL, text.data + text.len - len, len, len, hash);
    }
}

/* At every place, the hash of so many bytes from the hash of those one before. */
static void look_within(const struct look *look, size_t len)
{
    const uint8_t *data = look->text.data;
    uint64_t hash = 0, first = 1;

    for (size_t i = 0; i < len; i++)
        hash = index_hash_inner(hash, data[i]);
    for (size_t i = 1; i < len; i++)
        first *= INDEX_HASH_INNER;
    for (size_t at = 0;; at++) {
        look_up(look, INDEX_INNER, data + at, len, len, hash);
        if (at + len == look->text.len)
            return;
        hash = index_hash_inner(hash - first * data[at], data[at + len]);
    }
}

static void look_inners(struct look *look)
{
    const struct index *index = look->index;
    struct bits seen;

    if (!index->inner_keys)
        return;
    memset(seen.words, 0, bits_words(index->inner_keys) * sizeof(uint64_t));
    look->seen = seen.words;
    for (size_t len = bits_next(index->inners, INDEX_LENGTHS, 0); len <= look->text.len;
         len = bits_next(index->inners, INDEX_LENGTHS, len + 1))
        look_within(look, len);
}

static void take_any(const struct index *index, uint64_t *bits)
{
    if (index->has_any)
        bits_or(bits, index->any, index->words);
}

void index_find(const struct index *index, struct span text, const uint64_t *wanted, uint64_t *bits)
{
    struct look look = {.index = index, .text = text, .wanted = wanted, .bits = bits};

    take_any(index, bits);
    look_heads(&look);
    look_tails(&look);
    look_inners(&look);
}

/* By every number of bits that there is a key of. */
static void look_prefixes(const struct look *look, const uint8_t *bytes, size_t least, size_t most)
{
    const struct index *index = look->index;
    uint64_t hash = INDEX_HASH_SEED;
    uint8_t key[sizeof(look->address->ip)];
    size_t done = 0;

    memcpy(key, bytes, most / 8);
    for (size_t len = bits_next(index->prefixes, INDEX_LENGTHS, least); len <= most;
         len = bits_next(index->prefixes, INDEX_LENGTHS, len + 1)) {
        uint64_t with_rest;

        while (done < len / 8)
            hash = index_hash_byte(hash, bytes[done++]);
        with_rest = hash;
        if (len % 8) {
            key[done] = (uint8_t)(bytes[done] & 0xff00 >> len % 8);
            with_rest = index_hash_byte(hash, key[done]);
        }
        look_up(look, INDEX_PREFIX, key, len, (len + 7) / 8, with_rest);
        if (len % 8)
            key[done] = bytes[done];
    }
}

void index_find_address(const struct index *index, const struct addr *address, uint64_t *bits)
{
    const struct look look = {.index = index, .address = address, .bits = bits};

    take_any(index, bits);
    look_prefixes(&look, address->ip, addr_is_v4(address) ? 96 : 0, 128); /* as match_cidr() */
}

void index_find_port(const struct index *index, enum protocol protocol, uint16_t port,
                     uint64_t *bits)
{
    const uint8_t bytes[] = {(uint8_t)protocol, (uint8_t)(port >> 8), (uint8_t)port};
    const struct look look = {.index = index, .bits = bits};

    take_any(index, bits);
    look_prefixes(&look, bytes, 0, INDEX_PORT_BITS);
}
