/* sessions: five thousand flows of two real workers, asked for at a real control socket. */
#include "proxy/telemetry/sessions.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "proxy/control/client.h"
#include "proxy/flow/flow.h"
#include "proxy/limits.h"
#include "proxy/dns/names.h"
#include "proxy/flow/row.h"
#include "proxy/sockets_older.h"
#include "proxy/telemetry/counts.h"
#include "proxy/worker.h"

enum {
    WORKERS = 2,
    FLOWS = 5000,
    FILES = 3 * FLOWS + 500,
    OF_CART = FLOWS / 5,
    ALL = FLOWS + 1,
    OTHERS = 8
};

static char dir[] = "/tmp/sallyport-test.XXXXXX", path[64];
static struct event_base *base;
static struct control *control;
static struct sessions *sessions;
static struct names *names;
static struct limits limits;
static struct bus *bus;
static struct worker *workers[WORKERS];
static pthread_t loop;
static int stop_fd, peers[FLOWS][2]; /* the program's and the server's ends */
static struct process process = {
    .refs = 1,
    .pid = 42,
    .exec_id = (char *)"bm9kZToxOjQy",
    .binary = (char *)"/usr/bin/odd \xff name",
    .arguments = (char *)"--password hunter2",
};

/* ---- in the place of the keeper, the identity, the sockets ---- */

int keeper_socket(struct keeper *keeper, uint64_t netns_cookie, int family, int type,
                  struct err *err)
{
    (void)keeper, (void)netns_cookie, (void)family, (void)type;
    return err_set(err, -ENETUNREACH, "there is no network here");
}

void identity_flow_end(struct identity *identity, struct process **of)
{
    (void)identity;
    process_unref(of);
}

void sockets_flow_done(struct sockets *of, struct sockets_flow **flow)
{
    (void)of;
    free(TAKE(*flow));
}

void counts_take(struct keeper *keeper, struct flow_row *rows, size_t len)
{
    (void)keeper, (void)rows, (void)len;
}

bool sockets_was_reset(const struct sockets *of, uint64_t cookie)
{
    (void)of;
    return cookie == 2;
}

/* One that is no flow. */
void sockets_each_row(const struct sockets *of,
                      void (*visit)(void *arg, const struct flow_row *row), void *arg)
{
    CLEANUP(pod_unref) struct pod *direct = pod_new(9, "direct", "old", NULL, 0);
    const struct flow_row row = {
        .process = &process,
        .pod = direct,
        .cookie = FLOWS + 1,
        .route = ROUTE_DIRECT,
        .visibility = VISIBILITY_PRE_EXISTING,
        .state = "open",
    };

    (void)of;
    visit(arg, &row);
}

/* ---- flows ---- */

static void begin_flow(unsigned i, struct pod *pod)
{
    struct origin origin = {
        .cookie = i + 1,
        .pod = pod->cgroup_id,
        .time_ns = clock_ns(),
        .src = {.ip = {[10] = 0xff, 0xff, 192, 0, 2, 2}, .port = (uint16_t)(1024 + i)},
        .dst = {.ip = {[10] = 0xff, 0xff, 203, 0, 113, 10}, .port = 443},
    };
    int program[2], server[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, program), 0);
    if (i == 0) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, server), 0);
    } else { /* open files are scarce, and nobody else's server says or hears anything */
        server[0] = -1;
        server[1] = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    }
    peers[i][0] = program[0];
    peers[i][1] = server[0];
    assert_int_equal(limits_admit(&limits, pod), LIMIT_NONE);
    worker_give(workers[i % WORKERS], program[1], server[1], &origin, process_ref(&process), pod,
                NULL);
}

static void begin_flows(void)
{
    CLEANUP(pod_unref) struct pod *cart = pod_new(7, "shop", "cart", NULL, 0);
    CLEANUP(pod_unref) struct pod *host = pod_new(8, "", "", NULL, 0);
    struct addr dst = {.ip = {[10] = 0xff, 0xff, 203, 0, 113, 10}};

    names_add(names, 7, "api.example.com.", &dst, 60, false, clock_ns());
    for (unsigned i = 0; i < FLOWS; i++)
        begin_flow(i, i < OF_CART ? cart : host);
}

/* ---- the agent's side ---- */

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    event_base_loopbreak(arg);
}

static void *run_loop(void *arg)
{
    struct event *stop = event_new(base, stop_fd, EV_READ, on_stop, base);

    assert_int_equal(event_add(stop, NULL), 0);
    event_base_dispatch(base);
    event_free(stop);
    return arg;
}

