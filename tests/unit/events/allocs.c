/* allocs: what was told is written with the n-th allocation refused, for every n there is: a line
 * is whole or it is counted, and no secret gets out because there was no memory to hide it. */
#include "sample.h"

#include <sys/mman.h>

#include "tests/unit/failing.h"

#define SECRET "hunter2"

enum { FOREVER = 1 << 30, SIZE = 16384 };

static struct process secretive = {
    .refs = 1,
    .pod = &host_pod,
    .exec_id = "bjE6Njo2",
    .parent_exec_id = "",
    .binary = "/usr/bin/curl",
    .arguments = "--password " SECRET " https://me:" SECRET "@a.example/",
    .cwd = "/",
};
static struct flow_event_header headers[] = {
    {"authorization", "Bearer " SECRET},
    {"referer", "https://me:" SECRET "@a.example/"},
};
static const char *ips[] = {"203.0.113.10", "203.0.113.11"};
static const struct flow_event events[] = {
    {.kind = FLOW_EVENT_EXEC, .process = &secretive},
    {.kind = FLOW_EVENT_DNS,
     .process = &secretive,
     .src = SRC,
     .dst = RESOLVER,
     .dns = {.response = true,
             .name = "ebpf.io.",
             .qtype = "A",
             .rcode = "NOERROR",
             .ips = ips,
             .ips_len = ARRAY_SIZE(ips)}},
    {.kind = FLOW_EVENT_HTTP,
     .process = &secretive,
     .src = SRC,
     .dst = DST,
     .http = {.host = "a.example",
              .method = "GET",
              .url = "http://me:" SECRET "@a.example/",
              .path = "http://me:" SECRET "@a.example/",
              .protocol = "HTTP/1.1",
              .code = 200,
              .request_headers = headers,
              .request_headers_len = ARRAY_SIZE(headers)}},
    {.kind = FLOW_EVENT_POLICY,
     .process = &secretive,
     .src = SRC,
     .dst = DST,
     .verdict = VERDICT_DENY,
     .policy = "shop/cart",
     .decision = {.point = "http",
                  .mode = "enforce",
                  .reason = "no rule allows GET http://me:" SECRET "@a.example/",
                  .path = "http://me:" SECRET "@a.example/"}},
    {.kind = FLOW_EVENT_EXIT, .process = &secretive},
};

/* Whether any was refused. */
static bool write_all(void (*render)(struct sink *, const struct flow_event *, struct buffer *),
                      unsigned long n, unsigned long len, char text[SIZE])
{
    CLEANUP(fd_close) int fd = memfd_create("lines", MFD_CLOEXEC);
    CLEANUP(sink_fini) struct sink sink;
    size_t lines = 0;
    ssize_t size;
    bool refused_any;

    sink_init(&sink, render, fd, "node", true);
    free(TAKE(secretive.json));
    failing_kind = FAILING_TEST;
    failing_begin(FAILING_TEST, n, len);
    for (size_t i = 0; i < ARRAY_SIZE(events); i++)
        sink_write(&sink, &events[i]);
    refused_any = failing_end();
    failing_kind = FAILING_NOBODY;
    sink_flush(&sink); /* tells what is lost, if the last was */
    assert_int_equal(sink.lost, 0);
    size = pread(fd, text, SIZE - 1, 0);
    assert_true(size >= 0);
    text[size] = 0;
    assert_null(strstr(text, SECRET));
    for (const char *at = text; (at = strchr(at, '\n')); at++)
        lines++;
    assert_int_equal(lines, sink.seq);
    return refused_any;
}

/* Each line is one of the whole ones, or tells of a loss. */
static void expect_lines_of(char *whole, char *text)
{
    char *rest;

    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *behind_seq = strstr(line, "\"seq\"");

        if (behind_seq)
            *behind_seq = 0; /* a later line's, where one is lost */
        if (!strstr(line, "lost") && !strstr(whole, line))
            fail_msg("half a line: %s", line);
    }
}

static void refuse_each(void (*render)(struct sink *, const struct flow_event *, struct buffer *),
                        unsigned long len)
{
    char whole[SIZE], text[SIZE];
    unsigned long n = 1;

    assert_false(write_all(render, FOREVER, 1, whole));
    while (write_all(render, n++, len, text))
        expect_lines_of(whole, text);
    assert_string_equal(text, whole);
    print_message("  %lu allocations\n", n - 2);
    free(TAKE(secretive.json));
}

static void each_allocation_of_json(void **state)
{
    (void)state;
    refuse_each(json_render, 1);
    refuse_each(json_render, FOREVER);
}

static void each_allocation_of_text(void **state)
{
    (void)state;
    refuse_each(text_render, 1);
    refuse_each(text_render, FOREVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_of_json),
        cmocka_unit_test(each_allocation_of_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
