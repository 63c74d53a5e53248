/* dns_strip: a message copied without what dns_svcb.c takes out. What goes makes the rest move up,
 * so the pointers to what stood behind it are moved along; then each name is held against what it
 * was. */
#include "proxy/wire/dns_walk.h"

enum {
    /* at least: owner 1, type to RDLENGTH 10, priority 2, target 1, a parameter 4 */
    RECORD_MIN = 18,
    CUTS_MAX = DNS_MESSAGE_MAX / RECORD_MIN,
    POINTER = 0xc0,
    POINTER_BITS = 0xc000,
};

struct cut { /* parameters, which stood from `at` to before `behind` */
    uint16_t at, behind;
    uint16_t moved; /* by how much what stood behind them stands earlier now */
};
struct copy {
    struct span message;
    uint8_t *out;
    size_t len;
    size_t cuts_len;
    struct cut cuts[CUTS_MAX]; /* rising */
};

static size_t offset_of(const struct copy *copy, struct span part)
{
    return (size_t)(part.data - copy->message.data);
}

/* Where in the copy that is which was at offset; 0, where no name is, when it was cut. */
static size_t moved(const struct copy *copy, size_t offset)
{
    size_t low = 0, high = copy->cuts_len; /* the cuts before low begin at offset or before */

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (copy->cuts[middle].at <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (!low)
        return offset;
    return offset < copy->cuts[low - 1].behind ? 0 : offset - copy->cuts[low - 1].moved;
}

/* ---- copying ---- */

static void put(struct copy *copy, struct span bytes)
{
    if (bytes.len)
        memcpy(copy->out + copy->len, bytes.data, bytes.len);
    copy->len += bytes.len;
}

static void put16(uint8_t *out, size_t value)
{
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
}

static size_t get16(const uint8_t *from)
{
    return (size_t)from[0] << 8 | from[1];
}

static void put_name(struct copy *copy, struct span name)
{
    struct span rest = name, label;
    uint32_t pointer;

    put(copy, name);
    while (rest.len && rest.data[0] < POINTER && span_take_vector(&rest, 1, &label))
        ;
    if (span_take_uint(&rest, 2, &pointer))
        put16(copy->out + copy->len - 2,
              POINTER_BITS | moved(copy, pointer & ~(uint32_t)POINTER_BITS));
}

static void put_params(struct copy *copy, struct span params)
{
    size_t len = dns_params_strip(params, copy->out + copy->len), at = offset_of(copy, params);
    struct cut *cut = &copy->cuts[copy->cuts_len];

    copy->len += len;
    *cut = (struct cut){
        .at = (uint16_t)at,
        .behind = (uint16_t)(at + params.len),
        .moved = (uint16_t)(at + params.len - copy->len),
    };
    copy->cuts_len++;
}

static void put_record(struct copy *copy, const struct dns_record *record)
{
    struct span tail = record->rdata, part = {0};
    size_t begin;

    put_name(copy, record->owner);
    put(copy, span_of(record->owner.data + record->owner.len, 10)); /* type to RDLENGTH */
    begin = copy->len;
    for (size_t i = 0; i < record->names_len; i++) {
        span_take(&tail, (size_t)(record->names[i].data - tail.data), &part);
        put(copy, part);
        span_take(&tail, record->names[i].len, &part);
        put_name(copy, part);
    }
    if (dns_params_hiding(record->params))
        put_params(copy, tail);
    else
        put(copy, tail);
    put16(copy->out + begin - 2, copy->len - begin);
}

/* ---- holding against what it was ---- */

struct seen { /* the offsets in the old message at which a label was compared already */
    uint8_t bits[DNS_MESSAGE_MAX / 8 + 1];
};

static bool see(struct seen *seen, size_t offset)
{
    uint8_t bit = (uint8_t)(1 << offset % 8);
    bool before = seen->bits[offset / 8] & bit;

    seen->bits[offset / 8] |= bit;
    return before;
}

static bool same_name(const struct copy *copy, size_t at, struct seen *seen)
{
    const uint8_t *old = copy->message.data;
    size_t now = moved(copy, at), len;

    for (; now && !see(seen, at); now = moved(copy, at)) {
        len = old[at] < POINTER ? 1 + old[at] : 2;
        if (now + len > copy->len)
            return false;
        if (old[at] >= POINTER) {
            at = get16(old + at) & ~(size_t)POINTER_BITS;
            if (get16(copy->out + now) != (POINTER_BITS | moved(copy, at)))
                return false;
            continue;
        }
        if (memcmp(copy->out + now, old + at, len) != 0)
            return false;
        if (!old[at])
            return true;
        at += len;
        if (moved(copy, at) != now + len)
            return false;
    }
    return now != 0;
}

/* No name of an honest server runs through parameters, lengths or other names' pointers. One that
 * does is another name now, or none. */
static bool same_names(const struct copy *copy, struct dns_cursor cursor)
{
    struct seen seen = {{0}};
    struct dns_record record;
    const char *why = NULL;

    while (dns_record_next(&cursor, &record, &why)) {
        if (!same_name(copy, offset_of(copy, record.owner), &seen))
            return false;
        for (size_t i = 0; i < record.names_len; i++)
            if (!same_name(copy, offset_of(copy, record.names[i]), &seen))
                return false;
    }
    return true;
}

static unsigned hiding(struct dns_cursor cursor)
{
    struct dns_record record;
    const char *why = NULL;
    unsigned found = 0;

    while (dns_record_next(&cursor, &record, &why))
        found |= dns_params_hiding(record.params);
    return found;
}

size_t dns_strip(const struct dns *answer, uint8_t *out, unsigned *stripped)
{
    struct copy copy = {.message = answer->message, .out = out};
    struct dns_cursor begin, cursor;
    struct dns_record record;
    const char *why = NULL;

    dns_cursor_checked(&begin, answer->message);
    *stripped = hiding(begin);
    if (!*stripped)
        return 0;
    put(&copy, span_of(answer->message.data, answer->message.len - begin.rest.len));
    for (cursor = begin; dns_record_next(&cursor, &record, &why);)
        put_record(&copy, &record);
    if (!same_names(&copy, begin))
        return dns_refuse(answer, DNS_SERVFAIL, out, answer->message.len);
    out[3] &= (uint8_t)~DNS_FLAG_AUTHENTIC; /* what was signed was another answer */
    return copy.len;
}
