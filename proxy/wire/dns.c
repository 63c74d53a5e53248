/* dns: see dns.h. A message is walked once to the end before anything in it is believed. */
#include "proxy/wire/dns_walk.h"

#include <errno.h>

enum { LINKS_MAX = 4 * DNS_CNAMES_MAX }; /* CNAME records looked at, in whatever order they come */

/* RFC 6891 section 6.1.1: one, of the root, in the additional section. */
static const char *read_opt(const struct dns_record *opt, struct dns *out)
{
    struct span options = opt->rdata, option;
    uint32_t code;

    if (opt->section != DNS_ADDITIONAL)
        return "an OPT record outside the additional section";
    if (out->has_opt)
        return "two OPT records";
    if (opt->owner.len != 1) /* or a pointer to a root, which nobody sends */
        return "an OPT record of a name";
    while (options.len)
        if (!span_take_uint(&options, 2, &code) || !span_take_vector(&options, 2, &option))
            return "an EDNS option is cut off";
    out->has_opt = true;
    out->rcode |= (uint16_t)(opt->ttl >> 24 << 4);
    return NULL;
}

static void read_header(const struct dns_cursor *cursor, struct dns *out)
{
    out->id = (uint16_t)(cursor->message.data[0] << 8 | cursor->message.data[1]);
    out->response = cursor->flags & DNS_FLAG_RESPONSE;
    out->truncated = cursor->flags & DNS_FLAG_TRUNCATED;
    out->opcode = cursor->flags >> 11 & 0xf;
    out->rcode = cursor->flags & 0xf;
    out->questions = cursor->left[DNS_QUESTIONS];
}

static const char *read_message(struct span message, struct dns *out)
{
    struct dns_cursor cursor;
    struct dns_record record;
    struct dns_name name;
    const char *why = NULL;

    if (message.len < DNS_HEADER_LEN)
        return "shorter than a header";
    if (message.len > DNS_MESSAGE_MAX)
        return "longer than a message may be";
    dns_cursor_init(&cursor, message);
    read_header(&cursor, out);
    for (bool first = true; dns_question_next(&cursor, &record, &why); first = false) {
        if (!first)
            continue;
        out->type = record.type;
        out->class = record.class;
        dns_name_take(message, &record.owner, &name);
        dns_name_text(&name, out->name);
    }
    while (!why && dns_record_next(&cursor, &record, &why))
        if (record.type == DNS_OPT)
            why = read_opt(&record, out);
    if (!why && cursor.rest.len)
        why = "bytes behind the last record";
    return why;
}

int dns_parse(struct span message, struct dns *out, const char **why)
{
    struct dns dns = {.message = message};
    const char *reason = read_message(message, &dns);

    if (reason) {
        *why = reason;
        return -EBADMSG;
    }
    *out = dns;
    return 0;
}

bool dns_answers(const struct dns *question, const struct dns *answer)
{
    return !question->response && answer->response && question->id == answer->id &&
           question->opcode == answer->opcode && question->type == answer->type &&
           question->class == answer->class && strcmp(question->name, answer->name) == 0;
}

/* ---- what an answer says ---- */

struct chain { /* the name asked for, and behind it the names it stands for */
    struct dns_name names[1 + DNS_CNAMES_MAX];
    size_t len;
};

static bool in_chain(const struct chain *chain, const struct dns_name *name)
{
    for (size_t i = 0; i < chain->len; i++)
        if (dns_name_equal(&chain->names[i], name))
            return true;
    return false;
}

/* A name of a message that was walked before. */
static struct dns_name read_name(struct span message, struct span wire)
{
    struct dns_name name;

    dns_name_take(message, &wire, &name);
    return name;
}

/* RFC 2181 section 8: a TTL with the top bit set counts as none. */
static void note_ttl(struct dns_found *out, uint32_t ttl)
{
    if (ttl > INT32_MAX)
        ttl = 0;
    if ((!out->addresses_len && !out->cnames_len) || ttl < out->ttl)
        out->ttl = ttl;
}

static void add_cname(struct chain *chain, const struct dns_name *name, uint32_t ttl,
                      struct dns_found *out)
{
    note_ttl(out, ttl);
    chain->names[chain->len++] = *name;
    dns_name_text(name, out->cnames[out->cnames_len++]);
}

struct link { /* borrows from the message */
    struct span owner, target;
    uint32_t ttl;
};

static size_t gather_links(struct dns_cursor cursor, struct link links[LINKS_MAX])
{
    struct dns_record record;
    const char *why = NULL;
    size_t len = 0;

    while (len < LINKS_MAX && dns_record_next(&cursor, &record, &why) &&
           record.section == DNS_ANSWERS)
        if (record.type == DNS_CNAME && record.class == DNS_CLASS_IN && record.names_len)
            links[len++] = (struct link){record.owner, record.names[0], record.ttl};
    return len;
}

/* The first link wins where a name has two, which RFC 2181 section 10.1 forbids. */
static bool follow_link(struct span message, const struct link *links, size_t links_len,
                        struct chain *chain, struct dns_found *out)
{
    for (size_t i = 0; i < links_len; i++) {
        struct dns_name owner = read_name(message, links[i].owner);
        struct dns_name target;

        if (!dns_name_equal(&owner, &chain->names[chain->len - 1]))
            continue;
        target = read_name(message, links[i].target);
        if (in_chain(chain, &target))
            return false; /* a loop */
        add_cname(chain, &target, links[i].ttl, out);
        return true;
    }
    return false;
}

