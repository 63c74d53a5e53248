#include "proxy/http2/watch.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "proxy/http2/pseudo.h"
#include "proxy/wire/http2_preface.h"

enum {
    BLOCK_MAX = 256 << 10,   /* of a header block on the wire */
    TABLE_MAX = 1 << 20,     /* of an inflater's */
    FIELD_OVERHEAD = 32,     /* RFC 9113 section 6.5.2 */
    SETTINGS_TABLE_SIZE = 1, /* section 6.5.2 */
    SETTING = 6,
    PRIORITY = 5,
};

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

enum phase {
    PHASE_PREFACE,
    PHASE_HEADER,
    PHASE_PADDING_LENGTH, /* of DATA: its first byte */
    PHASE_DATA,
    PHASE_PADDING,
    PHASE_GATHER, /* a payload that is read when it is whole */
    PHASE_SKIP,   /* ... that is not read */
    PHASE_BAD,
};

struct http2_watch {
    enum phase phase;
    bool first; /* SETTINGS must come first */
    const char *reason;
    uint8_t begun[sizeof(preface)]; /* a preface or a frame's header */
    size_t begun_len;
    uint32_t left; /* of the phase */
    uint32_t padding;
    uint8_t type, flags;
    int32_t stream;
    uint8_t *payload; /* of a frame, or of a block over several */
    size_t payload_len, payload_size;
    int32_t block_stream;           /* a header block is not whole; 0: none is under way */
    bool block_end, block_promised; /* a push's: decoded, and not told */
    nghttp2_hd_inflater *inflater;
    uint32_t table_size;
    struct { /* a block's fields; offsets into text */
        uint32_t name_at, name_len, value_at, value_len;
    } fields[HTTP2_FIELDS_MAX];
    size_t fields_len;
    uint8_t *text;
    size_t text_len, text_size;
    struct facts_field regular[HTTP2_FIELDS_MAX];
};

static enum http2_watched bad(struct http2_watch *watch, const char *reason)
{
    watch->phase = PHASE_BAD;
    watch->reason = reason;
    return HTTP2_WATCHED_BAD;
}

static bool make_room(uint8_t **data, size_t *size, size_t wanted, size_t most)
{
    size_t grown = *size ? *size : 1024;
    uint8_t *more;

    if (wanted <= *size)
        return true;
    if (wanted > most)
        return false;
    while (grown < wanted)
        grown *= 2;
    more = realloc(*data, grown);
    if (!more)
        return false;
    *data = more;
    *size = grown;
    return true;
}

/* ---- header blocks ---- */

static bool keep_text(struct http2_watch *watch, const uint8_t *data, size_t len, uint32_t *at)
{
    if (!make_room(&watch->text, &watch->text_size, watch->text_len + len + 1, 2 * HTTP2_LIST_MAX))
        return false;
    if (len)
        memcpy(watch->text + watch->text_len, data, len);
    *at = (uint32_t)watch->text_len;
    watch->text_len += len;
    return true;
}

/* Fields beyond what is kept are decoded all the same, for later blocks refer to them. */
static void keep_field(struct http2_watch *watch, const nghttp2_nv *nv)
{
    uint32_t name_at, value_at;

    if (watch->fields_len == HTTP2_FIELDS_MAX ||
        watch->text_len + nv->namelen + nv->valuelen > HTTP2_LIST_MAX ||
        !keep_text(watch, nv->name, nv->namelen, &name_at) ||
        !keep_text(watch, nv->value, nv->valuelen, &value_at))
        return;
    watch->fields[watch->fields_len].name_at = name_at;
    watch->fields[watch->fields_len].name_len = (uint32_t)nv->namelen;
    watch->fields[watch->fields_len].value_at = value_at;
    watch->fields[watch->fields_len++].value_len = (uint32_t)nv->valuelen;
}

