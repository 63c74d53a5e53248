/* http1_fuzz: any bytes, whole and in pieces, must be told alike; a head that is told obeys the
 * rules by which it was accepted, looked at anew; and its message ends where a reader that knows
 * nothing but lengths and chunks finds its end.
 *
 * Input: a byte of flags (bit 0 answers, 1 to HEAD, 2 to CONNECT, 3 upgrades are taken), a byte
 * that bounds the pieces, a byte that seeds their lengths; then the connection's bytes. */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/wire/http1.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { EVENTS_MAX = 1024 };

struct telling {
    size_t len;
    struct {
        enum http1_status status;
        size_t at;
        uint64_t body_bytes;
    } events[EVENTS_MAX];
    enum http1_status end;
    size_t ends_at; /* of the message under way, by the model; SIZE_MAX: not within these bytes */
};

/* Lines end in CRLF and nowhere else, and none is folded. */
static void check_lines(struct span head)
{
    CHECK(head.len >= 4 && memcmp(head.data + head.len - 4, "\r\n\r\n", 4) == 0);
    for (size_t i = 0; i < head.len; i++) {
        uint8_t c = head.data[i];

        CHECK(c != 0x7f && (c >= ' ' || c == '\t' || c == '\r' || c == '\n'));
        CHECK(c != '\r' || head.data[i + 1] == '\n');
        CHECK(c != '\n' || (i && head.data[i - 1] == '\r'));
        CHECK(c != '\n' || i + 1 == head.len ||
              (head.data[i + 1] != ' ' && head.data[i + 1] != '\t'));
    }
}

static void check_fields(const struct http1_head *head, const uint8_t *base)
{
    size_t hosts = 0, lengths = 0, codings = 0;

    CHECK(head->fields_len <= HTTP1_FIELDS_MAX);
    for (size_t i = 0; i < head->fields_len; i++) {
        const struct http1_field *field = &head->fields[i];
        struct span name = span_of(base + field->name_at, field->name_len);
        struct span value = span_of(base + field->value_at, field->value_len);

        CHECK(name.len && field->name_at + field->name_len < field->value_at);
        CHECK(field->value_at + field->value_len <= head->len - 4);
        CHECK(base[field->name_at - 1] == '\n' && base[field->name_at + field->name_len] == ':');
        CHECK(!memchr(name.data, ' ', name.len) && !memchr(value.data, '\n', value.len));
        if (value.len)
            CHECK(value.data[0] > ' ' && value.data[value.len - 1] > ' ');
        hosts += span_equal_nocase(name, "host");
        lengths += span_equal_nocase(name, "content-length");
        codings += span_equal_nocase(name, "transfer-encoding");
    }
    CHECK(lengths + codings <= 1);
    CHECK(head->code || (hosts <= 1 && (hosts == 1 || head->minor == 0)));
}

static void check_head(const struct http1_head *head, struct span before, size_t at)
{
    const uint8_t *base = before.data + at - head->len;
    char host[256];
    struct span value;

    CHECK(head->len <= at);
    check_lines(span_of(base, head->len));
    check_fields(head, base);
    CHECK(head->major == 1 && head->minor <= 1);
    if (head->code) {
        CHECK(head->code >= 100 && head->code <= 999);
    } else {
        CHECK(head->method_len && head->target_len);
        CHECK(head->method_at + head->method_len + 1 == head->target_at);
        CHECK(memcmp(base + head->target_at + head->target_len, " HTTP/1.", 8) == 0);
        CHECK(http1_looks_like_request(
                  span_of(base + head->method_at, head->len - head->method_at)) == 1);
        if (http1_authority(head, base, host, sizeof(host)))
            CHECK(host[0]);
    }
    http1_find(head, base, "host", &value);
}

/* ---- the model ---- */

static size_t behind_line(struct span all, size_t at)
{
    const uint8_t *end = at < all.len ? memmem(all.data + at, all.len - at, "\r\n", 2) : NULL;

    return end ? (size_t)(end - all.data) + 2 : SIZE_MAX;
}

/* Behind chunks and trailer; what cannot be counted has no end. */
static size_t behind_chunks(struct span all, size_t at)
{
    for (;;) {
        size_t next = behind_line(all, at);
        uint64_t size;

        if (next == SIZE_MAX)
            return SIZE_MAX;
        size = strtoull((const char *)all.data + at, NULL, 16); /* ends at CR or ';' */
        if (!size)
            at = next;
        while (!size) {
            next = behind_line(all, at);
            if (next == SIZE_MAX || next == at + 2)
                return next;
            at = next;
        }
        if (size > all.len - next || all.len - next - size < 2)
            return SIZE_MAX;
        at = next + (size_t)size + 2;
    }
}

