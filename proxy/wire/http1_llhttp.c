/* http1_llhttp: shows llhttp a message section by section, and hears what it tells. See http1.c. */
#include <stddef.h>

#include "proxy/wire/http1_state.h"

#if LLHTTP_VERSION_MAJOR < 9 && !LLHTTP_STRICT_MODE
#error "llhttp 8 must be built with LLHTTP_STRICT_MODE=1"
#endif

enum { CHUNK_LINE_MAX = 4096 };

/* ---- what llhttp tells ---- */

/* For callbacks: the reason, and llhttp's word for "stop". */
static int stop(struct http1 *http1, const char *reason)
{
    http1->reason = reason;
    return reason ? -1 : 0;
}

static uint32_t offset_of(const struct http1 *http1, const char *at)
{
    return (uint32_t)(http1->fed_at + (size_t)((const uint8_t *)at - http1->fed));
}

static int on_method(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http1 *http1 = llhttp->data;

    if (!http1->head.method_len)
        http1->head.method_at = offset_of(http1, at);
    http1->head.method_len += (uint32_t)len;
    return 0;
}

static int on_target(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http1 *http1 = llhttp->data;

    if (!http1->head.target_len)
        http1->head.target_at = offset_of(http1, at);
    http1->head.target_len += (uint32_t)len;
    http1_rules_target(&http1->rules, span_of(at, len));
    return 0;
}

static int on_target_complete(llhttp_t *llhttp)
{
    struct http1 *http1 = llhttp->data;

    return stop(http1, http1_rules_target_ends(&http1->rules, llhttp->method == HTTP_CONNECT));
}

static int on_name(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http1 *http1 = llhttp->data;

    if (!http1->in_name)
        http1->field = (struct http1_field){.name_at = offset_of(http1, at)};
    http1->in_name = true;
    http1->field.name_len += (uint32_t)len;
    http1_rules_name(&http1->rules, span_of(at, len));
    return 0;
}

static int on_name_complete(llhttp_t *llhttp)
{
    struct http1 *http1 = llhttp->data;

    http1->in_name = false;
    return stop(http1, http1_rules_name_ends(&http1->rules, llhttp->http_minor));
}

static int on_value(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http1 *http1 = llhttp->data;
    struct http1_field *field = &http1->field;
    uint32_t from = offset_of(http1, at);

    http1_rules_value(&http1->rules, span_of(at, len));
    if (!http1->in_value && len)
        field->value_at = from;
    http1->in_value |= len > 0;
    while (len && (at[len - 1] == ' ' || at[len - 1] == '\t'))
        len--;
    if (len) /* blanks at the end of a piece count once something follows them */
        field->value_len = from + (uint32_t)len - field->value_at;
    return 0;
}

static int on_value_complete(llhttp_t *llhttp)
{
    struct http1 *http1 = llhttp->data;
    struct http1_head *head = &http1->head;

    http1->in_value = false;
    if (!http1->field.value_len)
        http1->field.value_at = http1->field.name_at + http1->field.name_len + 1;
    if (http1->rules.trailer) {
        if (http1->trailer_fields++ == HTTP1_FIELDS_MAX)
            return stop(http1, "too many trailer fields");
    } else {
        if (head->fields_len == HTTP1_FIELDS_MAX)
            return stop(http1, "too many fields");
        head->fields[head->fields_len++] = http1->field;
    }
    return stop(http1, http1_rules_value_ends(&http1->rules));
}

bool http1_turns_raw(const struct http1 *http1)
{
    return http1->kind == HTTP1_RESPONSE &&
           (http1->head.code == 101 || (http1->connect && http1->head.code / 100 == 2));
}

/* RFC 9112 section 6.3, rules 1 and 2: no body, whatever the fields say. */
static bool bodiless(const struct http1 *http1)
{
    uint16_t code = http1->head.code;

    return http1->kind == HTTP1_RESPONSE && (http1->head_request || http1_turns_raw(http1) ||
                                             code / 100 == 1 || code == 204 || code == 304);
}

