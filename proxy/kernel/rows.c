#include "proxy/kernel/rows.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

void rows_fini(struct rows *rows)
{
    free(TAKE(rows->next));
    free(TAKE(rows->abouts));
}

static bool make_room(struct rows *rows)
{
    size_t room = rows->room ? 2 * rows->room : 64;
    void *next, *abouts;

    if (rows->len < rows->room)
        return true;
    if (rows->failed || rows->base + room > 2 * SPELL_ROWS)
        return false;
    next = realloc(rows->next, room * sizeof(*rows->next));
    if (!next)
        return false;
    rows->next = next;
    abouts = realloc(rows->abouts, room * sizeof(*rows->abouts));
    if (!abouts)
        return false;
    rows->abouts = abouts;
    rows->room = room;
    return true;
}

uint16_t rows_add(struct rows *rows, enum spell_action action, unsigned what, uint16_t to)
{
    uint16_t row = (uint16_t)(rows->base + rows->len);

    if (row >= SPELL_ROWS || !make_room(rows)) {
        rows->failed = true;
        return rows->base;
    }
    rows->abouts[rows->len] = (struct spell_about){
        .fits = UINT64_MAX, .action = (uint16_t)action, .what = (uint16_t)what};
    for (size_t byte = 0; byte < 256; byte++)
        rows->next[rows->len][byte] = to == SPELL_ROWS ? row : to;
    rows->len++;
    return row;
}

uint16_t rows_copy(struct rows *rows, uint16_t of, enum spell_action action, unsigned what)
{
    uint16_t row = rows_add(rows, action, what, 0);

    if (!rows->failed)
        memcpy(rows->next[row - rows->base], rows->next[of - rows->base], sizeof(*rows->next));
    return row;
}

void rows_lead(struct rows *rows, uint16_t from, uint8_t byte, uint16_t to)
{
    if (!rows->failed)
        rows->next[from - rows->base][byte] = to;
}

void rows_lead_all(struct rows *rows, uint16_t from, const char *bytes, uint16_t to)
{
    for (; *bytes; bytes++)
        rows_lead(rows, from, (uint8_t)*bytes, to);
}

void rows_lead_range(struct rows *rows, uint16_t from, unsigned first, unsigned last, uint16_t to)
{
    for (unsigned byte = first; byte <= last; byte++)
        rows_lead(rows, from, (uint8_t)byte, to);
}

uint16_t rows_leads(const struct rows *rows, uint16_t from, uint8_t byte)
{
    return rows->failed ? rows->base : rows->next[from - rows->base][byte] & SPELL_ROW;
}

struct spell_about *rows_about(struct rows *rows, uint16_t row)
{
    static struct spell_about none;

    return rows->failed ? &none : &rows->abouts[row - rows->base];
}

void rows_set_mask(struct rows *rows, uint16_t row, unsigned which, uint64_t mask)
{
    for (unsigned i = 0; i < 4; i++)
        rows_lead(rows, row, (uint8_t)(which * 4 + i), (uint16_t)(mask >> 16 * i));
}

static uint8_t other_case(uint8_t byte)
{
    bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');

    return letter ? byte ^ 0x20 : byte;
}

uint16_t rows_word(struct rows *rows, uint16_t from, const char *word, bool nocase, uint16_t others)
{
    for (; *word; word++) {
        uint8_t byte = (uint8_t)*word;
        uint16_t to = rows_leads(rows, from, byte);

        if (to == rows_leads(rows, others, byte)) {
            to = rows_copy(rows, others, SPELL_ACT_NONE, 0);
            rows_lead(rows, from, byte, to);
            if (nocase)
                rows_lead(rows, from, other_case(byte), to);
        }
        from = to;
    }
    return from;
}

static bool has_action(const struct rows *rows, const struct rows *grammar, uint16_t row)
{
    if (row >= rows->base)
        return rows->abouts[row - rows->base].action != SPELL_ACT_NONE;
    return grammar->abouts[row].action != SPELL_ACT_NONE;
}

static bool holds_masks(const struct rows *rows, size_t at)
{
    return rows->abouts[at].action == SPELL_ACT_MASKS;
}

void rows_mark(struct rows *rows, const struct rows *grammar)
{
    if (rows->failed)
        return;
    for (size_t i = 0; i < rows->len; i++)
        for (size_t byte = 0; byte < 256 && !holds_masks(rows, i); byte++) {
            uint16_t to = rows->next[i][byte] & SPELL_ROW;
            bool goes_on = (to == SPELL_ROW_TEXT || to == SPELL_ROW_NAME) && rows->base + i == to;

            if (has_action(rows, grammar, to) && !goes_on)
                rows->next[i][byte] |= SPELL_MARKED;
        }
}
