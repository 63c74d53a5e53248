/* control: clients that are broken, slow, many, or strangers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/control/control_bed.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_AGENT(what_is_no_request_is_told_and_the_last),
        WITH_AGENT(half_a_request_is_told),
        WITH_AGENT(what_never_ends_is_not_kept),
        WITH_AGENT(nine_descriptors_are_closed),
        WITH_AGENT(who_leaves_is_forgotten),
        WITH_AGENT(a_crowd_does_not_keep_others_out),
        WITH_AGENT(who_neither_writes_nor_reads_is_dropped),
        WITH_AGENT(strangers_are_told_and_closed),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
