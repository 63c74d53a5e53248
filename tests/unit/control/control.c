/* control: a real socket, its loop in a thread of its own, honest clients. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/control/control_bed.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_AGENT(a_client_asks_again_and_again),
        WITH_AGENT(a_request_comes_in_single_bytes),
        WITH_AGENT(descriptors_come_with_it),
        WITH_AGENT(a_long_answer_is_made_as_it_is_read),
        WITH_AGENT(an_answer_may_come_late),
        WITH_AGENT(a_verb_may_take_the_connection),
        cmocka_unit_test_setup_teardown(its_place_is_never_empty, begin_idle, end_idle),
        cmocka_unit_test(a_dead_ones_socket_is_replaced),
        cmocka_unit_test(what_cannot_be_a_socket_is_said),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
