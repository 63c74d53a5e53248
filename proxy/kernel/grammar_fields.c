/* A head's lines of fields: their names, and the values of those that frame messages or say where a
 * request goes (as http1_rules.c has them). */
#include "proxy/kernel/grammar_own.h"

#include "base/cleanup.h"
#include "bpf/spell.h"

void grammar_add_values(struct rows *rows)
{
    uint16_t line = add(rows, SPELL_ACT_LINE), value = add(rows, SPELL_ACT_TEXT);
    uint16_t name = add(rows, SPELL_ACT_TEXT), back = add(rows, SPELL_ACT_NONE),
             blank = add(rows, SPELL_ACT_NONE);

    rows_lead(rows, back, '\n', line);
    lead_text(rows, value, value);
    rows_lead(rows, value, '\r', back);
    lead_token(rows, name, name);
    rows_lead(rows, name, ':', value);
    lead_blanks(rows, blank, blank);
    rows_lead(rows, blank, '\r', back);
    set_slot(rows, SPELL_SLOT_RETURN, back);
    set_slot(rows, SPELL_SLOT_VALUE, value);
    set_slot(rows, SPELL_SLOT_BLANK, blank);
}

/* What may stand behind a value that frames a message: no tab, which some take for a part of it. */
static void lead_end(struct rows *rows, uint16_t from)
{
    uint16_t blank = add(rows, SPELL_ACT_NONE);

    rows_lead(rows, blank, ' ', blank);
    rows_lead(rows, blank, '\r', get(rows, SPELL_SLOT_RETURN));
    rows_lead(rows, from, ' ', blank);
    rows_lead(rows, from, '\r', get(rows, SPELL_SLOT_RETURN));
}

static uint16_t add_length(struct rows *rows)
{
    uint16_t first = add(rows, SPELL_ACT_LENGTH_BEGINS), digit, blank, name;

    lead_end(rows, first);
    digit = copy(rows, first, SPELL_ACT_LENGTH_DIGIT);
    lead_digits(rows, first, digit);
    lead_digits(rows, digit, digit);
    blank = add(rows, SPELL_ACT_NONE);
    lead_blanks(rows, blank, blank);
    lead_digits(rows, blank, first);
    name = copy(rows, blank, SPELL_ACT_LENGTH);
    return name;
}

static uint16_t add_coding(struct rows *rows)
{
    uint16_t blank = add(rows, SPELL_ACT_NONE), others = add(rows, SPELL_ACT_NONE), end;

    lead_blanks(rows, blank, blank);
    end = rows_word(rows, blank, "chunked", true, others);
    lead_end(rows, end);
    return copy(rows, blank, SPELL_ACT_CODING);
}

/* One option that matters, from where its last letter leads. */
static void add_option(struct rows *rows, uint16_t list, uint16_t end, uint16_t other,
                       enum spell_flags flag)
{
    uint16_t comma = rows_copy(rows, list, SPELL_ACT_OPTION, flag);
    uint16_t back = rows_copy(rows, get(rows, SPELL_SLOT_RETURN), SPELL_ACT_OPTION, flag);
    uint16_t blank = copy(rows, other, SPELL_ACT_NONE);

    lead_blanks(rows, blank, blank);
    rows_lead(rows, blank, ',', comma);
    rows_lead(rows, blank, '\r', back);
    lead_blanks(rows, end, blank);
    rows_lead(rows, end, ',', comma);
    rows_lead(rows, end, '\r', back);
}

/* A list of options (RFC 9110 section 7.6.1). */
static uint16_t add_connection(struct rows *rows)
{
    uint16_t list = add(rows, SPELL_ACT_NONE), other = add(rows, SPELL_ACT_NONE);
    uint16_t ends[3];

    lead_text(rows, other, other);
    rows_lead(rows, other, ',', list);
    rows_lead(rows, other, '\r', get(rows, SPELL_SLOT_RETURN));
    lead_text(rows, list, other);
    lead_blanks(rows, list, list);
    rows_lead(rows, list, ',', list);
    rows_lead(rows, list, '\r', get(rows, SPELL_SLOT_RETURN));
    ends[0] = rows_word(rows, list, "close", true, other);
    ends[1] = rows_word(rows, list, "keep-alive", true, other);
    ends[2] = rows_word(rows, list, "upgrade", true, other);
    add_option(rows, list, ends[0], other, SPELL_CLOSE);
    add_option(rows, list, ends[1], other, SPELL_KEEP_ALIVE);
    add_option(rows, list, ends[2], other, SPELL_UPGRADE);
    return list;
}

static uint16_t add_host_field(struct rows *rows)
{
    uint16_t blank = add(rows, SPELL_ACT_NONE);
    uint16_t empty = copy(rows, get(rows, SPELL_SLOT_RETURN), SPELL_ACT_UNFIT);

    rows_lead_range(rows, blank, 0, 255, add(rows, SPELL_ACT_HOST_BEGINS));
    rows_lead(rows, blank, '[', rows_leads(rows, get(rows, SPELL_SLOT_HOST), '['));
    lead_blanks(rows, blank, blank);
    rows_lead(rows, blank, '\r', empty);
    return copy(rows, blank, SPELL_ACT_HOST);
}

static const char *const fields[] = {"host", "content-length", "transfer-encoding", "connection",
                                     "upgrade"};

/* Names, with where those lead that matter. */
static uint16_t add_names(struct rows *rows, uint16_t end, const uint16_t *leads, uint16_t others)
{
    uint16_t root = add(rows, SPELL_ACT_NONE);

    lead_token(rows, root, others);
    rows_lead(rows, root, '\r', end);
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        rows_lead(rows, rows_word(rows, root, fields[i], true, others), ':', leads[i]);
    return root;
}

void grammar_add_fields(struct rows *rows)
{
    uint16_t value = get(rows, SPELL_SLOT_VALUE), end = add(rows, SPELL_ACT_NONE), root;
    const uint16_t leads[ARRAY_SIZE(fields)] = {add_host_field(rows), add_length(rows),
                                                add_coding(rows), add_connection(rows),
                                                copy(rows, value, SPELL_ACT_UPGRADE)};

    rows_lead(rows, end, '\n', add(rows, SPELL_ACT_END));
    root = add_names(rows, end, leads, SPELL_ROW_NAME);
    set_slot(rows, SPELL_SLOT_NAME, root);
    set_slot(rows, SPELL_SLOT_TRAILER, root);
}

uint16_t grammar_names(struct rows *rows, const struct rows *grammar, uint16_t *others)
{
    uint16_t root = get(grammar, SPELL_SLOT_NAME), leads[ARRAY_SIZE(fields)];

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        leads[i] = root;
        for (const char *at = fields[i]; *at; at++)
            leads[i] = rows_leads(grammar, leads[i], (uint8_t)*at);
        leads[i] = rows_leads(grammar, leads[i], ':');
    }
    *others = add(rows, SPELL_ACT_NONE);
    lead_token(rows, *others, *others);
    rows_lead(rows, *others, ':', get(grammar, SPELL_SLOT_VALUE));
    return add_names(rows, rows_leads(grammar, root, '\r'), leads, *others);
}
