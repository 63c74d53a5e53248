#include "proxy/kernel/automaton_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

enum { LEADS_ON = -1, NO_PART = -1 };

struct wants { /* of one text, by rule: the part that must match, of two kinds */
    const struct policy_spelling *spelling;
    int parts[2][SPELLING_RULES];
};

struct automaton {
    struct rows *rows;
    const struct rows *grammar;
    const struct policy_spelling *spelling;
    uint16_t entry;
};

static uint64_t fits_all(const struct product *product, const uint64_t *state)
{
    const struct wants *wants = product->arg;
    uint64_t fits = UINT64_MAX;

    for (size_t kind = 0; kind < ARRAY_SIZE(wants->parts); kind++)
        for (size_t i = 0; i < wants->spelling->rules_len; i++) {
            int part = wants->parts[kind][i];

            if (part != NO_PART && !part_ends(&product->parts[part], state[1 + part]))
                fits &= ~(UINT64_C(1) << i);
        }
    return fits;
}

static int want(struct product *product, int *part, const struct regex *regex, const char *text)
{
    *part = NO_PART;
    if (!text && (!regex || !regex_has_dfa(regex)))
        return 0;
    *part = product_part(product,
                         (struct part){.regex = text ? NULL : regex, .text = text ? text : NULL});
    return *part < 0 ? *part : 0;
}

static void set_slot(struct automaton *a, enum spell_slot slot, uint16_t row)
{
    rows_lead(a->rows, a->entry, (uint8_t)slot, row);
}

/* A row that leads where one of the grammar does. */
static uint16_t copy_grammar(struct automaton *a, uint16_t of, enum spell_action action)
{
    uint16_t row = rows_add(a->rows, action, 0, 0);

    for (unsigned byte = 0; byte < 256; byte++)
        rows_lead(a->rows, row, (uint8_t)byte, rows_leads(a->grammar, of, (uint8_t)byte));
    return row;
}

/* ---- methods ---- */

static bool fits_method(const struct policy_http *http, const char *method)
{
    if (!http || !http->method)
        return true;
    if (http->method_text)
        return strcmp(http->method_text, method) == 0;
    return regex_match(http->method_is, span_of_text(method));
}

static void add_methods(struct automaton *a)
{
    uint16_t row = rows_add(a->rows, SPELL_ACT_MASKS, 0, UINT16_MAX);
    const char *method;
    unsigned number;

    for (size_t i = 0; (method = grammar_method(i, &number)); i++) {
        uint64_t mask = UINT64_MAX;

        for (size_t rule = 0; rule < a->spelling->rules_len; rule++)
            if (!fits_method(a->spelling->rules[rule].http, method))
                mask &= ~(UINT64_C(1) << rule);
        rows_set_mask(a->rows, row, number, mask);
    }
    set_slot(a, SPELL_SLOT_METHODS, row);
}

/* ---- paths ---- */

/* Whether it is normal so far (policy/path.h), and what that depends on. */
enum { PATH_SLASH, PATH_NAME, PATH_DOT, PATH_DOTS, PATH_PERCENT, PATH_DIGIT, PATH_ODD = 32 };

static int upper_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    return byte >= 'A' && byte <= 'F' ? byte - 'A' + 10 : -1;
}