static void follow_chain(const struct dns_cursor *cursor, struct chain *chain,
                         struct dns_found *out)
{
    struct link links[LINKS_MAX];
    size_t links_len = gather_links(*cursor, links);

    while (out->cnames_len < DNS_CNAMES_MAX &&
           follow_link(cursor->message, links, links_len, chain, out))
        ;
}

static void add_addresses(const struct dns_record *record, struct span ips, size_t size,
                          struct dns_found *out)
{
    struct span ip;

    while (out->addresses_len < DNS_ADDRESSES_MAX && span_take(&ips, size, &ip)) {
        struct addr *addr = &out->addresses[out->addresses_len];

        note_ttl(out, record->ttl);
        out->addresses_len++;
        *addr = (struct addr){0};
        if (size == 4)
            addr->ip[10] = addr->ip[11] = 0xff;
        memcpy(addr->ip + sizeof(addr->ip) - size, ip.data, size);
    }
}

/* Priority 0 is AliasMode, whose parameters are ignored (RFC 9460 section 2.4.2). */
static void add_hints(const struct dns_record *record, struct dns_found *out)
{
    struct span params = record->params;
    struct dns_param param;

    if (record->rdata.data[0] == 0 && record->rdata.data[1] == 0)
        return;
    while (dns_param_take(&params, &param)) {
        if (param.key == DNS_PARAM_IPV4HINT)
            add_addresses(record, param.value, 4, out);
        if (param.key == DNS_PARAM_IPV6HINT)
            add_addresses(record, param.value, 16, out);
    }
}

static void add_record(const struct dns_record *record, struct dns_found *out)
{
    if (record->type == DNS_A)
        add_addresses(record, record->rdata, 4, out);
    else if (record->type == DNS_AAAA)
        add_addresses(record, record->rdata, 16, out);
    else
        add_hints(record, out);
}

static bool may_have_addresses(const struct dns_record *record)
{
    return record->class == DNS_CLASS_IN && record->rdata.len &&
           (record->type == DNS_A || record->type == DNS_AAAA || record->type == DNS_SVCB ||
            record->type == DNS_HTTPS);
}

void dns_find(const struct dns *answer, struct dns_found *out)
{
    struct span message = answer->message;
    struct chain chain;
    struct dns_cursor cursor;
    struct dns_record record;
    const char *why = NULL;

    out->addresses_len = out->cnames_len = out->ttl = 0; /* not all of it: that is a lot */
    if (!answer->questions)
        return;
    chain.names[0] =
        read_name(message, span_of(message.data + DNS_HEADER_LEN, message.len - DNS_HEADER_LEN));
    chain.len = 1;
    dns_cursor_checked(&cursor, message);
    follow_chain(&cursor, &chain, out);
    while (out->addresses_len < DNS_ADDRESSES_MAX && dns_record_next(&cursor, &record, &why) &&
           record.section == DNS_ANSWERS) {
        struct dns_name owner;

        if (!may_have_addresses(&record))
            continue;
        owner = read_name(message, record.owner);
        if (in_chain(&chain, &owner))
            add_record(&record, out);
    }
}

/* ---- an answer of our own ---- */

static void put16(uint8_t *out, unsigned value)
{
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
}

enum { OPT_LEN = 11 }; /* without options */

size_t dns_refuse(const struct dns *query, enum dns_rcode rcode, uint8_t *out, size_t size)
{
    enum { PAYLOAD = 1232 }; /* what arrives unfragmented anywhere */
    struct dns_cursor cursor;
    size_t len;

    dns_cursor_checked(&cursor, query->message);
    len = query->message.len - cursor.rest.len; /* names only point backwards: copied as they are */
    if (size < len + (query->has_opt ? OPT_LEN : 0))
        return 0;
    memcpy(out, query->message.data, len);
    /* Recursion is said to be available: some stub resolvers turn to another server where it is
     * not. */
    put16(out + 2,
          (cursor.flags & (0xf << 11 | DNS_FLAG_RECURSION_DESIRED | DNS_FLAG_CHECKING_DISABLED)) |
              DNS_FLAG_RESPONSE | DNS_FLAG_RECURSION_AVAILABLE | rcode);
    memset(out + 6, 0, 6);
    if (query->has_opt) {
        put16(out + 10, 1);
        memset(out + len, 0, OPT_LEN);
        put16(out + len + 1, DNS_OPT);
        put16(out + len + 3, PAYLOAD);
        len += OPT_LEN;
    }
    return len;
}

size_t dns_prohibit(const struct dns *query, const char *text, uint8_t *out, size_t size)
{
    enum { EDE = 15, PROHIBITED = 18, OPTION_HEAD = 4, CODE = 2 };
    size_t len = dns_refuse(query, DNS_REFUSED, out, size), text_len = strlen(text);
    uint8_t *option = out + len;

    if (!len || !query->has_opt || size - len < OPTION_HEAD + CODE)
        return len;
    if (text_len > size - len - OPTION_HEAD - CODE)
        text_len = 0;
    put16(option - 2, (unsigned)(OPTION_HEAD + CODE + text_len)); /* of the OPT record's data */
    put16(option, EDE);
    put16(option + 2, (unsigned)(CODE + text_len));
    put16(option + OPTION_HEAD, PROHIBITED);
    memcpy(option + OPTION_HEAD + CODE, text, text_len);
    return len + OPTION_HEAD + CODE + text_len;
}