void http1_chunk_line_begins(struct http1 *http1)
{
    http1->phase = PHASE_CHUNK_LINE;
    http1_guard_begin(&http1->guard, HTTP1_CHUNK_LINE, CHUNK_LINE_MAX);
}

/* Sets the phase for what follows the head. Returns llhttp's code: 1 is "there is no body". */
static int on_head_complete(llhttp_t *llhttp)
{
    struct http1 *http1 = llhttp->data;
    struct http1_rules *rules = &http1->rules;
    struct http1_head *head = &http1->head;
    bool chunked = llhttp->flags & F_CHUNKED;
    bool length = llhttp->flags & F_CONTENT_LENGTH;

    if (chunked != http1_rules_seen(rules, HTTP1_RULE_TRANSFER_ENCODING) ||
        length != http1_rules_seen(rules, HTTP1_RULE_CONTENT_LENGTH))
        return stop(http1, "an unclear message length");
    head->major = llhttp->http_major;
    head->minor = llhttp->http_minor;
    head->keep_alive = !rules->close && (head->minor > 0 || rules->keep_alive);
    if (http1->kind == HTTP1_REQUEST) {
        head->upgrade = llhttp->method == HTTP_CONNECT ||
                        (rules->upgrade && http1_rules_seen(rules, HTTP1_RULE_UPGRADE));
        if (head->minor > 0 && !http1_rules_seen(rules, HTTP1_RULE_HOST))
            return stop(http1, "no Host");
        if (llhttp->method == HTTP_CONNECT && (chunked || llhttp->content_length))
            return stop(http1, "a CONNECT with a body");
    } else {
        head->code = llhttp->status_code;
    }
    if (bodiless(http1)) {
        http1->phase = PHASE_ENDED;
        return 1;
    }
    if (chunked) {
        http1_chunk_line_begins(http1);
    } else if (length || http1->kind == HTTP1_REQUEST) {
        http1->phase = PHASE_BODY;
        http1->left = llhttp->content_length;
    } else {
        http1->phase = PHASE_UNTIL_CLOSE;
        head->keep_alive = false;
    }
    head->body = http1->phase != PHASE_BODY || http1->left;
    return 0;
}

static int on_chunk_header(llhttp_t *llhttp)
{
    struct http1 *http1 = llhttp->data;

    if (llhttp->content_length > INT64_MAX - 2) /* negative, for some readers */
        return stop(http1, "an overlong chunk size");
    if (llhttp->content_length) {
        http1->phase = PHASE_CHUNK;
        http1->left = llhttp->content_length + 2;
    } else {
        http1->phase = PHASE_TRAILER;
        http1->rules.trailer = true;
        http1_guard_begin(&http1->guard, HTTP1_FIELDS, HTTP1_HEAD_MAX);
    }
    return 0;
}

static void show(const struct http1 *http1, enum http1_part part, struct span bytes)
{
    if (http1->on_body && bytes.len)
        http1->on_body(http1->on_body_arg, part, bytes);
}

static int on_body(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http1 *http1 = llhttp->data;

    http1->body_bytes += len;
    show(http1, HTTP1_BODY, span_of(at, len));
    return 0;
}