static size_t message_ends(const struct http1_head *head, const uint8_t *base, struct span all,
                           size_t at, uint8_t flags)
{
    struct span value;
    uint64_t length = 0;

    if (head->code && (head->code / 100 == 1 || head->code == 204 || head->code == 304 ||
                       flags & 2 || (flags & 4 && head->code / 100 == 2)))
        return at;
    if (http1_find(head, base, "transfer-encoding", &value))
        return behind_chunks(all, at);
    if (!http1_find(head, base, "content-length", &value))
        return head->code ? SIZE_MAX : at;
    for (size_t i = 0; i < value.len; i++)
        length = length * 10 + (uint64_t)(value.data[i] - '0');
    return length > all.len - at ? SIZE_MAX : at + (size_t)length;
}

/* flags: those of the message that is read, which a final answer uses up. */
static void check_end(const struct http1 *http1, enum http1_status status, struct span all,
                      size_t total, uint8_t *flags, struct telling *telling)
{
    const struct http1_head *head = http1_head(http1);

    if (status == HTTP1_HEAD)
        telling->ends_at = message_ends(head, all.data + total - head->len, all, total, *flags);
    else if (status != HTTP1_BAD)
        CHECK(total == telling->ends_at);
    if (status == HTTP1_DONE && head->code / 100 != 1)
        *flags &= (uint8_t)~6;
}

static bool feed(struct http1 *http1, struct span piece, struct span all, size_t *total,
                 uint8_t *flags, struct telling *telling)
{
    for (;;) {
        size_t consumed = SIZE_MAX;
        enum http1_status status = http1_feed(http1, piece, &consumed);

        CHECK(consumed <= piece.len);
        *total += consumed;
        piece = span_of(piece.data + consumed, piece.len - consumed);
        if (status == HTTP1_MORE) {
            CHECK(!piece.len);
            return true;
        }
        CHECK(telling->len < EVENTS_MAX);
        telling->events[telling->len].status = status;
        telling->events[telling->len].body_bytes = http1_body_bytes(http1);
        telling->events[telling->len++].at = *total;
        CHECK(http1_body_bytes(http1) <= *total);
        CHECK(http1_idle(http1) == (status == HTTP1_DONE));
        if (status == HTTP1_HEAD)
            check_head(http1_head(http1), all, *total);
        check_end(http1, status, all, *total, flags, telling);
        if (status == HTTP1_BAD)
            CHECK(http1_reason(http1)[0]);
        if (status == HTTP1_BAD || status == HTTP1_RAW) { /* and so it stays */
            CHECK(http1_feed(http1, all, &consumed) == status && !consumed);
            return false;
        }
        if (status == HTTP1_DONE)
            http1_upgraded(http1, *flags & 8);
    }
}

static void tell(struct span all, uint8_t flags, uint8_t most, uint32_t seed,
                 struct telling *telling)
{
    struct http1 *http1 = http1_new(flags & 1 ? HTTP1_RESPONSE : HTTP1_REQUEST);
    size_t total = 0;
    bool more = true;

    CHECK(http1);
    http1_answers(http1, flags & 2, flags & 4);
    for (size_t at = 0, len; more && at < all.len; at += len) {
        uint8_t *piece;

        seed = seed * 1664525 + 1013904223;
        len = most ? (seed >> 24) % most + 1 : all.len;
        if (len > all.len - at)
            len = all.len - at;
        piece = malloc(len);
        CHECK(piece);
        memcpy(piece, all.data + at, len);
        more = feed(http1, span_of(piece, len), all, &total, &flags, telling);
        free(piece);
    }
    telling->end = http1_eof(http1);
    CHECK(telling->end == HTTP1_DONE || telling->end == HTTP1_BAD);
    CHECK(http1_eof(http1) == telling->end);
    http1_free(&http1);
    CHECK(!http1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct telling whole, pieces;
    struct span all;

    if (size < 3 || size > EVENTS_MAX * 8)
        return 0;
    all = span_of(data + 3, size - 3);
    whole.len = pieces.len = 0;
    tell(all, data[0], 0, 0, &whole);
    tell(all, data[0], data[1] ? data[1] : 1, data[2], &pieces);
    CHECK(whole.len == pieces.len && whole.end == pieces.end);
    for (size_t i = 0; i < whole.len; i++) {
        CHECK(whole.events[i].status == pieces.events[i].status);
        CHECK(whole.events[i].at == pieces.events[i].at);
        CHECK(whole.events[i].body_bytes == pieces.events[i].body_bytes);
    }
    return 0;
}
