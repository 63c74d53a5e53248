/* dns_record: one entry after the other, and the names inside its data. */
#include "proxy/wire/dns_walk.h"

#include "base/cleanup.h"

enum { ANYTHING = UINT8_MAX };

/* The data of types whose form matters: fixed bytes, strings, names, and what stands behind. Those
 * with names are the ones a sender may compress (RFC 3597 section 4), DNAME, which some once did,
 * and the service bindings, whose target later names may point to. Data that is longer than its
 * form is malformed: some readers go by the length, some by the form. */
static const struct form {
    uint16_t type;
    uint8_t bytes, strings, names, behind;
} forms[] = {
    {DNS_A, .bytes = 4},
    {DNS_NS, .names = 1},
    {3 /* MD */, .names = 1},
    {4 /* MF */, .names = 1},
    {DNS_CNAME, .names = 1},
    {DNS_SOA, .names = 2, .behind = 20},
    {7 /* MB */, .names = 1},
    {8 /* MG */, .names = 1},
    {9 /* MR */, .names = 1},
    {DNS_PTR, .names = 1},
    {14 /* MINFO */, .names = 2},
    {DNS_MX, .bytes = 2, .names = 1},
    {17 /* RP */, .names = 2},
    {18 /* AFSDB */, .bytes = 2, .names = 1},
    {21 /* RT */, .bytes = 2, .names = 1},
    {24 /* SIG */, .bytes = 18, .names = 1, .behind = ANYTHING},
    {26 /* PX */, .bytes = 2, .names = 2},
    {DNS_AAAA, .bytes = 16},
    {30 /* NXT */, .names = 1, .behind = ANYTHING},
    {DNS_SRV, .bytes = 6, .names = 1},
    {35 /* NAPTR */, .bytes = 4, .strings = 3, .names = 1},
    {39 /* DNAME */, .names = 1},
    {DNS_SVCB, .bytes = 2, .names = 1, .behind = ANYTHING},
    {DNS_HTTPS, .bytes = 2, .names = 1, .behind = ANYTHING},
};

static const struct form *form_of(const struct dns_record *record)
{
    if (record->type == DNS_A && record->class != DNS_CLASS_IN)
        return NULL; /* RFC 1035 section 3.4.1 is about the Internet only */
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
        if (forms[i].type == record->type)
            return &forms[i];
    return NULL;
}

static const char *read_name(const struct dns_cursor *cursor, struct span *from, struct span *out)
{
    struct span before = *from;
    struct dns_name name;
    const char *why = NULL;

    if (cursor->checked)
        dns_name_skip(from);
    else
        why = dns_name_take(cursor->message, from, &name);
    *out = span_of(before.data, before.len - from->len);
    return why;
}

static const char *read_data(const struct dns_cursor *cursor, struct dns_record *record)
{
    const struct form *form = form_of(record);
    struct span rest = record->rdata, skipped;
    const char *why;

    if (!form)
        return NULL;
    if (!span_take(&rest, form->bytes, &skipped))
        return "a record's data is too short for its type";
    for (unsigned i = 0; i < form->strings; i++)
        if (!span_take_vector(&rest, 1, &skipped))
            return "a record's data is too short for its type";
    for (unsigned i = 0; i < form->names; i++) {
        why = read_name(cursor, &rest, &record->names[record->names_len++]);
        if (why)
            return why;
    }
    if (record->type == DNS_SVCB || record->type == DNS_HTTPS) {
        record->params = rest;
        return cursor->checked ? NULL : dns_params_check(rest);
    }
    if (form->behind != ANYTHING && rest.len != form->behind)
        return rest.len < form->behind ? "a record's data is too short for its type"
                                       : "a record's data is too long for its type";
    return NULL;
}

void dns_cursor_init(struct dns_cursor *cursor, struct span message)
{
    uint32_t id, flags, count;

    *cursor = (struct dns_cursor){.message = message, .rest = message};
    if (!span_take_uint(&cursor->rest, 2, &id) || !span_take_uint(&cursor->rest, 2, &flags))
        return;
    cursor->flags = (uint16_t)flags;
    for (unsigned i = 0; i < _DNS_SECTION_MAX; i++)
        if (span_take_uint(&cursor->rest, 2, &count))
            cursor->left[i] = (uint16_t)count;
}

void dns_cursor_checked(struct dns_cursor *cursor, struct span message)
{
    struct dns_record question;
    const char *why = NULL;

    dns_cursor_init(cursor, message);
    cursor->checked = true;
    while (dns_question_next(cursor, &question, &why))
        ;
}

/* What questions and records begin with. */
static const char *read_head(struct dns_cursor *cursor, struct dns_record *out)
{
    const char *why = read_name(cursor, &cursor->rest, &out->owner);
    uint32_t type, rr_class;

    if (why)
        return why;
    if (!span_take_uint(&cursor->rest, 2, &type) || !span_take_uint(&cursor->rest, 2, &rr_class))
        return "the message ends inside a section";
    out->type = (uint16_t)type;
    out->class = (uint16_t)rr_class;
    return NULL;
}

bool dns_question_next(struct dns_cursor *cursor, struct dns_record *out, const char **why)
{
    if (!cursor->left[DNS_QUESTIONS])
        return false;
    cursor->left[DNS_QUESTIONS]--;
    out->section = DNS_QUESTIONS;
    *why = read_head(cursor, out);
    return !*why;
}

bool dns_record_next(struct dns_cursor *cursor, struct dns_record *out, const char **why)
{
    unsigned section = DNS_ANSWERS;

    while (section < _DNS_SECTION_MAX && !cursor->left[section])
        section++;
    if (section == _DNS_SECTION_MAX)
        return false;
    cursor->left[section]--;
    out->section = (enum dns_section)section;
    out->names_len = 0;
    out->params = (struct span){0};
    *why = read_head(cursor, out);
    if (*why)
        return false;
    if (!span_take_uint(&cursor->rest, 4, &out->ttl) ||
        !span_take_vector(&cursor->rest, 2, &out->rdata))
        *why = "the message ends inside a record";
    else if (out->rdata.len || (cursor->flags >> 11 & 0xf) != DNS_OPCODE_UPDATE)
        *why = read_data(cursor, out); /* updates: "any data" (RFC 2136 section 2.4) */
    return !*why;
}
