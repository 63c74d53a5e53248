/* What an index is to be made of, and by what each is found best. */
#include "policy/index.h"

#include <stdlib.h>

#include "policy/index_own.h"

void index_terms_fini(struct index_terms *terms)
{
    free(terms->list);
    *terms = (struct index_terms){0};
}

static struct index_term *add(struct index_terms *terms, enum index_kind kind, size_t first,
                              size_t n)
{
    if (terms->len == terms->room) {
        size_t room = terms->room ? terms->room * 2 : 64;
        struct index_term *list = realloc(terms->list, room * sizeof(*list));

        if (!list) {
            terms->no_memory = true;
            return NULL;
        }
        terms->list = list;
        terms->room = room;
    }
    terms->list[terms->len] = (struct index_term){
        .kind = kind,
        .first = (uint32_t)first,
        .n = (uint32_t)n,
    };
    return &terms->list[terms->len++];
}

void index_add_any(struct index_terms *terms, size_t first, size_t n)
{
    add(terms, INDEX_ANY, first, n);
}

void index_add_text(struct index_terms *terms, const char *text, size_t first, size_t n)
{
    struct index_term *term;

    if (strlen(text) > UINT16_MAX)
        return; /* no text that comes is as long */
    if ((term = add(terms, INDEX_TEXT, first, n)))
        term->text = text;
}

void index_add_name(struct index_terms *terms, const struct policy_name *name, size_t first,
                    size_t n)
{
    struct index_term *term;

    if (name->exact) {
        index_add_text(terms, name->text, first, n);
    } else if ((term = add(terms, INDEX_HEAD, first, n))) {
        term->check = INDEX_PATTERN;
        term->what = term->written = name->text;
        literal_of_pattern(name->text, &term->literal);
    }
}

static void to_lower(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] >= 'A' && text[i] <= 'Z')
            text[i] = (char)(text[i] + 'a' - 'A');
}

void index_add_expression(struct index_terms *terms, const char *written, const struct regex *regex,
                          bool lower, size_t first, size_t n)
{
    const char *at = written;
    struct literal literal;

    while (literal_next(&at, &literal)) {
        struct index_term *term = add(terms, literal.whole ? INDEX_TEXT : INDEX_HEAD, first, n);

        if (!term)
            return;
        if (lower) {
            to_lower(literal.head, literal.head_len);
            to_lower(literal.tail, literal.tail_len);
        }
        term->literal = literal;
        if (literal.whole)
            continue;
        term->check = INDEX_REGEX;
        term->what = regex;
        term->written = written;
    }
}

static void add_prefix(struct index_terms *terms, const uint8_t *bytes, size_t bits,
                       const struct policy_cidr *cidr, size_t first, size_t n)
{
    struct index_term *term = add(terms, INDEX_PREFIX, first, n);
    size_t len = (bits + 7) / 8;

    if (!term)
        return;
    term->bits = bits;
    term->literal.head_len = len;
    memcpy(term->literal.head, bytes, len);
    if (bits % 8)
        term->literal.head[len - 1] &= (char)(0xff00 >> bits % 8);
    if (cidr && cidr->except_len) {
        term->check = INDEX_EXCEPT;
        term->what = cidr;
    }
}

void index_add_cidr(struct index_terms *terms, const struct policy_cidr *cidr, size_t first,
                    size_t n)
{
    add_prefix(terms, cidr->cidr.network.ip, cidr->cidr.bits, cidr, first, n);
}

/* As few blocks of ports as make up the range, each as large as where it begins allows. */
static void add_ports(struct index_terms *terms, enum protocol protocol,
                      const struct policy_port *port, size_t first, size_t n)
{
    unsigned from = port->first;

    while (from <= port->last) {
        const uint8_t bytes[] = {(uint8_t)protocol, (uint8_t)(from >> 8), (uint8_t)from};
        unsigned bits = 16;

        while (bits && !(from & 1u << (16 - bits)) && from + (2u << (16 - bits)) - 1 <= port->last)
            bits--;
        add_prefix(terms, bytes, 8 + bits, NULL, first, n);
        from += 1u << (16 - bits);
    }
}

