/* SCHEMA.md is held to the code: what events have is in its tables, what its tables have is in
 * events, and its example lines are such events. */
#include "sample.h"

#include <ctype.h>
#include <stdio.h>

#include "tests/harness/json_walk.h"

enum { ROWS_MAX = 512, PATHS_MAX = 256, WORD_MAX = 128 };

/* A row of a table, or, once expanded, a path of one event's lines. */
struct row {
    char section[WORD_MAX]; /* the name in backticks in the heading above: "process_exec" */
    char path[WORD_MAX];
    char type[WORD_MAX]; /* "text", "list of text", ...: or the name of a section */
    bool always;
    bool seen;
};

static struct row rows[ROWS_MAX], paths[FLOW_EVENT_MAX][PATHS_MAX];
static size_t rows_len, paths_len[FLOW_EVENT_MAX];
static char *examples[ROWS_MAX];
static size_t examples_len;

/* Copies what stands between the first two of this character; what is behind, or NULL. */
static const char *between(const char *text, char mark, char out[WORD_MAX])
{
    const char *start = strchr(text, mark), *end = start ? strchr(start + 1, mark) : NULL;

    out[0] = 0;
    if (!end)
        return NULL;
    assert_true(span_to_text(span_of(start + 1, (size_t)(end - start - 1)), out, WORD_MAX));
    return end;
}

/* "| `path` | type | when | meaning |" */
static void read_row(const char *line, const char *section)
{
    struct row *row = &rows[rows_len++];
    char cell[WORD_MAX];

    assert_true(rows_len < ROWS_MAX);
    *row = (struct row){0};
    strcpy(row->section, section);
    line = between(line, '`', row->path);
    assert_non_null(line);
    line = between(line, '|', cell);
    assert_non_null(line);
    assert_int_equal(sscanf(cell, " %127[^|]", row->type), 1);
    while (isspace((unsigned char)row->type[strlen(row->type) - 1]))
        row->type[strlen(row->type) - 1] = 0;
    assert_non_null(between(line, '|', cell));
    row->always = strcmp(cell, " always ") == 0;
}

static int read_schema(void **state)
{
    FILE *file = fopen(SCHEMA_FILE, "re");
    char *line = NULL, section[WORD_MAX] = "";
    size_t size = 0;

    (void)state;
    assert_non_null(file);
    while (getline(&line, &size, file) > 0) {
        if (*line == '#')
            between(line, '`', section);
        else if (strncmp(line, "| `", 3) == 0)
            read_row(line, section);
        else if (*line == '{')
            examples[examples_len++] = strndup(line, strcspn(line, "\n"));
        assert_true(examples_len < ROWS_MAX);
    }
    free(line);
    fclose(file);
    return 0;
}

static struct row *add_path(enum flow_event_kind kind, const char *prefix, const char *path,
                            const char *type)
{
    struct row *added = &paths[kind][paths_len[kind]++];

    assert_true(paths_len[kind] < PATHS_MAX);
    snprintf(added->type, WORD_MAX, "%s", type);
    assert_true(snprintf(added->path, WORD_MAX, "%s%s%s", prefix, *prefix ? "." : "", path) <
                WORD_MAX);
    return added;
}

static bool is_section(const char *name)
{
    for (size_t i = 0; i < rows_len; i++)
        if (strcmp(rows[i].section, name) == 0)
            return true;
    return false;
}

/* The rows of a section, and of those it names as types, as paths below prefix. */
static void expand(enum flow_event_kind kind, const char *section, const char *prefix)
{
    if (!is_section(section))
        fail_msg("SCHEMA.md has no table for %s", section);
    for (size_t i = 0; i < rows_len; i++) {
        const struct row *row = &rows[i];

        if (strcmp(row->section, section) != 0)
            continue;
        if (strcmp(row->path, ".") == 0) {
            expand(kind, row->type, prefix);
        } else if (is_section(row->type)) {
            struct row *path = add_path(kind, prefix, row->path, "object");

            path->always = row->always;
            expand(kind, row->type, path->path);
        } else {
            add_path(kind, prefix, row->path, row->type)->always = row->always;
        }
    }
}

static bool is_long(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!isdigit(text.data[i]))
            return false;
    return text.len > 0;
}

