#include "proxy/http2/fields.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "proxy/http2/pseudo.h"

enum {
    FIELD_OVERHEAD = 32, /* RFC 9113 section 6.5.2 */
    FIELDS_FIRST = 32,   /* entries: more than most heads have */
    BOMB = 4,            /* times HTTP2_LIST_MAX */
    /* What was never on the wire with this block can stand in the tables, and each entry is wanted
     * once: 4 kB of the dynamic one (our SETTINGS_HEADER_TABLE_SIZE), little of the static one. */
    TABLES = 12 << 10,
    SQUEEZED = 4, /* literals, by Huffman and the overhead of short fields */
};

static void forget(struct fields *fields)
{
    for (size_t i = 0; i < fields->len; i++) {
        nghttp2_rcbuf_decref(fields->list[i].name);
        nghttp2_rcbuf_decref(fields->list[i].value);
    }
    fields->len = 0;
}

void fields_begin(struct fields *fields)
{
    forget(fields);
    fields->bytes = fields->pseudo = 0;
    fields->status = FIELDS_FINE;
    fields->open = true;
}

static bool make_room(struct fields *fields)
{
    size_t size = fields->size ? 2 * fields->size : FIELDS_FIRST;
    void *grown;

    if (fields->len < fields->size)
        return true;
    grown = realloc(fields->list, size * sizeof(*fields->list));
    if (!grown)
        return false;
    fields->list = grown;
    fields->size = size;
    return true;
}

enum fields_status fields_add(struct fields *fields, nghttp2_rcbuf *name, nghttp2_rcbuf *value,
                              uint8_t flags)
{
    nghttp2_vec text = nghttp2_rcbuf_get_buf(name);

    fields->bytes += text.len + nghttp2_rcbuf_get_buf(value).len + FIELD_OVERHEAD;
    if (fields->bytes > BOMB * HTTP2_LIST_MAX)
        fields->status = FIELDS_BOMB;
    else if (fields->status == FIELDS_FINE &&
             (fields->bytes > HTTP2_LIST_MAX || fields->len == HTTP2_FIELDS_MAX))
        fields->status = FIELDS_TOO_LONG;
    else if (fields->status == FIELDS_FINE && !make_room(fields))
        fields->status = FIELDS_NO_MEMORY;
    if (fields->status != FIELDS_FINE)
        return fields->status;
    nghttp2_rcbuf_incref(name);
    nghttp2_rcbuf_incref(value);
    fields->list[fields->len].name = name;
    fields->list[fields->len].value = value;
    fields->list[fields->len++].flags = flags & NGHTTP2_NV_FLAG_NO_INDEX;
    /* they come first, or nghttp2 had refused the block (section 8.3) */
    if (text.len && text.base[0] == ':')
        fields->pseudo = fields->len;
    return FIELDS_FINE;
}

void fields_weigh(struct fields *fields, size_t wire)
{
    if (fields->status == FIELDS_FINE && fields->bytes > TABLES + SQUEEZED * wire)
        fields->status = FIELDS_TOO_LONG;
}

void fields_done(struct fields *fields)
{
    forget(fields);
    fields->open = false;
    if (fields->size > FIELDS_FIRST) {
        free(TAKE(fields->list));
        fields->size = 0;
    }
}

void fields_fini(struct fields *fields)
{
    forget(fields);
    free(TAKE(fields->list));
    fields->size = 0;
}

/* ---- what they say ---- */

static struct span span_of_rcbuf(nghttp2_rcbuf *rcbuf)
{
    nghttp2_vec vec = nghttp2_rcbuf_get_buf(rcbuf);

    return span_of(vec.base, vec.len);
}

void fields_head(const struct fields *fields, struct facts_field *regular, struct http2_head *head)
{
    *head = (struct http2_head){.fields = regular, .fields_len = fields->len - fields->pseudo};
    for (size_t i = 0; i < fields->pseudo; i++)
        pseudo_take(head, span_of_rcbuf(fields->list[i].name),
                    span_of_rcbuf(fields->list[i].value));
    for (size_t i = 0; i < head->fields_len; i++) {
        regular[i].name = span_of_rcbuf(fields->list[fields->pseudo + i].name);
        regular[i].value = span_of_rcbuf(fields->list[fields->pseudo + i].value);
    }
}

size_t fields_nv(const struct fields *fields, nghttp2_nv *out)
{
    for (size_t i = 0; i < fields->len; i++) {
        nghttp2_vec name = nghttp2_rcbuf_get_buf(fields->list[i].name);
        nghttp2_vec value = nghttp2_rcbuf_get_buf(fields->list[i].value);

        out[i] = (nghttp2_nv){name.base, value.base, name.len, value.len, fields->list[i].flags};
    }
    return fields->len;
}

struct fields_copy *fields_copy(const struct fields *fields)
{
    size_t bytes = fields->bytes - fields->len * FIELD_OVERHEAD;
    struct fields_copy *copy = malloc(sizeof(*copy) + fields->len * sizeof(*copy->nv) + bytes);
    uint8_t *at;

    if (!copy)
        return NULL;
    copy->len = fields_nv(fields, copy->nv);
    at = (uint8_t *)(copy->nv + copy->len);
    for (size_t i = 0; i < copy->len; i++) {
        nghttp2_nv *nv = &copy->nv[i];

        nv->name = memcpy(at, nv->name, nv->namelen);
        at += nv->namelen;
        nv->value = memcpy(at, nv->value, nv->valuelen);
        at += nv->valuelen;
    }
    return copy;
}
