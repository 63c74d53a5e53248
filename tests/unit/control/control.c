/* control: a real socket, its loop in a thread of its own, clients good and bad. */
#include "proxy/control/control.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/log.h"
#include "proxy/control/client.h"
#include "proxy/control/request.h"

enum { ROWS = 100000 };

static char dir[] = "/tmp/sallyport-test.XXXXXX", path[64];
static struct event_base *base;
static struct control *control;
static pthread_t loop;
static int stop_fd;
static struct control_call *kept;                    /* by the verb "keep" */
static _Atomic unsigned rows_made, rows_done, calls; /* read by the test's thread */

/* ---- verbs ---- */

static void echo(void *arg, struct control_call *call)
{
    const json_t *args = control_args(call);

    calls++;
    assert_ptr_equal(arg, &calls);
    control_answer(call, json_pack("{s:O, s:i}", "said", json_object_get(args, "say"), "pid",
                                   (int)control_peer(call)->pid));
}

/* Writes into the second descriptor. */
static void write_into(void *arg, struct control_call *call)
{
    CLEANUP(fd_close) int fd = control_take_fd(call, 1);
    struct err err;

    (void)arg;
    if (control_take_fd(call, 1) >= 0 || fd < 0 || write(fd, "here", 4) != 4) {
        err_set(&err, -EBADF, "no second descriptor");
        control_refuse(call, &err);
        return;
    }
    control_answer(call, NULL);
}

static void complain(void *arg, struct control_call *call)
{
    struct err err;

    (void)arg;
    err_set(&err, -EINVAL, "a name of strange bytes: \xff\xfe");
    control_refuse(call, &err);
}

static bool next_row(void *arg, struct buffer *line)
{
    (void)arg;
    if (rows_made == ROWS)
        return false;
    buffer_format(line, "{\"row\":%u}", rows_made++);
    return true;
}

static void end_of_rows(void *arg)
{
    (void)arg;
    rows_done++;
}

static void list(void *arg, struct control_call *call)
{
    const struct control_rows rows = {.next = next_row, .done = end_of_rows};

    (void)arg;
    rows_made = 0;
    control_answer_rows(call, json_pack("{s:i}", "rows", ROWS), &rows);
}

static void keep(void *arg, struct control_call *call)
{
    (void)arg;
    kept = call;
    calls++;
}

static void answer_kept(void *arg, struct control_call *call)
{
    (void)arg;
    control_answer(TAKE(kept), json_pack("{s:s}", "came", "late"));
    control_answer(call, NULL);
}

static void stream(void *arg, struct control_call *call)
{
    int fd = control_take_stream(call);

    (void)arg;
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(write(fd, "my own words", 12), 12);
    close(fd);
}

/* ---- the agent's side ---- */

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
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
    struct err err;

    (void)state;
    base = event_base_new();
    stop_fd = eventfd(0, EFD_CLOEXEC);
    rows_done = calls = 0;
    if (control_new(&control, base, path, &err) < 0) {
        log_error("%s", err.text);
        return -1;
    }
    assert_int_equal(control_on(control, "echo", echo, &calls, &err), 0);
    assert_int_equal(control_on(control, "write", write_into, NULL, &err), 0);
    assert_int_equal(control_on(control, "complain", complain, NULL, &err), 0);
    assert_int_equal(control_on(control, "list", list, NULL, &err), 0);
    assert_int_equal(control_on(control, "keep", keep, NULL, &err), 0);
    assert_int_equal(control_on(control, "answer.kept", answer_kept, NULL, &err), 0);
    assert_int_equal(control_on(control, "stream", stream, NULL, &err), 0);
    return pthread_create(&loop, NULL, run_loop, NULL);
}

static int end(void **state)
{
    (void)state;
    eventfd_write(stop_fd, 1);
    pthread_join(loop, NULL);
    control_free(&control);
    event_base_free(base);
    close(stop_fd);
    return access(path, F_OK) == 0; /* it takes its socket with it */
}

/* ---- the client's side ---- */

static void enter(struct client *client)
{
    struct err err = {0};

    if (client_connect(client, dir, &err) < 0)
        fail_msg("%s", err.text);
}