/* Pausing shows where llhttp saw the end, should it not be where the guard did. */
static int on_message_complete(llhttp_t *llhttp)
{
    ((struct http1 *)llhttp->data)->phase = PHASE_ENDED;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_method = on_method,
    .on_url = on_target,
    .on_url_complete = on_target_complete,
    .on_header_field = on_name,
    .on_header_field_complete = on_name_complete,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_head_complete,
    .on_chunk_header = on_chunk_header,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* ---- feeding llhttp ---- */

/* Our words where llhttp's own reasons differ from version to version. */
static const char *reason_of(llhttp_errno_t error, enum http1_phase phase)
{
    switch (error) {
    case HPE_INVALID_METHOD:
        return "an unknown method";
    case HPE_INVALID_URL:
        return "an invalid byte in the target";
    case HPE_INVALID_HEADER_TOKEN:
        return "an invalid byte in a field";
    case HPE_INVALID_CONTENT_LENGTH:
        return "an invalid Content-Length";
    case HPE_INVALID_TRANSFER_ENCODING:
        return "a Transfer-Encoding other than chunked";
    case HPE_INVALID_CHUNK_SIZE:
        return "an invalid chunk size";
    default:
        return phase == PHASE_CHUNK_LINE ? "a malformed chunk extension"
               : phase == PHASE_CHUNK    ? "a chunk of another length than it says"
                                         : "malformed HTTP";
    }
}

bool http1_refuse(struct http1 *http1, const char *reason)
{
    http1->phase = PHASE_BAD;
    http1->reason = reason;
    return false;
}

static bool feed_as_is(struct http1 *http1, struct span bytes, size_t *consumed)
{
    llhttp_errno_t error;

    *consumed = bytes.len;
    if (!bytes.len)
        return true;
    http1->fed = bytes.data;
    error = llhttp_execute(&http1->llhttp, (const char *)bytes.data, bytes.len);
    http1->fed_at += bytes.len;
    if (error != HPE_OK)
        *consumed = (size_t)((const uint8_t *)llhttp_get_error_pos(&http1->llhttp) - bytes.data);
    if (error == HPE_OK || (error == HPE_PAUSED && *consumed == bytes.len))
        return true;
    return http1_refuse(http1, http1->reason ? http1->reason : reason_of(error, http1->phase));
}

/* llhttp knows no bytes beyond ASCII in a target, while curl sends and nginx takes them as they
 * are: it is shown a percent sign, which is welcome wherever such a byte may stand. */
static bool feed_request_line(struct http1 *http1, struct span bytes, size_t *consumed)
{
    *consumed = 0;
    while (*consumed < bytes.len) {
        struct span piece = span_of(bytes.data + *consumed, 0);
        size_t fed;
        bool fine;

        while (*consumed + piece.len < bytes.len && piece.data[piece.len] < 0x80)
            piece.len++;
        fine = feed_as_is(http1, piece.len ? piece : BYTES("%"), &fed);
        *consumed += fed;
        if (!fine)
            return false;
    }
    return true;
}

/* llhttp 8 refuses some extensions that are valid: it is shown none, for the guard has read them.
 */
static bool feed_chunk_line(struct http1 *http1, struct span bytes, size_t *consumed)
{
    const uint8_t *from = http1->in_extension ? bytes.data : memchr(bytes.data, ';', bytes.len);
    size_t shown = from ? (size_t)(from - bytes.data) : bytes.len;
    const uint8_t *end;
    bool fine = feed_as_is(http1, span_of(bytes.data, shown), consumed);

    if (!fine || !from)
        return fine;
    end = memchr(from, '\r', bytes.len - shown);
    http1->in_extension = !end;
    *consumed = end ? (size_t)(end - bytes.data) : bytes.len;
    show(http1, HTTP1_ASIDE, span_of(from, *consumed - shown));
    shown = *consumed;
    fine = feed_as_is(http1, span_of(bytes.data + shown, bytes.len - shown), consumed);
    *consumed += shown;
    return fine;
}

bool http1_llhttp_feed(struct http1 *http1, struct span bytes, size_t *consumed)
{
    if (http1->phase == PHASE_START && http1->kind == HTTP1_REQUEST)
        return feed_request_line(http1, bytes, consumed);
    if (http1->phase == PHASE_CHUNK_LINE && bytes.len)
        return feed_chunk_line(http1, bytes, consumed);
    if (http1->phase == PHASE_TRAILER)
        show(http1, HTTP1_ASIDE, bytes);
    return feed_as_is(http1, bytes, consumed);
}

void http1_llhttp_begin(struct http1 *http1)
{
    bool request = http1->kind == HTTP1_REQUEST;

    llhttp_init(&http1->llhttp, request ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    http1->llhttp.data = http1;
    http1_rules_begin(&http1->rules, request);
    memset(&http1->head, 0, offsetof(struct http1_head, fields));
    http1->head.keep_alive = http1->head.upgrade = http1->head.body = false;
    http1->in_name = http1->in_value = http1->in_extension = false;
    http1->fed_at = 0;
    http1->body_bytes = 0;
    http1->trailer_fields = 0;
}