void index_add_port(struct index_terms *terms, const struct policy_port *port, size_t first,
                    size_t n)
{
    if (port->protocols & POLICY_TCP)
        add_ports(terms, PROTOCOL_TCP, port, first, n);
    if (port->protocols & POLICY_UDP)
        add_ports(terms, PROTOCOL_UDP, port, first, n);
}

/* ---- the key of each ---- */

/* The end of what must stand within, of one of few lengths. */
static struct span inner_of(const struct literal *literal)
{
    size_t len = literal->inner_len / INDEX_INNER_STEP * INDEX_INNER_STEP;

    return span_of(literal->inner + literal->inner_len - len, len);
}

struct span index_key_of(const struct index_term *term)
{
    if (term->text)
        return span_of_text(term->text);
    switch (term->kind) {
    case INDEX_TAIL:
        return span_of(term->literal.tail, term->literal.tail_len);
    case INDEX_INNER:
        return inner_of(&term->literal);
    default:
        return span_of(term->literal.head, term->literal.head_len);
    }
}

int index_compare_spans(struct span a, struct span b)
{
    int order = a.len && b.len ? memcmp(a.data, b.data, a.len < b.len ? a.len : b.len) : 0;

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_tail(const void *x, const void *y)
{
    const struct literal *a = &(*(const struct index_term *const *)x)->literal;
    const struct literal *b = &(*(const struct index_term *const *)y)->literal;

    return index_compare_spans(span_of(a->tail, a->tail_len), span_of(b->tail, b->tail_len));
}

/* How many from the first on are alike. */
static size_t alike(struct index_term **list, size_t len,
                    int (*compare_two)(const void *, const void *))
{
    size_t n = 1;

    while (n < len && compare_two(&list[0], &list[n]) == 0)
        n++;
    return n;
}

static int by_head(const void *x, const void *y)
{
    const struct literal *a = &(*(const struct index_term *const *)x)->literal;
    const struct literal *b = &(*(const struct index_term *const *)y)->literal;

    return index_compare_spans(span_of(a->head, a->head_len), span_of(b->head, b->head_len));
}

enum { PEERS_MANY = 8 }; /* what is within takes longer to look for: that only pays for more */

/* Of its head and its tail the one that fewer others have finds it; what is within, where that is
 * still many. */
static void choose_key(struct index_term *term, uint32_t head_peers, uint32_t tail_peers,
                       size_t *inners)
{
    const struct literal *literal = &term->literal;
    uint32_t peers;

    if (!literal->head_len)
        head_peers = UINT32_MAX;
    if (!literal->tail_len)
        tail_peers = UINT32_MAX;
    peers = head_peers < tail_peers ? head_peers : tail_peers;
    if (peers > PEERS_MANY && inner_of(literal).len && ++*inners <= BITS_MAX)
        term->kind = INDEX_INNER;
    else if (tail_peers < head_peers ||
             (tail_peers == head_peers && literal->tail_len > literal->head_len))
        term->kind = INDEX_TAIL;
}

void index_choose_keys(struct index_term **list, size_t len)
{
    size_t inners = 0, n;

    qsort(list, len, sizeof(struct index_term *), by_head);
    for (size_t i = 0; i < len; i += n) {
        n = alike(list + i, len - i, by_head);
        for (size_t j = 0; j < n; j++)
            list[i + j]->head_peers = (uint32_t)n;
    }
    qsort(list, len, sizeof(struct index_term *), by_tail);
    for (size_t i = 0; i < len; i += n) {
        n = alike(list + i, len - i, by_tail);
        for (size_t j = 0; j < n; j++)
            choose_key(list[i + j], list[i + j]->head_peers, (uint32_t)n, &inners);
    }
}
