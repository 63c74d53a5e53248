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

int states_init(struct states *states, size_t words, size_t room)
{
    size_t table_len = 1;

    while (table_len < room * 2)
        table_len *= 2;
    *states = (struct states){.words = words, .room = room, .table_len = table_len};
    states->bits = malloc(room * words * sizeof(*states->bits));
    states->table = calloc(table_len, sizeof(*states->table));
    if (states->bits && states->table)
        return 0;
    states_fini(states);
    return -ENOMEM;
}

void states_fini(struct states *states)
{
    free(states->bits);
    free(states->table);
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
