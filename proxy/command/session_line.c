#include "proxy/command/session_line.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "events/quote.h"
#include "events/units.h"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static uint64_t long_of(const json_t *object, const char *key)
{
    return strtoull(text_of(object, key), NULL, 10);
}

/* A field that has its place in the line, with a blank behind it. */
static void column(struct buffer *out, const char *text)
{
    quote_text(out, span_of_text(*text ? text : "-"));
    buffer_append(out, " ", 1);
}

static void append_pod(struct buffer *out, const json_t *pod)
{
    if (!pod) {
        column(out, "HOST");
        return;
    }
    if (*text_of(pod, "namespace")) {
        quote_text(out, span_of_text(text_of(pod, "namespace")));
        buffer_append(out, "/", 1);
    }
    column(out, text_of(pod, "name"));
}

static void append_address(struct buffer *out, const json_t *socket, const char *ip,
                           const char *port)
{
    const char *text = text_of(socket, ip);
    bool v6 = strchr(text, ':');

    buffer_text(out, v6 ? "[" : "");
    quote_text(out, span_of_text(text));
    buffer_format(out, "%s:%" JSON_INTEGER_FORMAT " ", v6 ? "]" : "",
                  json_integer_value(json_object_get(socket, port)));
}

static void append_names(struct buffer *out, const json_t *names)
{
    const char *before = "[";
    json_t *name;
    size_t i;

    json_array_foreach(names, i, name)
    {
        buffer_text(out, before);
        quote_text(out, span_of_text(json_string_value(name)));
        before = " ";
    }
    if (json_array_size(names))
        buffer_text(out, "] ");
}

void session_line(struct buffer *out, const json_t *row)
{
    const json_t *socket = json_object_get(row, "socket");

    append_pod(out, json_object_get(row, "pod"));
    column(out, text_of(json_object_get(row, "process"), "binary"));
    column(out, text_of(socket, "protocol"));
    append_address(out, socket, "saddr", "sport");
    buffer_text(out, "=> ");
    append_address(out, socket, "daddr", "dport");
    append_names(out, json_object_get(row, "destination_names"));
    column(out, text_of(row, "host"));
    column(out, text_of(row, "state"));
    column(out, text_of(row, "route"));
    column(out, text_of(row, "visibility"));
    if (*text_of(row, "visibility_reason"))
        buffer_format(out, "(%s) ", text_of(row, "visibility_reason"));
    column(out, text_of(row, "version"));
    column(out, text_of(row, "alpn"));
    buffer_text(out, "tx ");
    units_bytes(out, long_of(row, "tx"));
    buffer_text(out, " rx ");
    units_bytes(out, long_of(row, "rx"));
    buffer_append(out, " ", 1);
    units_duration(out, long_of(row, "age_ns"));
    buffer_append(out, "\n", 1);
}