static bool is_time(struct span text)
{
    static const char form[] = "0000-00-00T00:00:00.000000000Z";

    for (size_t i = 0; i < text.len; i++)
        if (form[i] == '0' ? !isdigit(text.data[i]) : form[i] != (char)text.data[i])
            return false;
    return text.len == sizeof(form) - 1;
}

static const char by_name[] = "texts by name"; /* an object whose keys the schema cannot list */

/* The row of an object by name speaks of its entries, too; what else lies below is another's. */
static bool speaks_of(const struct row *row, const char *path, size_t len, enum json_kind kind)
{
    size_t known = strlen(row->path);

    if (len > known && strcmp(row->type, by_name) == 0 && kind == JSON_TEXT && path[known] == '.')
        len = known;
    return len == known && memcmp(row->path, path, len) == 0;
}

static bool has_type(const char *type, enum json_kind kind, struct span value)
{
    switch (kind) {
    case JSON_TEXT:
        return value.len && (strcmp(type, "text") == 0 || strcmp(type, "list of text") == 0 ||
                             (strcmp(type, "long") == 0 && is_long(value)) ||
                             (strcmp(type, "time") == 0 && is_time(value)));
    case JSON_NUMBER:
        return strcmp(type, "number") == 0 && is_long(value);
    case JSON_FLAG:
        return strcmp(type, "flag") == 0;
    case JSON_OBJECT:
        return strcmp(type, "object") == 0 || strcmp(type, "list of object") == 0 ||
               strcmp(type, by_name) == 0;
    case JSON_ARRAY:
        return strncmp(type, "list of ", 8) == 0;
    case JSON_NULL:
        break;
    }
    return false;
}

/* One line, while it is walked: what it had. */
struct line {
    enum flow_event_kind kind;
    bool had[PATHS_MAX];
};

static void on_value(void *arg, const char *path, enum json_kind kind, struct span value)
{
    struct line *line = arg;
    size_t len = strlen(path);

    if (!len)
        return; /* the line itself */
    if (len > 2 && strcmp(path + len - 2, "[]") == 0)
        len -= 2; /* an item: its list's row speaks of it */
    for (size_t i = 0; i < paths_len[line->kind]; i++) {
        struct row *row = &paths[line->kind][i];

        if (!speaks_of(row, path, len, kind))
            continue;
        line->had[i] = row->seen = true;
        if (strcmp(row->type, by_name) == 0 && kind == JSON_TEXT)
            return; /* an entry, which may be empty */
        if (!has_type(row->type, kind, value))
            fail_msg("%s is no %s: %.*s", path, row->type, (int)value.len, value.data);
        return;
    }
    fail_msg("SCHEMA.md does not have %s", path);
}

static bool had(const struct line *line, struct span path)
{
    for (size_t i = 0; i < paths_len[line->kind]; i++)
        if (span_equal(path, span_of_text(paths[line->kind][i].path)))
            return line->had[i];
    return false;
}

/* What is always there is there, as far as what it is in is. */
static void check_presence(const struct line *line)
{
    for (size_t i = 0; i < paths_len[line->kind]; i++) {
        const struct row *row = &paths[line->kind][i];
        const char *dot = strrchr(row->path, '.');
        struct span above = span_of(row->path, dot ? (size_t)(dot - row->path) : 0);

        if (above.len > 2 && above.data[above.len - 1] == ']')
            above.len -= 2;
        if (row->always && !line->had[i] && (!dot || had(line, above)))
            fail_msg("%s is not always there", row->path);
    }
}

static void check_line(const char *text)
{
    struct line line = {0};
    char name[WORD_MAX];

    between(text, '"', name);
    while (line.kind < FLOW_EVENT_MAX && strcmp(flow_event_name(line.kind), name) != 0)
        line.kind++;
    assert_true(line.kind < FLOW_EVENT_MAX);
    if (!json_walk(span_of_text(text), on_value, &line))
        fail_msg("no JSON: %s", text);
    check_presence(&line);
}