static int begin(void **state)
{
    const struct sessions_parts parts_template = {.workers = workers, .workers_len = WORKERS};
    struct sessions_parts parts = parts_template;
    struct limits_machine machine = {.files = UINT64_MAX, .memory = UINT64_MAX};
    struct rlimit files = {FILES, FILES};
    struct worker_parts all = {.identity = (struct identity *)&limits, .limits = &limits};
    struct err err = {0};
    int result;

    (void)state;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0) {
        print_message("SKIP: %d open files are more than this machine allows\n", FILES);
        exit(77);
    }
    base = event_base_new();
    stop_fd = eventfd(0, EFD_CLOEXEC);
    limits_init(&limits, &machine);
    result = names_new(&names, &err);
    if (result == 0)
        result = bus_new(&bus, NULL, 0, &err);
    all.names = names;
    all.bus = bus;
    for (unsigned i = 0; result == 0 && i < WORKERS; i++)
        result = worker_new(&workers[i], &all, i, &err);
    if (result == 0)
        result = control_new(&control, base, path, &err);
    parts.base = base;
    parts.control = control;
    parts.names = names;
    if (result == 0)
        result = sessions_new(&sessions, &parts, &err);
    if (result < 0)
        fail_msg("%s", err.text);
    begin_flows();
    return pthread_create(&loop, NULL, run_loop, NULL);
}

static int end(void **state)
{
    (void)state;
    eventfd_write(stop_fd, 1);
    pthread_join(loop, NULL);
    control_free(&control);
    for (unsigned i = 0; i < WORKERS; i++)
        worker_free(&workers[i]);
    sessions_free(&sessions);
    bus_free(&bus);
    names_free(&names);
    event_base_free(base);
    close(stop_fd);
    for (unsigned i = 0; i < FLOWS; i++) {
        close(peers[i][0]);
        close(peers[i][1]);
    }
    assert_int_equal(process.refs, 1); /* nobody holds what is gone */
    return 0;
}

/* ---- the client's side ---- */

static int ask(struct client *client, const char *request, json_int_t *count, struct err *err)
{
    json_t *answer = NULL;
    int result = client_connect(client, dir, err);

    if (result == 0)
        result = client_call(client, json_loads(request, 0, NULL), NULL, 0, &answer, err);
    if (result == 0)
        *count = json_integer_value(json_object_get(answer, "sessions"));
    json_decref(answer);
    return result;
}

static json_int_t count_of(struct client *client, const char *request)
{
    struct err err = {0};
    json_int_t count = -1;

    if (ask(client, request, &count, &err) < 0)
        fail_msg("%s", err.text);
    return count;
}

static json_t *next_line(struct client *client)
{
    struct err err = {0};
    json_t *line = NULL;

    if (client_read_line(client, 30000, &line, &err) != 1)
        fail_msg("%s", err.text);
    return line;
}

static const char *text_of(const json_t *line, const char *object, const char *key)
{
    const char *text =
        json_string_value(json_object_get(object ? json_object_get(line, object) : line, key));

    return text ? text : "";
}

static void each_flow_is_a_line(void **state)
{
    static bool seen[ALL + 1];
    CLEANUP(client_fini) struct client client = {.fd = -1};
    uint64_t began = clock_ns();

    (void)state;
    memset(seen, 0, sizeof(seen));
    assert_int_equal(count_of(&client, "{\"verb\":\"sessions\"}"), ALL);
    for (unsigned i = 0; i < ALL; i++) {
        json_t *line = next_line(&client);
        unsigned long cookie = strtoul(text_of(line, "socket", "cookie"), NULL, 10);

        assert_in_range(cookie, 1, ALL);
        assert_false(seen[cookie]);
        seen[cookie] = true;
        json_decref(line);
    }
    print_message("  %d flows in %llu ms\n", FLOWS,
                  (unsigned long long)((clock_ns() - began) / 1000000));
}

static void a_line_tells_the_flow(void **state)
{
    CLEANUP(client_fini) struct client client = {.fd = -1};
    json_t *line;

    (void)state;
    assert_int_equal(
        count_of(&client, "{\"verb\":\"sessions\",\"namespace\":\"shop\",\"pod\":\"cart\"}"),
        OF_CART);
    line = next_line(&client);
    assert_string_equal(text_of(line, "pod", "namespace"), "shop");
    assert_string_equal(text_of(line, "pod", "name"), "cart");
    assert_string_equal(text_of(line, "process", "binary"), "/usr/bin/odd \xef\xbf\xbd name");
    assert_string_equal(text_of(line, "process", "arguments"), "--password *****");
    assert_string_equal(text_of(line, "socket", "daddr"), "203.0.113.10");
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(line, "destination_names"), 0)),
        "api.example.com.");
    assert_string_equal(text_of(line, NULL, "state"), "meeting");
    assert_string_equal(text_of(line, NULL, "route"), "proxy");
    assert_string_equal(text_of(line, NULL, "tx"), "0");
    json_decref(line);
}

static void a_line_tells_what_is_no_flow(void **state)
{
    CLEANUP(client_fini) struct client client = {.fd = -1};
    json_t *line;

    (void)state;
    assert_int_equal(count_of(&client, "{\"verb\":\"sessions\",\"pod\":\"old\"}"), 1);
    line = next_line(&client);
    assert_string_equal(text_of(line, "pod", "namespace"), "direct");
    assert_string_equal(text_of(line, NULL, "state"), "open");
    assert_string_equal(text_of(line, NULL, "route"), "direct");
    assert_string_equal(text_of(line, NULL, "visibility"), "pre-existing");
    json_decref(line);
}