static bool inflate(struct http2_watch *watch)
{
    const uint8_t *at = watch->payload;
    size_t left = watch->payload_len;
    int flags = 0;

    watch->fields_len = watch->text_len = 0;
    do {
        nghttp2_nv nv;
        ssize_t n = nghttp2_hd_inflate_hd2(watch->inflater, &nv, &flags, at, left, 1);

        if (n < 0)
            return false;
        at += n;
        left -= (size_t)n;
        if (flags & NGHTTP2_HD_INFLATE_EMIT)
            keep_field(watch, &nv);
    } while (!(flags & NGHTTP2_HD_INFLATE_FINAL));
    nghttp2_hd_inflate_end_headers(watch->inflater);
    return true;
}

static enum http2_watched tell_head(struct http2_watch *watch, struct http2_told *told)
{
    struct http2_head *head = &told->head;

    bool fine = inflate(watch), promised = watch->block_promised;

    watch->payload_len = 0;
    if (!fine)
        return bad(watch, "a header block that cannot be decoded");
    if (promised) {
        watch->block_stream = 0;
        return HTTP2_WATCHED_MORE;
    }
    *told = (struct http2_told){.stream = watch->block_stream, .end = watch->block_end};
    head->fields = watch->regular;
    for (size_t i = 0; i < watch->fields_len; i++) {
        struct span name =
            span_of(watch->text + watch->fields[i].name_at, watch->fields[i].name_len);
        struct span value =
            span_of(watch->text + watch->fields[i].value_at, watch->fields[i].value_len);

        if (name.len && name.data[0] == ':')
            pseudo_take(head, name, value);
        else
            watch->regular[head->fields_len++] = (struct facts_field){name, value};
    }
    head->end = told->end;
    watch->block_stream = 0;
    return HTTP2_WATCHED_HEAD;
}

/* ---- frames ---- */

static bool over_continuation(const struct http2_watch *watch)
{
    return watch->block_stream &&
           (watch->type != NGHTTP2_CONTINUATION || watch->stream != watch->block_stream);
}

static enum http2_watched frame_begins(struct http2_watch *watch)
{
    const uint8_t *at = watch->begun;

    watch->left = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
    watch->type = at[3];
    watch->flags = at[4];
    watch->stream = (int32_t)((uint32_t)(at[5] & 0x7f) << 24 | (uint32_t)at[6] << 16 |
                              (uint32_t)at[7] << 8 | at[8]);
    watch->begun_len = 0;
    watch->padding = 0;
    if (watch->first && watch->type != NGHTTP2_SETTINGS)
        return bad(watch, "it does not begin with SETTINGS");
    watch->first = false;
    if (over_continuation(watch) || (watch->type == NGHTTP2_CONTINUATION && !watch->block_stream))
        return bad(watch, "a header block that is interrupted");
    switch (watch->type) {
    case NGHTTP2_DATA:
        if (!watch->stream)
            return bad(watch, "a body without a stream");
        watch->phase = watch->flags & NGHTTP2_FLAG_PADDED ? PHASE_PADDING_LENGTH : PHASE_DATA;
        if (watch->phase == PHASE_PADDING_LENGTH && !watch->left)
            return bad(watch, "padding without its length");
        return HTTP2_WATCHED_MORE;
    case NGHTTP2_HEADERS:
    case NGHTTP2_PUSH_PROMISE:
    case NGHTTP2_CONTINUATION:
    case NGHTTP2_SETTINGS:
    case NGHTTP2_RST_STREAM:
        if (!make_room(&watch->payload, &watch->payload_size, watch->payload_len + watch->left + 1,
                       BLOCK_MAX))
            return bad(watch, "a header block that is too long");
        watch->phase = PHASE_GATHER;
        return HTTP2_WATCHED_MORE;
    }
    watch->phase = PHASE_SKIP;
    return HTTP2_WATCHED_MORE;
}

/* Padding and priority of HEADERS, the promised stream of PUSH_PROMISE: what is left is the block.
 * from: where the frame's payload begins. */
static bool strip(struct http2_watch *watch, size_t from)
{
    size_t skip = 0, padding = 0, len = watch->payload_len - from;

    if (watch->type != NGHTTP2_CONTINUATION && watch->flags & NGHTTP2_FLAG_PADDED) {
        if (!len)
            return false;
        padding = watch->payload[from];
        skip = 1;
    }
    if (watch->type == NGHTTP2_HEADERS && watch->flags & NGHTTP2_FLAG_PRIORITY)
        skip += PRIORITY;
    if (watch->type == NGHTTP2_PUSH_PROMISE)
        skip += sizeof(uint32_t);
    if (skip + padding > len)
        return false;
    memmove(watch->payload + from, watch->payload + from + skip, len - skip - padding);
    watch->payload_len = from + len - skip - padding;
    return true;
}