/* Unreserved, a slash, a backslash, NUL: what is not to be encoded, or not to be there. */
static bool may_be_encoded(int byte)
{
    return byte && !strchr("-._~/\\", byte) && !(byte >= '0' && byte <= '9') &&
           !((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z');
}

static uint64_t path_mode(uint64_t mode, uint8_t byte)
{
    int digit = upper_digit(byte);

    if (mode == PATH_ODD)
        return PATH_ODD;
    if (mode == PATH_PERCENT)
        return digit < 0 ? PATH_ODD : PATH_DIGIT + (uint64_t)digit;
    if (mode >= PATH_DIGIT)
        return digit >= 0 && may_be_encoded((int)(mode - PATH_DIGIT) * 16 + digit) ? PATH_NAME
                                                                                   : PATH_ODD;
    if (byte == '%')
        return PATH_PERCENT;
    if (byte == '/')
        return mode == PATH_NAME ? PATH_SLASH : PATH_ODD;
    if (byte == ';' && (mode == PATH_DOT || mode == PATH_DOTS))
        return PATH_ODD;
    if (byte == '.' && (mode == PATH_SLASH || mode == PATH_DOT))
        return mode == PATH_SLASH ? PATH_DOT : PATH_DOTS;
    return PATH_NAME;
}

static int path_leads(const struct product *product, const uint64_t *from, uint8_t byte,
                      uint64_t *to, uint16_t *flags)
{
    uint16_t path = grammar_slot(product->grammar, SPELL_SLOT_PATH);
    uint16_t leads = rows_leads(product->grammar, path, byte);

    (void)flags;
    if (leads != path)
        return leads;
    to[0] = path_mode(from[0], byte);
    if (to[0] == PATH_ODD)
        memset(to + 1, 0, product->parts_len * sizeof(*to));
    else
        product_lead(product, from, byte, to);
    return LEADS_ON;
}

static uint64_t path_fits(const struct product *product, const uint64_t *state)
{
    return state[0] <= PATH_NAME ? fits_all(product, state) : 0;
}

/* The asterisk of OPTIONS, and what else a target may begin with. */
static void add_target(struct automaton *a, const struct product *paths, const uint64_t *begin,
                       uint64_t *star)
{
    uint16_t target = grammar_slot(a->grammar, SPELL_SLOT_TARGET);
    uint16_t row = copy_grammar(a, rows_leads(a->grammar, target, '*'), SPELL_ACT_NONE);

    product_lead(paths, begin, '*', star);
    rows_about(a->rows, row)->fits = fits_all(paths, star);
    target = copy_grammar(a, target, SPELL_ACT_NONE);
    rows_lead(a->rows, target, '*', row);
    rows_lead(a->rows, target, '/', paths->first);
    set_slot(a, SPELL_SLOT_TARGET, target);
    set_slot(a, SPELL_SLOT_PATH, paths->first);
}

static int add_paths(struct automaton *a)
{
    CLEANUP(product_fini)
    struct product paths = {
        .rows = a->rows, .grammar = a->grammar, .leads = path_leads, .fits = path_fits};
    struct wants wants = {.spelling = a->spelling};
    uint64_t *begin = NULL, *slash = NULL;
    int code = 0;

    memset(wants.parts, NO_PART, sizeof(wants.parts));
    paths.arg = &wants;
    for (size_t i = 0; code == 0 && i < a->spelling->rules_len; i++) {
        const struct policy_http *http = a->spelling->rules[i].http;

        if (http)
            code = want(&paths, &wants.parts[0][i], http->path_is, http->path_text);
    }
    begin = calloc(1 + paths.parts_len, sizeof(*begin));
    slash = calloc(1 + paths.parts_len, sizeof(*slash));
    if (!begin || !slash)
        code = -ENOMEM;
    for (size_t i = 0; code == 0 && i < paths.parts_len; i++)
        begin[1 + i] = part_begins(&paths.parts[i]);
    if (code == 0) {
        product_lead(&paths, begin, '/', slash);
        code = product_make(&paths, PATH_SLASH, slash);
    }
    if (code == 0)
        add_target(a, &paths, begin, slash);
    free(begin);
    free(slash);
    return code;
}

/* ---- hosts ---- */

enum { HOST_START, HOST_LABEL, HOST_DOT };

static int host_leads(const struct product *product, const uint64_t *from, uint8_t byte,
                      uint64_t *to, uint16_t *flags)
{
    uint16_t start = grammar_slot(product->grammar, SPELL_SLOT_HOST);
    uint16_t label = rows_leads(product->grammar, start, 'a');
    bool dot = from[0] == HOST_DOT;

    if (byte == '.' && from[0] == HOST_LABEL) { /* it counts only if something follows */
        memcpy(to, from, (1 + product->parts_len) * sizeof(*to));
        to[0] = HOST_DOT;
        return LEADS_ON;
    }
    if (!grammar_is_name_byte(byte))
        return byte == '.'
                   ? grammar_slot(product->grammar, SPELL_SLOT_ODD)
                   : rows_leads(product->grammar, from[0] == HOST_START ? start : label, byte);
    memcpy(to, from, (1 + product->parts_len) * sizeof(*to));
    if (dot)
        product_lead(product, from, '.', to);
    product_lead(product, to, byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte, to);
    to[0] = HOST_LABEL;
    *flags = SPELL_HASHED | (dot ? SPELL_DOT_BEFORE : 0);
    return LEADS_ON;
}

static int add_hosts(struct automaton *a)
{
    CLEANUP(product_fini)
    struct product hosts = {
        .rows = a->rows, .grammar = a->grammar, .leads = host_leads, .fits = fits_all};
    struct wants wants = {.spelling = a->spelling};
    int code = 0;

    memset(wants.parts, NO_PART, sizeof(wants.parts));
    hosts.arg = &wants;
    for (size_t i = 0; code == 0 && i < a->spelling->rules_len; i++) {
        const struct spelling_rule *rule = &a->spelling->rules[i];

        if (rule->http)
            code = want(&hosts, &wants.parts[0][i], rule->http->host_is, rule->http->host_text);
        if (code == 0)
            code = want(&hosts, &wants.parts[1][i], rule->names, NULL);
    }
    if (code == 0 && hosts.parts_len)
        code = product_make(&hosts, HOST_START, NULL);
    if (code == 0 && hosts.parts_len)
        set_slot(a, SPELL_SLOT_HOST, hosts.first);
    return code;
}

/* ---- fields ---- */

struct condition {
    const char *name, *value; /* value NULL: any */
    uint64_t rules;           /* that want it */
};
struct conditions {
    struct condition list[SPELL_CONDITIONS];
    size_t len;
};
_Static_assert((int)SPELLING_HEADERS <= (int)SPELL_CONDITIONS, "a condition for each header");

static bool is_condition(const struct condition *condition, const struct policy_header *header)
{
    if (strcasecmp(condition->name, header->name) != 0)
        return false;
    if (!condition->value || !header->value)
        return condition->value == header->value;
    return strcmp(condition->value, header->value) == 0;
}

static void find_conditions(const struct policy_spelling *spelling, struct conditions *out)
{
    for (size_t i = 0; i < spelling->rules_len; i++) {
        const struct policy_http *http = spelling->rules[i].http;

        for (size_t j = 0; http && j < http->headers_len; j++) {
            const struct policy_header *header = &http->headers[j];
            size_t k = 0;

            if (!policy_spelling_knows_header(header->name))
                continue; /* the rule is inexact */
            while (k < out->len && !is_condition(&out->list[k], header))
                k++;
            if (k == SPELL_CONDITIONS)
                continue; /* likewise */
            if (k == out->len)
                out->list[out->len++] = (struct condition){header->name, header->value, 0};
            out->list[k].rules |= UINT64_C(1) << i;
        }
    }
}

struct values { /* of one name */
    const struct conditions *conditions;
    const char *name;
    uint16_t seen;
    int parts[SPELL_CONDITIONS];
};
enum { VALUE_BLANK, VALUE_TEXT };

static bool is_of(const struct values *values, size_t i)
{
    return strcasecmp(values->conditions->list[i].name, values->name) == 0;
}

static int value_leads(const struct product *product, const uint64_t *from, uint8_t byte,
                       uint64_t *to, uint16_t *flags)
{
    const struct values *values = product->arg;
    uint16_t value = grammar_slot(product->grammar, SPELL_SLOT_VALUE);

    (void)flags;
    if (byte == '\r')
        return values->seen;
    if (rows_leads(product->grammar, value, byte) != value)
        return grammar_slot(product->grammar, SPELL_SLOT_ODD);
    memcpy(to, from, (1 + product->parts_len) * sizeof(*to));
    if (from[0] == VALUE_BLANK && (byte == ' ' || byte == '\t'))
        return LEADS_ON;
    to[0] = VALUE_TEXT;
    product_lead(product, from, byte, to);
    return LEADS_ON;
}

/* Which conditions hold when the value ends here. */
static uint64_t value_fits(const struct product *product, const uint64_t *state)
{
    const struct values *values = product->arg;
    uint64_t seen = 0;

    for (size_t i = 0; i < values->conditions->len; i++) {
        int part = values->parts[i];

        if (is_of(values, i) &&
            (part == NO_PART || part_ends(&product->parts[part], state[1 + part])))
            seen |= UINT64_C(1) << i;
    }
    return seen;
}

static int add_values(struct automaton *a, struct values *values, uint16_t *first)
{
    CLEANUP(product_fini)
    struct product product = {
        .rows = a->rows, .grammar = a->grammar, .leads = value_leads, .fits = value_fits};
    int code = 0;

    product.arg = values;
    for (size_t i = 0; code >= 0 && i < values->conditions->len; i++) {
        const char *value = values->conditions->list[i].value;

        values->parts[i] = NO_PART;
        if (is_of(values, i) && value)
            values->parts[i] = code = product_part(&product, (struct part){.value = value});
    }
    if (code >= 0)
        code = product_make(&product, VALUE_BLANK, NULL);
    *first = product.first;
    return code < 0 ? code : 0;
}

static int add_fields(struct automaton *a)
{
    struct conditions conditions = {.len = 0};
    struct values values = {.conditions = &conditions};
    uint16_t root, others, needs;
    int code = 0;

    find_conditions(a->spelling, &conditions);
    if (!conditions.len)
        return 0;
    root = grammar_names(a->rows, a->grammar, &others);
    needs = rows_add(a->rows, SPELL_ACT_MASKS, 0, 0);
    values.seen = copy_grammar(a, grammar_slot(a->grammar, SPELL_SLOT_RETURN), SPELL_ACT_SEEN);
    for (size_t i = 0; code == 0 && i < conditions.len; i++) {
        uint16_t end, first;
        size_t same = 0;

        rows_set_mask(a->rows, needs, (unsigned)i, conditions.list[i].rules);
        values.name = conditions.list[i].name;
        while (!is_of(&values, same))
            same++;
        if (same < i)
            continue; /* the name was there before */
        end = rows_word(a->rows, root, values.name, true, others);
        code = add_values(a, &values, &first);
        rows_lead(a->rows, end, ':', first);
    }
    set_slot(a, SPELL_SLOT_NAME, root);
    set_slot(a, SPELL_SLOT_NEEDS, needs);
    return code;
}

/* ---- the whole ---- */

static bool is_needed(const struct policy_spelling *spelling)
{
    for (size_t i = 0; i < spelling->rules_len; i++)
        if (spelling->rules[i].http || spelling->rules[i].names)
            return true;
    return false;
}

int automaton_make(struct rows *rows, const struct rows *grammar,
                   const struct policy_spelling *spelling, uint64_t key, uint32_t made)
{
    struct automaton a = {.rows = rows, .grammar = grammar, .spelling = spelling};
    int code = 0;

    if (!is_needed(spelling))
        return 0;
    a.entry = copy_grammar(&a, 0, SPELL_ACT_NONE);
    rows_about(rows, a.entry)->fits = key;
    rows_about(rows, a.entry)->made = made;
    add_methods(&a);
    if (policy_spelling_has_paths(spelling))
        code = add_paths(&a);
    if (code == 0)
        code = add_hosts(&a);
    if (code == 0)
        code = add_fields(&a);
    if (code == 0 && (rows->failed || rows->len > AUTOMATON_ROWS))
        code = -E2BIG;
    if (code == 0)
        rows_mark(rows, grammar);
    return code;
}
