/* regex_states: an open hash table over sets of bits. */
#include "policy/regex_states.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static uint64_t hash_of(const uint64_t *nodes, size_t words)
{
    uint64_t hash = 0;

    for (size_t i = 0; i < words; i++) {
        hash = (hash ^ nodes[i]) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    return hash;
}

static void file_state(struct states *states, size_t number)
{
    size_t mask = states->table_len - 1;
    size_t slot = (size_t)hash_of(states_at(states, number), states->words) & mask;

    while (states->table[slot])
        slot = (slot + 1) & mask;
    states->table[slot] = (uint32_t)number + 1;
}

static size_t table_len(size_t room)
{
    size_t len = 1;

    while (len < room * 2)
        len *= 2;
    return len;
}

size_t states_bytes(size_t words, size_t room)
{
    return room * words * sizeof(uint64_t) + table_len(room) * sizeof(uint32_t);
}

size_t states_room(size_t words, size_t beside, size_t bytes)
{
    /* the table has less than 4 entries for each, see table_len() */
    return bytes / (words * sizeof(uint64_t) + 4 * sizeof(uint32_t) + beside);
}

void states_lay(struct states *states, void *memory, size_t words, size_t room)
{
    *states = (struct states){
        .bits = memory,
        .table = (uint32_t *)((uint64_t *)memory + room * words),
        .words = words,
        .room = room,
        .table_len = table_len(room),
    };
    states_forget(states);
}

int states_init(struct states *states, size_t words, size_t room)
{
    void *memory = malloc(states_bytes(words, room));

    if (!memory)
        return -ENOMEM;
    states_lay(states, memory, words, room);
    return 0;
}

void states_fini(struct states *states)
{
    free(states->bits);
    *states = (struct states){0};
}

int states_grow(struct states *states)
{
    CLEANUP(states_fini) struct states grown = {0};
    int result = states_init(&grown, states->words, states->room * 2);

    if (result < 0)
        return result;
    memcpy(grown.bits, states->bits, states->len * states->words * sizeof(*grown.bits));
    grown.len = states->len;
    for (size_t i = 0; i < grown.len; i++)
        file_state(&grown, i);
    states_fini(states);
    *states = grown;
    grown = (struct states){0};
    return 0;
}

void states_forget(struct states *states)
{
    memset(states->table, 0, states->table_len * sizeof(*states->table));
    states->len = 0;
}

size_t states_find(struct states *states, const uint64_t *nodes, bool *fresh)
{
    size_t size = states->words * sizeof(*nodes), mask = states->table_len - 1;

    *fresh = false;
    for (size_t slot = (size_t)hash_of(nodes, states->words) & mask; states->table[slot];
         slot = (slot + 1) & mask) {
        size_t number = states->table[slot] - 1;

        if (memcmp(states_at(states, number), nodes, size) == 0)
            return number;
    }
    if (states->len == states->room)
        return SIZE_MAX;
    memcpy(states->bits + states->len * states->words, nodes, size);
    file_state(states, states->len);
    *fresh = true;
    return states->len++;
}