static uint32_t number(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static enum http2_watched read_settings(struct http2_watch *watch, struct http2_told *told)
{
    bool any = false;

    if (watch->payload_len % SETTING)
        return bad(watch, "SETTINGS of an odd length");
    for (size_t at = 0; at < watch->payload_len; at += SETTING)
        if (watch->payload[at] == 0 && watch->payload[at + 1] == SETTINGS_TABLE_SIZE) {
            *told = (struct http2_told){.table_size = number(watch->payload + at + 2)};
            any = true;
        }
    watch->payload_len = 0;
    return any ? HTTP2_WATCHED_TABLE : HTTP2_WATCHED_MORE;
}

/* A frame that was gathered is whole. from: where its payload begins. */
static enum http2_watched read_frame(struct http2_watch *watch, size_t from,
                                     struct http2_told *told)
{
    watch->phase = PHASE_HEADER;
    if (watch->type == NGHTTP2_SETTINGS)
        return read_settings(watch, told);
    if (watch->type == NGHTTP2_RST_STREAM) {
        if (watch->payload_len != sizeof(uint32_t))
            return bad(watch, "RST_STREAM of an odd length");
        *told = (struct http2_told){.stream = watch->stream, .code = number(watch->payload)};
        watch->payload_len = 0;
        return HTTP2_WATCHED_RESET;
    }
    if (!strip(watch, from))
        return bad(watch, "more padding than there is room for");
    if (watch->type != NGHTTP2_CONTINUATION) {
        watch->block_stream = watch->stream;
        watch->block_promised = watch->type == NGHTTP2_PUSH_PROMISE;
        watch->block_end = !watch->block_promised && watch->flags & NGHTTP2_FLAG_END_STREAM;
    }
    if (!watch->block_stream)
        return bad(watch, "a head without a stream");
    return watch->flags & NGHTTP2_FLAG_END_HEADERS ? tell_head(watch, told) : HTTP2_WATCHED_MORE;
}

/* All that DATA says has come; its padding may not have. */
static void data_ends(struct http2_watch *watch)
{
    watch->left = watch->padding;
    watch->phase = watch->left ? PHASE_PADDING : PHASE_HEADER;
}

static enum http2_watched tell_body(struct http2_watch *watch, struct span bytes,
                                    struct http2_told *told)
{
    *told = (struct http2_told){.stream = watch->stream, .body = bytes};
    watch->left -= (uint32_t)bytes.len;
    if (!watch->left) {
        told->end = watch->flags & NGHTTP2_FLAG_END_STREAM;
        data_ends(watch);
    }
    return bytes.len || told->end ? HTTP2_WATCHED_BODY : HTTP2_WATCHED_MORE;
}

/* ---- bytes ---- */

static size_t gather(struct http2_watch *watch, struct span bytes, size_t wanted)
{
    size_t take = wanted - watch->begun_len < bytes.len ? wanted - watch->begun_len : bytes.len;

    memcpy(watch->begun + watch->begun_len, bytes.data, take);
    watch->begun_len += take;
    return take;
}

/* One step: takes some of the bytes, at least one where there is one; or ends a phase that wants
 * none. */
static enum http2_watched step(struct http2_watch *watch, struct span bytes, size_t *taken,
                               struct http2_told *told)
{
    size_t most = watch->left < bytes.len ? watch->left : bytes.len, from;

    *taken = 0;
    switch (watch->phase) {
    case PHASE_PREFACE:
        *taken = gather(watch, bytes, sizeof(preface) - 1);
        if (memcmp(watch->begun, preface, watch->begun_len) != 0)
            return bad(watch, "no client's preface");
        if (watch->begun_len == sizeof(preface) - 1) {
            watch->begun_len = 0;
            watch->phase = PHASE_HEADER;
        }
        return HTTP2_WATCHED_MORE;
    case PHASE_HEADER:
        *taken = gather(watch, bytes, HTTP2_FRAME_HEADER);
        return watch->begun_len == HTTP2_FRAME_HEADER ? frame_begins(watch) : HTTP2_WATCHED_MORE;
    case PHASE_PADDING_LENGTH:
        *taken = 1;
        watch->padding = bytes.data[0];
        if (watch->padding >= watch->left)
            return bad(watch, "more padding than there is room for");
        watch->left -= 1 + watch->padding;
        watch->phase = PHASE_DATA;
        return HTTP2_WATCHED_MORE;
    case PHASE_DATA:
        *taken = most;
        return tell_body(watch, span_of(bytes.data, most), told);
    case PHASE_GATHER:
        if (most)
            memcpy(watch->payload + watch->payload_len, bytes.data, most);
        watch->payload_len += most;
        watch->left -= (uint32_t)most;
        *taken = most;
        if (watch->left)
            return HTTP2_WATCHED_MORE;
        from = (size_t)(watch->begun[0] << 16 | watch->begun[1] << 8 | watch->begun[2]);
        return read_frame(watch, watch->payload_len - from, told);
    case PHASE_PADDING:
    case PHASE_SKIP:
        *taken = most;
        watch->left -= (uint32_t)most;
        if (!watch->left)
            watch->phase = PHASE_HEADER;
        return HTTP2_WATCHED_MORE;
    case PHASE_BAD:
        break;
    }
    return HTTP2_WATCHED_BAD;
}

/* Its phase is over without a further byte. */
static bool wants_none(const struct http2_watch *watch)
{
    return !watch->left && (watch->phase == PHASE_DATA || watch->phase == PHASE_GATHER ||
                            watch->phase == PHASE_SKIP);
}

enum http2_watched http2_watch_feed(struct http2_watch *watch, struct span bytes, size_t *consumed,
                                    struct http2_told *told)
{
    enum http2_watched status = HTTP2_WATCHED_MORE;
    size_t taken;

    *consumed = 0;
    while (status == HTTP2_WATCHED_MORE && (*consumed < bytes.len || wants_none(watch))) {
        status = step(watch, span_of(bytes.data + *consumed, bytes.len - *consumed), &taken, told);
        *consumed += taken;
    }
    return status;
}

size_t http2_watch_skip(struct http2_watch *watch, uint64_t len, struct http2_told *told)
{
    size_t most = len < watch->left ? (size_t)len : watch->left;

    if (!most ||
        (watch->phase != PHASE_DATA && watch->phase != PHASE_PADDING && watch->phase != PHASE_SKIP))
        return 0;
    if (watch->phase == PHASE_DATA) {
        tell_body(watch, span_of(NULL, most), told);
        told->body = (struct span){0};
    } else {
        *told = (struct http2_told){0};
        watch->left -= (uint32_t)most;
        if (!watch->left)
            watch->phase = PHASE_HEADER;
    }
    return most;
}

void http2_watch_table(struct http2_watch *watch, uint32_t size)
{
    if (size <= watch->table_size || size > TABLE_MAX)
        return;
    watch->table_size = size;
    nghttp2_hd_inflate_change_table_size(watch->inflater, size);
}

const char *http2_watch_reason(const struct http2_watch *watch)
{
    return watch->reason ? watch->reason : "";
}

struct http2_watch *http2_watch_new(bool with_preface)
{
    CLEANUP(http2_watch_free) struct http2_watch *watch = calloc(1, sizeof(*watch));

    if (!watch || nghttp2_hd_inflate_new(&watch->inflater) != 0)
        return NULL;
    watch->phase = with_preface ? PHASE_PREFACE : PHASE_HEADER;
    watch->first = true;
    watch->table_size = NGHTTP2_DEFAULT_HEADER_TABLE_SIZE;
    return TAKE(watch);
}

void http2_watch_free(struct http2_watch **watch)
{
    struct http2_watch *gone = TAKE(*watch);

    if (!gone)
        return;
    nghttp2_hd_inflate_del(gone->inflater);
    free(gone->payload);
    free(gone->text);
    free(gone);
}
