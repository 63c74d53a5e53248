#include "proxy/compare/seen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void seen_fini(struct seen *seen)
{
    free(seen->latencies_us);
    free(seen->tls_sockets);
    *seen = (struct seen){0};
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

/* A 64-bit number is a text of digits. */
static uint64_t long_of(const json_t *object, const char *key)
{
    return strtoull(text_of(object, key), NULL, 10);
}

static void count_text(struct seen_texts *texts, const char *text)
{
    char cut[SEEN_TEXT_MAX];

    if (!*text)
        return;
    snprintf(cut, sizeof(cut), "%s", text);
    for (size_t i = 0; i < texts->len; i++)
        if (strcmp(texts->list[i].text, cut) == 0) {
            texts->list[i].count++;
            return;
        }
    if (texts->len == SEEN_TEXTS_MAX) {
        texts->more++;
        return;
    }
    memcpy(texts->list[texts->len].text, cut, sizeof(cut));
    texts->list[texts->len++].count = 1;
}

/* Makes room for one more of some; NULL and failed without memory. */
static void *grow(struct seen *seen, void *array, size_t len, size_t *size, size_t each)
{
    size_t more = *size ? 2 * *size : 64;
    void *grown = array;

    if (len == *size) {
        grown = reallocarray(array, more, each);
        if (grown)
            *size = more;
    }
    seen->failed |= !grown;
    return grown;
}

static void add_http(struct seen *seen, const json_t *event)
{
    double *grown;

    seen->requests++;
    count_text(&seen->hosts, text_of(event, "host"));
    if (!json_object_get(event, "latency_ns"))
        return;
    grown =
        grow(seen, seen->latencies_us, seen->latencies_len, &seen->latencies_size, sizeof(*grown));
    if (!grown)
        return;
    seen->latencies_us = grown;
    grown[seen->latencies_len++] = (double)long_of(event, "latency_ns") / 1000;
}

static void add_tls(struct seen *seen, const json_t *event)
{
    const json_t *socket = json_object_get(event, "socket");
    const char *version = text_of(event, "version"), *cipher = text_of(event, "cipher");
    char kind[SEEN_TEXT_MAX];
    uint64_t *grown;

    if (!*version && !*text_of(event, "ja4"))
        return; /* passed on unread, it may be anything */
    snprintf(kind, sizeof(kind), "%s%s%s", *version ? version : "TLS", *cipher ? " " : "", cipher);
    count_text(&seen->tls, kind);
    count_text(&seen->names, text_of(event, "sni"));
    grown = grow(seen, seen->tls_sockets, seen->tls_sockets_len, &seen->tls_sockets_size,
                 sizeof(*grown));
    if (!grown)
        return;
    seen->tls_sockets = grown;
    grown[seen->tls_sockets_len++] = long_of(socket, "cookie");
}

/* Whether it spoke TLS; it will not any more. */
static bool take_tls_socket(struct seen *seen, uint64_t cookie)
{
    bool found = false;

    for (size_t i = 0; i < seen->tls_sockets_len;)
        if (seen->tls_sockets[i] == cookie) {
            seen->tls_sockets[i] = seen->tls_sockets[--seen->tls_sockets_len];
            found = true;
        } else {
            i++;
        }
    return found;
}

static void add_close(struct seen *seen, const json_t *event)
{
    const json_t *socket = json_object_get(event, "socket");
    const char *visibility = text_of(event, "visibility");
    uint64_t bytes = long_of(event, "tx") + long_of(event, "rx");
    bool ended = strcmp(visibility, "terminated") == 0, tls;

    if (strcmp(text_of(socket, "protocol"), "TCP") != 0)
        return;
    tls = take_tls_socket(seen, long_of(socket, "cookie")) || ended ||
          strcmp(visibility, "ktls") == 0;
    count_text(&seen->visibility, visibility);
    count_text(&seen->routes, text_of(event, "route"));
    seen->bytes += bytes;
    seen->tls_bytes += tls ? bytes : 0;
    seen->crypted += ended ? 3 * bytes : tls ? bytes : 0;
}

void seen_add(struct seen *seen, const json_t *line)
{
    const json_t *event;

    if ((event = json_object_get(line, "process_http")))
        add_http(seen, event);
    else if ((event = json_object_get(line, "process_tls")))
        add_tls(seen, event);
    else if ((event = json_object_get(line, "process_close")))
        add_close(seen, event);
    else if ((event = json_object_get(line, "lost_events")))
        seen->lost += long_of(event, "count");
}