static const char *names[] = {"ebpf.io."}, *ips[] = {"203.0.113.10"}, *stripped[] = {"ech"};
static struct flow_event_header headers[] = {{"user-agent", "curl/7.88.1"}, {"x-empty", ""}};
static struct pod_label pod_labels[] = {{"app.kubernetes.io/name", "cart"}, {"odd \"key\"", ""}};
static struct pod labelled_pod = {
    .refs = 1,
    .space = "shop",
    .name = "cart-7d4b",
    .labels = pod_labels,
    .labels_len = 2,
};
static struct process ancestor = {
    .refs = 1,
    .pod = &labelled_pod,
    .exec_id = "bjE6MTox",
    .parent_exec_id = "bjE6MDow",
    .binary = "/bin/bash",
    .arguments = "-c x",
    .cwd = "/",
    .start_time_ns = SAMPLE_TIME,
    .cap_permitted = 1,
    .cap_effective = 1,
    .cap_inheritable = 1,
    .ns = {.uts = 1, .ipc = 2, .mnt = 3, .pid = 4, .net = 5, .cgroup = 6, .user = 7, .time = 8},
};
static struct process child;

#define SOCKET                                                                                     \
    .time_ns = SAMPLE_TIME, .process = &child, .src = SRC, .dst = DST, .socket_cookie = 1,         \
    .visibility = VISIBILITY_OPAQUE, .opaque = OPAQUE_STARTTLS, .error = "a reason",               \
    .client_refused = "unknown_ca", .policy = "shop/cart", .rule = "egress[0]"

static const struct flow_event full[] = {
    {.kind = FLOW_EVENT_EXEC, .time_ns = SAMPLE_TIME, .process = &child},
    {.kind = FLOW_EVENT_EXIT, .time_ns = SAMPLE_TIME, .process = &child, .exit = {.status = 1}},
    {.kind = FLOW_EVENT_EXIT, .time_ns = SAMPLE_TIME, .process = &child, .exit = {.signal = 9}},
    {.kind = FLOW_EVENT_CONNECT, SOCKET, .names = names, .names_len = 1},
    {.kind = FLOW_EVENT_DNS, SOCKET, .dns = {.name = "ebpf.io.", .qtype = "A"}},
    {.kind = FLOW_EVENT_DNS,
     SOCKET,
     .protocol = PROTOCOL_UDP,
     .dns = {.response = true,
             .name = "ebpf.io.",
             .qtype = "HTTPS",
             .rcode = "NOERROR",
             .ips = ips,
             .ips_len = 1,
             .cnames = names,
             .cnames_len = 1,
             .ttl = 60,
             .stripped = stripped,
             .stripped_len = 1}},
    {.kind = FLOW_EVENT_TLS,
     SOCKET,
     .tls = {.sni = "ebpf.io",
             .version = "TLS1.3",
             .cipher = "TLS_AES_128_GCM_SHA256",
             .alpn = "h2",
             .transport = "QUICv1",
             .ja4 = "t13d1516h2_8daaf6152771_e5627efa2ab1",
             .subject = "CN=ebpf.io",
             .issuer = "CN=R3",
             .not_after = "2027-01-01T00:00:00Z",
             .sha256 = "ab",
             .client_certificate = "CN=me"}},
    {.kind = FLOW_EVENT_HTTP,
     SOCKET,
     .http = {.host = "ebpf.io",
              .method = "GET",
              .url = "/tetragon?x=1",
              .path = "/tetragon",
              .protocol = "HTTP/1.1",
              .stream = 1,
              .code = 200,
              .latency_ns = 12400000,
              .request_headers = headers,
              .request_headers_len = ARRAY_SIZE(headers),
              .response_headers = headers,
              .response_headers_len = ARRAY_SIZE(headers)}},
    {.kind = FLOW_EVENT_GRPC,
     SOCKET,
     .grpc = {.host = "a.example",
              .service = "shop.Cart",
              .method = "Add",
              .protocol = "HTTP/2",
              .status_name = "OK",
              .message = "fine"}},
    {.kind = FLOW_EVENT_WEBSOCKET,
     SOCKET,
     .websocket = {.host = "a.example",
                   .url = "/chat?room=1",
                   .path = "/chat",
                   .protocol = "HTTP/1.1",
                   .close_code = 1000,
                   .close_reason = "bye"}},
    {.kind = FLOW_EVENT_SOCK_STATS, SOCKET, .close = {.tx = 50, .rx = 131}},
    {.kind = FLOW_EVENT_CLOSE, SOCKET, .names = names, .names_len = 1},
    {.kind = FLOW_EVENT_POLICY,
     SOCKET,
     .names = names,
     .names_len = 1,
     .verdict = VERDICT_DENY,
     .decision = {.point = "http",
                  .mode = "enforce",
                  .action = "reject",
                  .reason = "no rule allows GET /admin",
                  .host = "ebpf.io",
                  .method = "GET",
                  .path = "/admin",
                  .name = "ebpf.io.",
                  .qtype = "A",
                  .pattern = "payment-card",
                  .direction = "request",
                  .sha256 = "ab",
                  .token_namespace = "shop",
                  .token_service_account = "default",
                  .token_pod = "cart-7d4b"}},
    {.kind = FLOW_EVENT_CAPTURE,
     .time_ns = SAMPLE_TIME,
     .pod = &labelled_pod,
     .capture = {.what = "pcap", .ended = "its time is over", .binary = "/usr/bin/sallyport"}},
    {.kind = FLOW_EVENT_LOST, .time_ns = SAMPLE_TIME, .lost = {.count = 1, .reason = "full"}},
};

