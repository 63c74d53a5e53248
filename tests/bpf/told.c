#include "told.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "proxy/pods/pods.h"

struct watch watch;
struct identity *identity;
struct pod pod = {.space = (char *)"shop", .name = (char *)"cart"};
struct flow_event *events[EVENTS_MAX]; /* since the test began */
size_t events_len;

/* ---- in the place of the bus and the pods ------------------------------------------------------
 */

void bus_emit(struct bus_producer *producer, struct flow_event **event)
{
    (void)producer;
    assert_non_null(*event);
    assert_true(events_len < EVENTS_MAX);
    events[events_len++] = TAKE(*event);
}

struct pod *pods_find(struct pods *pods, uint64_t cgroup_id)
{
    (void)pods;
    return cgroup_id == pod.cgroup_id ? &pod : NULL;
}

/* ---- helpers -----------------------------------------------------------------------------------
 */

void told_init(void)
{
    watch_init(&watch);
    atomic_init(&pod.refs, 1);
    pod.cgroup_id = watch_cgroup_id(&watch, "/pod");
}

void told_fini(void)
{
    watch_fini(&watch);
}

int told_begin(void **state)
{
    struct err err;

    (void)state;
    return identity_new(&identity, watch.bpf, NULL, NULL, "node", &err);
}

int told_end(void **state)
{
    (void)state;
    identity_finish(identity);
    identity_free(&identity);
    while (events_len)
        flow_event_free(&events[--events_len]);
    return 0;
}

void expect_events(size_t count)
{
    for (size_t i = 0; i < events_len && events_len != count; i++)
        print_message("  %s %s %s\n", flow_event_name(events[i]->kind),
                      events[i]->process ? events[i]->process->binary : "",
                      events[i]->process ? events[i]->process->arguments : "");
    assert_int_equal(events_len, count);
}

void expect_event(size_t i, enum flow_event_kind kind, const char *binary, const char *arguments)
{
    char real[PATH_MAX];

    assert_true(i < events_len);
    assert_int_equal(events[i]->kind, kind);
    assert_string_equal(events[i]->process->binary, realpath(binary, real));
    assert_string_equal(events[i]->process->arguments, arguments);
    assert_ptr_equal(events[i]->pod, &pod);
    assert_ptr_equal(events[i]->process->pod, &pod);
}

void sleep_ms(int ms)
{
    poll(NULL, 0, ms);
}

static void exec_sleep(void)
{
    execl("/bin/sleep", "sleep", "60", NULL);
}

pid_t start_sleep(void)
{
    pid_t pid = watch_start(&watch, "/pod", exec_sleep);

    for (int i = 0; i < 1000 && !events_len; i++) {
        sleep_ms(10);
        identity_step(identity);
    }
    expect_events(1);
    expect_event(0, FLOW_EVENT_EXEC, "/bin/sleep", "60");
    return pid;
}

void end_process(pid_t pid)
{
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}
