#include "events/json_writer.h"

#include <string.h>

#include "events/quote.h"
#include "events/units.h"

size_t json_begin(struct buffer *out, const char *key, char bracket)
{
    size_t mark = out->len;

    if (key)
        json_key(out, key);
    buffer_append(out, &bracket, 1);
    return mark;
}

void json_end(struct buffer *out, size_t mark, char bracket)
{
    if (out->failed)
        return;
    if (out->data[out->len - 1] != ',') {
        out->len = mark; /* its opening bracket came last: it is empty */
        return;
    }
    out->data[out->len - 1] = bracket;
    buffer_append(out, ",", 1);
}

void json_key(struct buffer *out, const char *key)
{
    size_t len = strlen(key);

    if (!buffer_reserve(out, len + 3))
        return;
    out->data[out->len++] = '"';
    memcpy(out->data + out->len, key, len);
    out->len += len;
    out->data[out->len++] = '"';
    out->data[out->len++] = ':';
}

void json_item(struct buffer *out, const char *text)
{
    quote_json(out, span_of_text(text));
    buffer_append(out, ",", 1);
}

void json_text(struct buffer *out, const char *key, const char *text)
{
    if (!text || !*text)
        return;
    json_key(out, key);
    json_item(out, text);
}

void json_entry(struct buffer *out, const char *key, const char *text)
{
    quote_json(out, span_of_text(key));
    buffer_append(out, ":", 1);
    json_item(out, text);
}

void json_list(struct buffer *out, const char *key, const char *const *texts, size_t len)
{
    size_t mark = json_begin(out, key, '[');

    for (size_t i = 0; i < len; i++)
        if (texts[i] && *texts[i])
            json_item(out, texts[i]);
    json_end(out, mark, ']');
}

/* printf(3) takes several times as long, and an event has a dozen numbers. */
static void append_decimal(struct buffer *out, uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);

    do
        digits[--at] = (char)('0' + number % 10);
    while (number /= 10);
    buffer_append(out, digits + at, sizeof(digits) - at);
}

void json_number(struct buffer *out, const char *key, uint32_t number)
{
    json_key(out, key);
    append_decimal(out, number);
    buffer_append(out, ",", 1);
}

void json_long(struct buffer *out, const char *key, uint64_t number)
{
    json_key(out, key);
    buffer_append(out, "\"", 1);
    append_decimal(out, number);
    buffer_append(out, "\",", 2);
}

void json_flag(struct buffer *out, const char *key, bool flag)
{
    json_key(out, key);
    buffer_text(out, flag ? "true," : "false,");
}

void json_time(struct buffer *out, const char *key, uint64_t ns)
{
    json_key(out, key);
    buffer_append(out, "\"", 1);
    units_time(out, ns);
    buffer_append(out, "\",", 2);
}