/* What verb is answered with; "" when it is refused. */
static char *ask(struct client *client, const char *request)
{
    static char text[4096];
    struct err err = {0};
    json_t *answer = NULL;
    int result = client_call(client, json_loads(request, 0, NULL), NULL, 0, &answer, &err);

    if (result < 0) {
        snprintf(text, sizeof(text), "%s", err.text);
    } else {
        char *dumped = json_dumps(answer, JSON_COMPACT | JSON_SORT_KEYS);

        snprintf(text, sizeof(text), "%s", dumped);
        free(dumped);
        json_decref(answer);
    }
    return text;
}

static void expect(struct client *client, const char *request, const char *answer)
{
    assert_string_equal(ask(client, request), answer);
}

static void say(struct client *client, const char *bytes, size_t len)
{
    assert_int_equal(send(client->fd, bytes, len, MSG_NOSIGNAL), len);
}

/* The next line is a refusal with these words, and the connection ends behind it. */
static void expect_fault(struct client *client, const char *words)
{
    struct err err = {0};
    json_t *line = NULL;
    const char *text;

    assert_int_equal(client_read_line(client, -1, &line, &err), 1);
    text = json_string_value(json_object_get(line, "error"));
    assert_non_null(text);
    if (!strstr(text, words))
        fail_msg("'%s' is not in: %s", words, text);
    json_decref(line);
    assert_int_equal(client_read_line(client, -1, &line, &err), 0);
}

static unsigned open_files(void)
{
    DIR *all = opendir("/proc/self/fd");
    unsigned count = 0;

    while (readdir(all))
        count++;
    closedir(all);
    return count;
}

/* Until the loop's thread has closed what it had. */
static void expect_open_files(unsigned wanted)
{
    for (int i = 0; i < 1000 && open_files() != wanted; i++)
        usleep(5000);
    assert_int_equal(open_files(), wanted);
}

/* ---- honest clients ---- */

static void a_client_asks_again_and_again(void **state)
{
    CLEANUP(client_fini) struct client client = {.fd = -1};
    char pid[64];

    (void)state;
    enter(&client);
    snprintf(pid, sizeof(pid), "{\"ok\":true,\"pid\":%d}", (int)getpid());
    expect(&client, "{\"verb\":\"ping\"}", pid);
    snprintf(pid, sizeof(pid), "{\"ok\":true,\"pid\":%d,\"said\":[1,\"x\"]}", (int)getpid());
    for (int i = 0; i < 100; i++)
        expect(&client, "{\"verb\":\"echo\",\"say\":[1,\"x\"]}", pid);
    expect(&client, "{\"verb\":\"nonsense\"}", "this agent knows no verb 'nonsense'");
    expect(&client, "{\"verb\":\"complain\"}", "a name of strange bytes: ??");
    expect(&client, "{\"verb\":\"echo\",\"say\":[1,\"x\"]}", pid);
}

static void a_request_comes_in_single_bytes(void **state)
{
    CLEANUP(client_fini) struct client client = {.fd = -1};
    static const char request[] = "{\"verb\":\"ping\"}\n";
    struct err err = {0};
    json_t *line = NULL;

    (void)state;
    enter(&client);
    for (size_t i = 0; i < sizeof(request) - 1; i++)
        say(&client, request + i, 1);
    shutdown(client.fd, SHUT_WR); /* it asks no more, but it listens */
    assert_int_equal(client_read_line(&client, -1, &line, &err), 1);
    assert_true(json_is_true(json_object_get(line, "ok")));
    json_decref(line);
    assert_int_equal(client_read_line(&client, -1, &line, &err), 0);
}

static void descriptors_come_with_it(void **state)
{
    CLEANUP(client_fini) struct client client = {.fd = -1};
    int fds[9], pipes[2];
    unsigned before;
    char got[8] = "";
    struct err err = {0};
    json_t *answer = NULL;

    (void)state;
    enter(&client);
    assert_int_equal(pipe(pipes), 0);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        fds[i] = pipes[1];
    expect(&client, "{\"verb\":\"write\"}", "no second descriptor");
    before = open_files();
    assert_int_equal(
        client_call(&client, json_pack("{s:s}", "verb", "write"), fds, 8, &answer, &err), 0);
    json_decref(answer);
    assert_int_equal(read(pipes[0], got, sizeof(got)), 4);
    assert_string_equal(got, "here");
    expect_open_files(before); /* what was not asked for is closed */
    assert_int_equal(
        client_call(&client, json_pack("{s:s}", "verb", "ping"), fds, 8, &answer, &err), 0);
    json_decref(answer);
    expect_open_files(before);
    close(pipes[0]);
    close(pipes[1]);
}