/* By its cookie: sockets_was_reset() above. */
static void what_was_reset_says_so(void **state)
{
    CLEANUP(client_fini) struct client client = {.fd = -1};

    (void)state;
    assert_int_equal(count_of(&client, "{\"verb\":\"sessions\"}"), ALL);
    for (unsigned i = 0; i < ALL; i++) {
        json_t *line = next_line(&client);
        bool reset = strcmp(text_of(line, NULL, "state"), "reset") == 0;

        assert_int_equal(reset, strcmp(text_of(line, "socket", "cookie"), "2") == 0);
        json_decref(line);
    }
}

static void pods_are_chosen_by_either_name(void **state)
{
    static const struct {
        const char *request;
        json_int_t count;
    } cases[] = {
        {"{\"verb\":\"sessions\",\"namespace\":\"shop\"}", OF_CART},
        {"{\"verb\":\"sessions\",\"pod\":\"cart\"}", OF_CART},
        {"{\"verb\":\"sessions\",\"namespace\":\"other\",\"pod\":\"cart\"}", 0},
        {"{\"verb\":\"sessions\",\"pod\":\"ca\"}", 0},
        {"{\"verb\":\"sessions\",\"namespace\":\"\"}", FLOWS - OF_CART},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(client_fini) struct client client = {.fd = -1};

        assert_int_equal(count_of(&client, cases[i].request), cases[i].count);
    }
}

static void what_is_no_name_is_refused(void **state)
{
    CLEANUP(client_fini) struct client client = {.fd = -1};
    struct err err = {0};
    json_int_t count;

    (void)state;
    assert_int_equal(ask(&client, "{\"verb\":\"sessions\",\"pod\":7}", &count, &err), -EREMOTEIO);
    assert_non_null(strstr(err.text, "are texts"));
}

static void bytes_are_counted_while_they_pass(void **state)
{
    CLEANUP(client_fini) struct client client = {.fd = -1};
    char got[16];

    (void)state;
    assert_int_equal(send(peers[0][0], "\1some", 5, 0), 5);
    while (recv(peers[0][1], got, sizeof(got), 0) < 0) /* until the flow has passed it on */
        usleep(1000);
    assert_int_equal(count_of(&client, "{\"verb\":\"sessions\",\"pod\":\"cart\"}"), OF_CART);
    for (unsigned i = 0; i < OF_CART; i++) {
        json_t *line = next_line(&client);

        if (strcmp(text_of(line, "socket", "cookie"), "1") == 0) {
            assert_string_equal(text_of(line, NULL, "tx"), "5");
            assert_string_equal(text_of(line, NULL, "state"), "splicing");
            assert_string_equal(text_of(line, NULL, "visibility"), "opaque");
            assert_true(*text_of(line, NULL, "visibility_reason"));
        }
        json_decref(line);
    }
}

/* Each list that is not read is memory; so there are a few, and when their readers are gone there
 * are others. */
static void who_does_not_read_keeps_few_lists(void **state)
{
    struct client lazy[OTHERS], client = {.fd = -1};
    struct err err = {0};
    json_int_t count;

    (void)state;
    for (size_t i = 0; i < OTHERS; i++)
        assert_int_equal(count_of(&lazy[i], "{\"verb\":\"sessions\"}"), ALL);
    assert_int_equal(ask(&client, "{\"verb\":\"sessions\"}", &count, &err), -EREMOTEIO);
    assert_non_null(strstr(err.text, "ask again"));
    client_fini(&client);
    for (size_t i = 0; i < OTHERS; i++)
        client_fini(&lazy[i]);
    while (ask(&client, "{\"verb\":\"sessions\"}", &count, &err) < 0) {
        client_fini(&client);
        usleep(1000);
    }
    assert_int_equal(count, ALL);
    client_fini(&client);
}

/* The last one leaves some behind who have asked and not read: all of it is freed. */
static void clients_that_vanish_leave_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        struct client client = {.fd = -1};
        struct err err = {0};

        assert_int_equal(client_connect(&client, dir, &err), 0);
        assert_int_equal(send(client.fd, "{\"verb\":\"sessions\"}\n", 20, MSG_NOSIGNAL), 20);
        client_fini(&client);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_flow_is_a_line),
        cmocka_unit_test(a_line_tells_the_flow),
        cmocka_unit_test(a_line_tells_what_is_no_flow),
        cmocka_unit_test(what_was_reset_says_so),
        cmocka_unit_test(pods_are_chosen_by_either_name),
        cmocka_unit_test(what_is_no_name_is_refused),
        cmocka_unit_test(bytes_are_counted_while_they_pass),
        cmocka_unit_test(who_does_not_read_keeps_few_lists),
        cmocka_unit_test(clients_that_vanish_leave_nothing),
    };
    int failed;

    if (!mkdtemp(dir))
        return 1;
    snprintf(path, sizeof(path), "%s/" CONTROL_SOCKET, dir);
    failed = cmocka_run_group_tests(tests, begin, end);
    return rmdir(dir) < 0 ? 1 : failed;
}