/* What little there is when nothing is known: a stranger's process, no memory for any text. */
static const struct flow_event bare[] = {
    {.kind = FLOW_EVENT_EXEC, .process = &shell},
    {.kind = FLOW_EVENT_EXIT, .process = &shell},
    {.kind = FLOW_EVENT_CONNECT},
    {.kind = FLOW_EVENT_DNS},
    {.kind = FLOW_EVENT_DNS, .dns.response = 1},
    {.kind = FLOW_EVENT_TLS},
    {.kind = FLOW_EVENT_HTTP},
    {.kind = FLOW_EVENT_GRPC},
    {.kind = FLOW_EVENT_WEBSOCKET},
    {.kind = FLOW_EVENT_SOCK_STATS},
    {.kind = FLOW_EVENT_CLOSE},
    {.kind = FLOW_EVENT_POLICY,
     .verdict = VERDICT_DENY,
     .decision = {.point = "http", .mode = "enforce", .reason = "r"}},
    {.kind = FLOW_EVENT_CAPTURE, .capture.what = "keys"},
    {.kind = FLOW_EVENT_LOST, .lost.reason = "r"},
};

static void check_event(const struct flow_event *event)
{
    CLEANUP(text_free) char *line = NULL;
    struct sink sink;

    sink_init(&sink, json_render, -1, "n1", false);
    line = sample_line(&sink, event);
    line[strcspn(line, "\n")] = 0;
    check_line(line);
}

static void has_what_events_have(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(full); i++)
        check_event(&full[i]);
    for (size_t kind = 0; kind < FLOW_EVENT_MAX; kind++)
        for (size_t i = 0; i < paths_len[kind]; i++)
            if (!paths[kind][i].seen)
                fail_msg("no event has %s", paths[kind][i].path);
}

static void says_what_is_always_there(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bare); i++)
        check_event(&bare[i]);
}

static void shows_an_example_of_each_kind(void **state)
{
    bool shown[FLOW_EVENT_MAX] = {false};
    char name[WORD_MAX];

    (void)state;
    for (size_t i = 0; i < examples_len; i++) {
        check_line(examples[i]);
        between(examples[i], '"', name);
        for (size_t kind = 0; kind < FLOW_EVENT_MAX; kind++)
            shown[kind] |= strcmp(flow_event_name(kind), name) == 0;
    }
    for (size_t kind = 0; kind < FLOW_EVENT_MAX; kind++)
        if (!shown[kind])
            fail_msg("no example of %s", flow_event_name(kind));
}

static int set_up(void **state)
{
    child = ancestor;
    child.parent = &ancestor;
    read_schema(state);
    for (size_t kind = 0; kind < FLOW_EVENT_MAX; kind++) {
        add_path(kind, "", flow_event_name(kind), "object")->always = true;
        expand(kind, flow_event_name(kind), flow_event_name(kind));
        expand(kind, "line", "");
    }
    return 0;
}

static int tear_down(void **state)
{
    while (examples_len)
        free(examples[--examples_len]);
    free(TAKE(ancestor.json));
    free(TAKE(child.json));
    return sample_forget(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_what_events_have),
        cmocka_unit_test(says_what_is_always_there),
        cmocka_unit_test(shows_an_example_of_each_kind),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