static void a_long_answer_is_made_as_it_is_read(void **state)
{
    CLEANUP(client_fini) struct client client = {.fd = -1};
    unsigned made;
    struct err err = {0};
    json_t *line = NULL;

    (void)state;
    enter(&client);
    expect(&client, "{\"verb\":\"list\"}", "{\"ok\":true,\"rows\":100000}");
    do { /* until the socket is full */
        made = rows_made;
        usleep(20000);
    } while (made != rows_made);
    assert_in_range(made, 1, ROWS / 2);
    for (int i = 0; i < ROWS; i++) {
        assert_int_equal(client_read_line(&client, -1, &line, &err), 1);
        assert_int_equal(json_integer_value(json_object_get(line, "row")), i);
        json_decref(line);
    }
    expect(&client, "{\"verb\":\"nonsense\"}", "this agent knows no verb 'nonsense'");
    assert_int_equal(rows_done, 1);
}

static void an_answer_may_come_late(void **state)
{
    CLEANUP(client_fini) struct client client = {.fd = -1}, other = {.fd = -1};
    struct err err = {0};
    json_t *line = NULL;

    (void)state;
    enter(&client);
    enter(&other);
    say(&client, "{\"verb\":\"keep\"}\n", 16);
    while (!calls)
        usleep(1000);
    expect(&other, "{\"verb\":\"answer.kept\"}", "{\"ok\":true}");
    assert_int_equal(client_read_line(&client, -1, &line, &err), 1);
    assert_string_equal(json_string_value(json_object_get(line, "came")), "late");
    json_decref(line);
}

static void a_verb_may_take_the_connection(void **state)
{
    CLEANUP(client_fini) struct client client = {.fd = -1};
    char got[32] = "";

    (void)state;
    enter(&client);
    say(&client, "{\"verb\":\"stream\"}\n", 18);
    assert_int_equal(recv(client.fd, got, sizeof(got), MSG_WAITALL), 12);
    assert_string_equal(got, "my own words");
}

/* ---- bad clients ---- */

