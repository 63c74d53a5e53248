/* automaton_parts: several matchers followed at once, each state a row. */
#include "proxy/kernel/automaton_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* Of a text: 0: it is another; else one more than how much of it was read; behind it, blanks. */
uint64_t part_begins(const struct part *part)
{
    return part->regex ? regex_begins(part->regex) : 1;
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

uint64_t part_leads(const struct part *part, uint64_t state, uint8_t byte)
{
    const char *text = part->text ? part->text : part->value;
    size_t len;

    if (part->regex)
        return regex_leads(part->regex, (uint32_t)state, byte);
    len = strlen(text);
    if (state > len)
        return state && part->value && is_blank(byte) ? len + 2 : 0;
    return state && (uint8_t)text[state - 1] == byte ? state + 1 : 0;
}

bool part_ends(const struct part *part, uint64_t state)
{
    if (part->regex)
        return regex_ends(part->regex, (uint32_t)state);
    return state > strlen(part->text ? part->text : part->value);
}

static bool is_same(const struct part *a, const struct part *b)
{
    if (a->text && b->text)
        return strcmp(a->text, b->text) == 0;
    if (a->value && b->value)
        return strcmp(a->value, b->value) == 0;
    return a->regex && a->regex == b->regex;
}

int product_part(struct product *product, struct part part)
{
    struct part *more;
    size_t i = 0;

    while (i < product->parts_len && !is_same(&product->parts[i], &part))
        i++;
    if (i < product->parts_len)
        return (int)i;
    more = realloc(product->parts, (i + 1) * sizeof(*more));
    if (!more)
        return -ENOMEM;
    product->parts = more;
    product->parts[product->parts_len++] = part;
    return (int)i;
}

void product_fini(struct product *product)
{
    free(TAKE(product->parts));
    states_fini(&product->states);
}

void product_lead(const struct product *product, const uint64_t *from, uint8_t byte, uint64_t *to)
{
    for (size_t i = 0; i < product->parts_len; i++)
        to[1 + i] = part_leads(&product->parts[i], from[1 + i], byte);
}

/* The row of a state; negative: -ENOMEM, -E2BIG. */
static int row_of(struct product *product, const uint64_t *state)
{
    size_t number;
    bool fresh;

    if (product->states.len == product->states.room && states_grow(&product->states) < 0)
        return -ENOMEM;
    number = states_find(&product->states, state, &fresh);
    if (fresh) {
        uint16_t row = rows_add(product->rows, SPELL_ACT_NONE, 0, 0);

        if (product->rows->failed || product->rows->len > AUTOMATON_ROWS)
            return -E2BIG;
        rows_about(product->rows, row)->fits = product->fits(product, state);
    }
    return (int)(product->first + number);
}

static int make_row(struct product *product, size_t number, uint64_t *to)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        uint16_t flags = 0;
        int row =
            product->leads(product, states_at(&product->states, number), (uint8_t)byte, to, &flags);

        if (row < 0)
            row = row_of(product, to);
        if (row < 0)
            return row;
        rows_lead(product->rows, (uint16_t)(product->first + number), (uint8_t)byte,
                  (uint16_t)row | flags);
    }
    return 0;
}

int product_make(struct product *product, uint64_t mode, const uint64_t *begin)
{
    size_t words = 1 + product->parts_len;
    uint64_t *to = calloc(words, sizeof(*to));
    int code = to ? states_init(&product->states, words, 16) : -ENOMEM;

    product->first = (uint16_t)(product->rows->base + product->rows->len);
    for (size_t i = 0; code == 0 && i < product->parts_len; i++)
        to[1 + i] = begin ? begin[1 + i] : part_begins(&product->parts[i]);
    if (code == 0) {
        to[0] = mode;
        code = row_of(product, to);
    }
    for (size_t i = 0; code >= 0 && i < product->states.len; i++)
        code = make_row(product, i, to);
    free(to);
    return code < 0 ? code : rows_merge(product->rows, product->first);
}
