/* control_bed: a control socket with some verbs, served by a thread of its own, and clients of it.
 */
#pragma once

#include "proxy/control/control.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

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

static inline void echo(void *arg, struct control_call *call)
{
    const json_t *args = control_args(call);

    calls++;
    assert_ptr_equal(arg, &calls);
    control_answer(call, json_pack("{s:O, s:i}", "said", json_object_get(args, "say"), "pid",
                                   (int)control_peer(call)->pid));
}

/* Writes into the second descriptor. */
static inline void write_into(void *arg, struct control_call *call)
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

static inline void complain(void *arg, struct control_call *call)
{
    struct err err;

    (void)arg;
    err_set(&err, -EINVAL, "a name of strange bytes: \xff\xfe");
    control_refuse(call, &err);
}

static inline bool next_row(void *arg, struct buffer *line)
{
    (void)arg;
    if (rows_made == ROWS)
        return false;
    buffer_format(line, "{\"row\":%u}", rows_made++);
    return true;
}

static inline void end_of_rows(void *arg)
{
    (void)arg;
    rows_done++;
}

static inline void list(void *arg, struct control_call *call)
{
    const struct control_rows rows = {.next = next_row, .done = end_of_rows};

    (void)arg;
    rows_made = 0;
    control_answer_rows(call, json_pack("{s:i}", "rows", ROWS), &rows);
}

static inline void keep(void *arg, struct control_call *call)
{
    (void)arg;
    kept = call;
    calls++;
}

static inline void answer_kept(void *arg, struct control_call *call)
{
    (void)arg;
    control_answer(TAKE(kept), json_pack("{s:s}", "came", "late"));
    control_answer(call, NULL);
}

static inline void stream(void *arg, struct control_call *call)
{
    int fd = control_take_stream(call);

    (void)arg;
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(write(fd, "my own words", 12), 12);
    close(fd);
}

/* ---- the agent's side ---- */

static inline void on_stop(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    event_base_loopbreak(arg);
}

static inline void *run_loop(void *arg)
{
    struct event *stop = event_new(base, stop_fd, EV_READ, on_stop, base);

    assert_int_equal(event_add(stop, NULL), 0);
    event_base_dispatch(base);
    event_free(stop);
    return arg;
}

static inline int begin(void **state)
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

static inline int end(void **state)
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

static inline void enter(struct client *client)
{
    struct err err = {0};

    if (client_connect(client, dir, &err) < 0)
        fail_msg("%s", err.text);
}

/* What verb is answered with; "" when it is refused. */
static inline char *ask(struct client *client, const char *request)
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

static inline void expect(struct client *client, const char *request, const char *answer)
{
    assert_string_equal(ask(client, request), answer);
}

static inline void say(struct client *client, const char *bytes, size_t len)
{
    assert_int_equal(send(client->fd, bytes, len, MSG_NOSIGNAL), len);
}

/* The next line is a refusal with these words, and the connection ends behind it. */
static inline void expect_fault(struct client *client, const char *words)
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

static inline unsigned open_files(void)
{
    DIR *all = opendir("/proc/self/fd");
    unsigned count = 0;

    while (readdir(all))
        count++;
    closedir(all);
    return count;
}

/* Until the loop's thread has closed what it had. */
static inline void expect_open_files(unsigned wanted)
{
    for (int i = 0; i < 1000 && open_files() != wanted; i++)
        usleep(5000);
    assert_int_equal(open_files(), wanted);
}

/* ---- the directory ---- */

static inline int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/" CONTROL_SOCKET, dir);
    return 0;
}

/* No other name is left there. */
static inline int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir);
}

#define WITH_AGENT(test) cmocka_unit_test_setup_teardown(test, begin, end)