static void what_is_no_request_is_told_and_the_last(void **state)
{
    static const struct {
        struct span bytes;
        const char *words;
    } cases[] = {
        {BYTES("\x16\x03\x01\x02\x00\n"), "no JSON"},
        {BYTES("\n"), "no JSON"},
        {BYTES("{\"verb\":\"ping\"}\n{\"verb\":\"ping\"}\n"), "further request"},
        {BYTES("{\"verb\":\"ping\"}\n "), "further request"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(client_fini) struct client client = {.fd = -1};

        enter(&client);
        say(&client, (const char *)cases[i].bytes.data, cases[i].bytes.len);
        expect_fault(&client, cases[i].words);
    }
}

static void half_a_request_is_told(void **state)
{
    CLEANUP(client_fini) struct client client = {.fd = -1};

    (void)state;
    enter(&client);
    say(&client, "{\"verb\":\"ping\"}", 15);
    shutdown(client.fd, SHUT_WR);
    expect_fault(&client, "before its newline");
}

static void what_never_ends_is_not_kept(void **state)
{
    CLEANUP(client_fini) struct client client = {.fd = -1};
    static char much[65536];
    size_t sent = 0;
    ssize_t n;

    (void)state;
    memset(much, 'x', sizeof(much));
    enter(&client);
    while ((n = send(client.fd, much, sizeof(much), MSG_NOSIGNAL)) > 0) {
        sent += (size_t)n;
        assert_true(sent < 16 << 20); /* the agent has long closed */
    }
    expect_fault(&client, "at most 65536 bytes");
}

static void send_fds(struct client *client, const char *text, size_t count)
{
    char space[CMSG_SPACE(9 * sizeof(int))] __attribute__((aligned(8))) = {0};
    struct iovec bytes = {(char *)text, strlen(text)};
    struct msghdr message = {.msg_iov = &bytes,
                             .msg_iovlen = 1,
                             .msg_control = space,
                             .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *head = (struct cmsghdr *)space;

    *head = (struct cmsghdr){.cmsg_len = CMSG_LEN(count * sizeof(int)),
                             .cmsg_level = SOL_SOCKET,
                             .cmsg_type = SCM_RIGHTS};
    for (size_t i = 0; i < count; i++)
        memcpy(CMSG_DATA(head) + i * sizeof(int), &client->fd, sizeof(int));
    assert_int_equal(sendmsg(client->fd, &message, MSG_NOSIGNAL), bytes.iov_len);
}

static void nine_descriptors_are_closed(void **state)
{
    unsigned before = open_files();

    (void)state;
    for (int with_each = 0; with_each < 2; with_each++) {
        CLEANUP(client_fini) struct client client = {.fd = -1};

        enter(&client);
        if (with_each)
            send_fds(&client, "{", 5);
        send_fds(&client, with_each ? "\"verb\":\"ping\"}\n" : "{\"verb\":\"ping\"}\n",
                 with_each ? 4 : 9);
        expect_fault(&client, "at most 8 descriptors");
        expect_open_files(before + 1);
    }
}

static void who_leaves_is_forgotten(void **state)
{
    struct client late = {.fd = -1};
    unsigned before = open_files();

    (void)state;
    for (int i = 0; i < 50; i++) {
        struct client client = {.fd = -1};

        enter(&client);
        if (i % 3 == 0) /* in the middle of its request, of its answer, and of its wait */
            say(&client, "{\"verb\":", 8);
        else if (i % 3 == 1)
            say(&client, "{\"verb\":\"list\"}\n", 16);
        else if (i == 2)
            say(&client, "{\"verb\":\"keep\"}\n", 16);
        client_fini(&client);
    }
    while (!calls || rows_done < 17)
        usleep(1000);
    expect_open_files(before + 1); /* that of "keep" */
    enter(&late);
    expect(&late, "{\"verb\":\"answer.kept\"}", "{\"ok\":true}");
    client_fini(&late);
    expect_open_files(before);
}

/* Twice as many as there are places, who say nothing, say half, or do not read. */
static void a_crowd_does_not_keep_others_out(void **state)
{
    struct client crowd[CONTROL_CLIENTS_MAX * 2], honest = {.fd = -1};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(crowd); i++) {
        enter(&crowd[i]);
        if (i % 3 == 1)
            say(&crowd[i], "{\"verb\":", 8);
        else if (i % 3 == 2)
            say(&crowd[i], "{\"verb\":\"list\"}\n", 16);
    }
    enter(&honest);
    expect(&honest, "{\"verb\":\"nonsense\"}", "this agent knows no verb 'nonsense'");
    client_fini(&honest);
    for (size_t i = 0; i < ARRAY_SIZE(crowd); i++)
        client_fini(&crowd[i]);
}

/* It takes the time that they have. */
static void who_neither_writes_nor_reads_is_dropped(void **state)
{
    static const char *const said[] = {"", "{\"verb\":", "{\"verb\":\"list\"}\n"};
    struct client clients[ARRAY_SIZE(said)];
    char got[4096];
    ssize_t n;

    (void)state;
    if (!getenv("SALLYPORT_FULL"))
        skip();
    for (size_t i = 0; i < ARRAY_SIZE(said); i++) {
        enter(&clients[i]);
        say(&clients[i], said[i], strlen(said[i]));
    }
    for (unsigned ms = 0; rows_done == 0; ms++) { /* nobody has read one */
        assert_true(ms < (CONTROL_PATIENCE_S + 5) * 1000);
        usleep(1000);
    }
    for (size_t i = 0; i < ARRAY_SIZE(said); i++) {
        while ((n = recv(clients[i].fd, got, sizeof(got), 0)) > 0)
            ;
        assert_true(n == 0 || errno == ECONNRESET);
        client_fini(&clients[i]);
    }
}

static void strangers_are_told_and_closed(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    if (geteuid() != 0)
        skip(); /* who could be a stranger? */
    assert_int_equal(chmod(dir, 0755) | chmod(path, 0666), 0);
    pid = fork();
    if (pid == 0) {
        struct client client = {.fd = -1};
        struct err err = {0};

        if (setresuid(65534, 65534, 65534) < 0 || client_connect(&client, dir, &err) < 0)
            _exit(1);
        _exit(strcmp(ask(&client, "{\"verb\":\"ping\"}"), "only root may ask the agent") ? 2 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    chmod(dir, 0700);
}

/* ---- the socket ---- */

static void its_place_is_never_empty(void **state)
{
    struct control *second = NULL;
    struct stat first, now;
    struct err err = {0};

    (void)state;
    assert_int_equal(lstat(path, &first), 0);
    assert_int_equal(first.st_mode, S_IFSOCK | 0600);
    assert_int_equal(control_new(&second, base, path, &err), 0); /* as one that takes over */
    assert_int_equal(lstat(path, &now), 0);
    assert_int_not_equal(first.st_ino, now.st_ino);
    control_free(&control); /* the first one leaves the second one's socket alone */
    assert_int_equal(access(path, F_OK), 0);
    control = second;
}

static int begin_idle(void **state)
{
    int result = begin(state);

    eventfd_write(stop_fd, 1);
    pthread_join(loop, NULL);
    return result;
}

static int end_idle(void **state)
{
    (void)state;
    control_free(&control);
    event_base_free(base);
    close(stop_fd);
    return access(path, F_OK) == 0;
}

static void a_dead_ones_socket_is_replaced(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    struct client client = {.fd = -1};
    struct err err = {0};

    (void)state;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(bind(dead, (struct sockaddr *)&address, sizeof(address)), 0);
    close(dead);
    assert_int_equal(client_connect(&client, dir, &err), -ENOENT);
    assert_non_null(strstr(err.text, "no agent runs"));
    assert_int_equal(begin(state), 0);
    enter(&client);
    expect(&client, "{\"verb\":\"nonsense\"}", "this agent knows no verb 'nonsense'");
    client_fini(&client);
    assert_int_equal(end(state), 0);
}

static void what_cannot_be_a_socket_is_said(void **state)
{
    struct client client = {.fd = -1};
    char longest[300];
    struct err err = {0};

    (void)state;
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = 0;
    base = event_base_new();
    assert_int_equal(control_new(&control, base, longest, &err), -ENAMETOOLONG);
    assert_int_equal(control_new(&control, base, "/nowhere/control.sock", &err), -ENOENT);
    assert_null(control);
    assert_int_equal(client_connect(&client, longest, &err), -ENAMETOOLONG);
    assert_int_equal(client_connect(&client, "/nowhere", &err), -ENOENT);
    event_base_free(base);
}

#define WITH_AGENT(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_AGENT(a_client_asks_again_and_again),
        WITH_AGENT(a_request_comes_in_single_bytes),
        WITH_AGENT(descriptors_come_with_it),
        WITH_AGENT(a_long_answer_is_made_as_it_is_read),
        WITH_AGENT(an_answer_may_come_late),
        WITH_AGENT(a_verb_may_take_the_connection),
        WITH_AGENT(what_is_no_request_is_told_and_the_last),
        WITH_AGENT(half_a_request_is_told),
        WITH_AGENT(what_never_ends_is_not_kept),
        WITH_AGENT(nine_descriptors_are_closed),
        WITH_AGENT(who_leaves_is_forgotten),
        WITH_AGENT(a_crowd_does_not_keep_others_out),
        WITH_AGENT(who_neither_writes_nor_reads_is_dropped),
        WITH_AGENT(strangers_are_told_and_closed),
        cmocka_unit_test_setup_teardown(its_place_is_never_empty, begin_idle, end_idle),
        cmocka_unit_test(a_dead_ones_socket_is_replaced),
        cmocka_unit_test(what_cannot_be_a_socket_is_said),
    };
    int failed;

    if (!mkdtemp(dir))
        return 1;
    snprintf(path, sizeof(path), "%s/" CONTROL_SOCKET, dir);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (rmdir(dir) < 0) /* no other name is left there */
        return 1;
    return failed;
}
