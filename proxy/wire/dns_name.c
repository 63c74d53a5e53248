/* dns_name: the walk along one name. Each run of labels lies wholly before the run that pointed
 * to it, so the walk ends however the message was made; the number of pointers is bounded
 * besides, or thousands of records could each lead through thousands of them. */
#include "proxy/wire/dns_walk.h"

enum {
    LABEL_MAX = 63,
    POINTER = 0xc0,    /* the two upper bits; 01 and 10 are no labels (RFC 6891 section 5) */
    POINTERS_MAX = 32, /* ip6.arpa has names of 34 labels; Go gives up at 10 pointers */
};

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

static const char *take_label(struct span *run, size_t len, struct dns_name *name)
{
    struct span label;

    if (len > LABEL_MAX)
        return "a label is of an unknown kind";
    if (!span_take(run, len, &label))
        return "a label is cut off";
    if (name->len + 1 + len > DNS_NAME_WIRE_MAX)
        return "a name is longer than 255 bytes";
    name->wire[name->len++] = (uint8_t)len;
    for (size_t i = 0; i < len; i++)
        name->wire[name->len++] = lower(label.data[i]);
    return NULL;
}

/* Moves *run, which began at *begin, to where the pointer leads: before itself. */
static const char *follow(struct span message, uint32_t target, size_t *begin, struct span *run)
{
    if (target < DNS_HEADER_LEN)
        return "a name points into the header";
    if (target >= *begin)
        return "a name points forward";
    *run = span_of(message.data + target, *begin - target);
    *begin = target;
    return NULL;
}

const char *dns_name_take(struct span message, struct span *from, struct dns_name *out)
{
    size_t begin = (size_t)(from->data - message.data), pointers = 0;
    struct span run = *from, behind = *from;
    uint32_t len, low;
    const char *why;

    out->len = 0;
    do {
        if (!span_take_uint(&run, 1, &len))
            return "a name is cut off";
        if (len < POINTER) {
            why = take_label(&run, len, out);
            if (!pointers)
                behind = run;
        } else {
            if (!span_take_uint(&run, 1, &low))
                return "a pointer is cut off";
            if (!pointers)
                behind = run;
            if (++pointers > POINTERS_MAX)
                return "a name has too many pointers";
            why = follow(message, (len & ~(uint32_t)POINTER) << 8 | low, &begin, &run);
        }
        if (why)
            return why;
    } while (len);
    *from = behind;
    return NULL;
}

void dns_name_skip(struct span *from)
{
    struct span label;

    while (from->len && from->data[0] < POINTER)
        if (!span_take_vector(from, 1, &label) || !label.len)
            return;
    span_take(from, 2, &label);
}

bool dns_name_equal(const struct dns_name *a, const struct dns_name *b)
{
    return a->len == b->len && memcmp(a->wire, b->wire, a->len) == 0;
}

static char *put_escaped(char *out, uint8_t c)
{
    bool plain = c > ' ' && c < 0x7f;

    if (plain && c != '.' && c != '\\') {
        *out++ = (char)c;
        return out;
    }
    *out++ = '\\';
    if (!plain) {
        *out++ = (char)('0' + c / 100);
        *out++ = (char)('0' + c / 10 % 10);
        c = '0' + c % 10;
    }
    *out++ = (char)c;
    return out;
}

/* RFC 1035 section 5.1. Fits: 250 bytes in 4 labels, each as \DDD, are 1004 and the NUL. */
const char *dns_name_text(const struct dns_name *name, char out[DNS_NAME_TEXT_MAX])
{
    struct span rest = span_of(name->wire, name->len), label;
    char *end = out;

    while (span_take_vector(&rest, 1, &label) && label.len) {
        for (size_t i = 0; i < label.len; i++)
            end = put_escaped(end, label.data[i]);
        *end++ = '.';
    }
    if (end == out)
        *end++ = '.';
    *end = 0;
    return out;
}
