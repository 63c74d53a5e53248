/* quote_fuzz: whatever strangers call things, an event is one line of printable text, and of JSON
 * that a strict reader takes.
 *
 * Input: a byte that chooses the kind of event, a byte of flags; then the texts, each up to a NUL,
 * which are used in turn for all that a stranger can name: paths, arguments, headers, DNS names. */
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "events/sink.h"
#include "tests/harness/json_walk.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXTS_MAX = 32, HEADERS = 3 };

struct texts {
    char *text[TEXTS_MAX];
    size_t len, next;
};

static void split(struct span data, struct texts *texts)
{
    while (texts->len < TEXTS_MAX && data.len) {
        size_t len = strnlen((const char *)data.data, data.len);
        struct span text, nul;

        span_take(&data, len, &text);
        span_take(&data, 1, &nul);
        texts->text[texts->len] = strndup((const char *)text.data, len);
        CHECK(texts->text[texts->len++]);
    }
}

static char *next(struct texts *texts)
{
    return texts->len ? texts->text[texts->next++ % texts->len] : "";
}

/* What may be missing: none has it, or there was no memory for it. */
static char *next_or_none(struct texts *texts, bool none)
{
    return none ? NULL : next(texts);
}

static void fill_http(struct flow_event *event, struct texts *texts, bool none,
                      struct flow_event_header *headers)
{
    event->http.host = next_or_none(texts, none);
    event->http.method = next(texts);
    event->http.url = next(texts);
    event->http.path = next_or_none(texts, none);
    event->http.protocol = next(texts);
    event->http.code = none ? 0 : 200;
    event->http.latency_ns = texts->len;
    for (size_t i = 0; i < HEADERS; i++) {
        headers[i].key = next_or_none(texts, none && i == 1);
        headers[i].value = next_or_none(texts, none && i == 2);
    }
    event->http.request_headers = event->http.response_headers = headers;
    event->http.request_headers_len = event->http.response_headers_len = HEADERS;
}

static void fill_tls(struct flow_event *event, struct texts *texts, bool none)
{
    event->tls.sni = next(texts);
    event->tls.alpn = next(texts);
    event->tls.version = next_or_none(texts, none);
    event->tls.subject = next(texts);
    event->tls.issuer = next(texts);
    event->tls.not_after = next_or_none(texts, none);
}

static void fill_dns(struct flow_event *event, struct texts *texts, bool none, const char **list)
{
    event->dns.response = !none;
    event->dns.name = next_or_none(texts, none);
    event->dns.qtype = next(texts);
    event->dns.rcode = next_or_none(texts, none);
    event->dns.ips = event->dns.cnames = list;
    event->dns.ips_len = none ? 0 : 1;
    event->dns.cnames_len = 3;
}

static void fill_policy(struct flow_event *event, struct texts *texts, bool none)
{
    event->verdict = VERDICT_DENY;
    event->policy = next(texts);
    event->rule = next_or_none(texts, none);
    event->decision.reason = next(texts);
    event->decision.host = next_or_none(texts, none);
    event->decision.path = next(texts);
    event->decision.name = next(texts);
    event->decision.pattern = next_or_none(texts, none);
    event->decision.token_namespace = next(texts);
    event->decision.token_pod = next_or_none(texts, none);
}

/* RFC 3629; the line was found to be UTF-8 before. */
static uint32_t take_code(struct span *line)
{
    uint8_t first = line->data[0];
    size_t len = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint32_t code = len == 1 ? first : first & (0xffu >> (len + 1));

    for (size_t i = 1; i < len; i++)
        code = code << 6 | (line->data[i] & 0x3f);
    *line = span_of(line->data + len, line->len - len);
    return code;
}

static bool is_dangerous(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code <= 0x9f) ||      /* controls */
           code == 0x061c || code == 0x200e || code == 0x200f || /* direction marks */
           (code >= 0x2028 && code <= 0x202e) ||                 /* line ends, overrides */
           (code >= 0x2066 && code <= 0x2069) ||                 /* isolates */
           code == 0x200b || code == 0xfeff ||                   /* invisible */
           (code >= 0xe0000 && code <= 0xe007f);                 /* tags */
}

static void check_line(const struct buffer *out)
{
    struct span line = span_of(out->data, out->len);
    struct json_walk utf8;

    CHECK(!out->failed && line.len > 1 && line.data[line.len - 1] == '\n');
    line.len--;
    utf8 = (struct json_walk){.at = line.data, .end = line.data + line.len};
    while (utf8.at < utf8.end)
        if (*utf8.at < 0x80)
            utf8.at++;
        else
            CHECK(json_take_utf8(&utf8));
    while (line.len)
        CHECK(!is_dangerous(take_code(&line)));
}

static void check_event(const struct flow_event *event)
{
    CLEANUP(buffer_fini) struct buffer text = {0}, json = {0};
    struct sink sink;

    sink_init(&sink, text_render, -1, "n1", false);
    text_render(&sink, event, &text);
    check_line(&text);
    json_render(&sink, event, &json);
    check_line(&json);
    CHECK(json_walk(span_of(json.data, json.len - 1), NULL, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct flow_event_header headers[HEADERS];
    struct texts texts = {0};
    struct flow_event event = {0};
    struct process process = {.refs = 1};
    struct pod pod = {.refs = 1};
    const char *list[3];
    bool none;

    if (size < 2)
        return 0;
    event.kind = data[0] % FLOW_EVENT_MAX;
    none = data[1] & 1;
    split(span_of(data + 2, size - 2), &texts);
    process.binary = next(&texts);
    process.arguments = next(&texts);
    process.cwd = next(&texts);
    process.exec_id = process.parent_exec_id = "id";
    pod.space = none ? "" : next(&texts);
    pod.name = next(&texts);
    for (size_t i = 0; i < 3; i++)
        list[i] = next_or_none(&texts, none && i == 1);
    if (!(data[1] & 2))
        event.process = &process;
    if (data[1] & 4)
        event.pod = process.pod = &pod;
    if (event.kind == FLOW_EVENT_HTTP)
        fill_http(&event, &texts, none, headers);
    else if (event.kind == FLOW_EVENT_TLS)
        fill_tls(&event, &texts, none);
    else if (event.kind == FLOW_EVENT_DNS)
        fill_dns(&event, &texts, none, list);
    else if (event.kind == FLOW_EVENT_POLICY)
        fill_policy(&event, &texts, none);
    else if (event.kind == FLOW_EVENT_LOST)
        event.lost.reason = "our own words";
    if (event.kind == FLOW_EVENT_CONNECT || event.kind == FLOW_EVENT_CLOSE) {
        event.names = list;
        event.names_len = 3;
    }
    event.error = next_or_none(&texts, none);
    check_event(&event);
    free(process.json);
    while (texts.len)
        free(texts.text[--texts.len]);
    return 0;
}
