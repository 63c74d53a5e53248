/* flows: proxy/identity/ over the real kernel programs: which process a flow is said to belong to,
 * and that an exit is told after the flows of its process.
 */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "told.h"

static int go_pipe[2];

static void an_exit_waits_for_its_flows(void **state)
{
    struct process *flow[2];
    struct pollfd woken = {.fd = identity_wake_fd(identity), .events = POLLIN};
    pid_t pid = start_sleep();
    const struct process *process = events[0]->process;

    (void)state;
    for (int i = 0; i < 2; i++) {
        flow[i] = identity_flow_begin(identity, process->pid, process->start_ns, pod.cgroup_id);
        assert_ptr_equal(flow[i], process);
    }
    end_process(pid);
    assert_in_range(identity_step(identity), 1, 500);
    assert_int_equal(identity_alive(identity), 0);
    identity_flow_end(identity, &flow[0]);
    assert_int_equal(poll(&woken, 1, 0), 0);
    assert_in_range(identity_step(identity), 1, 500);
    expect_events(1);
    identity_flow_end(identity, &flow[1]);
    assert_null(flow[1]);
    assert_int_equal(poll(&woken, 1, 0), 1);
    assert_int_equal(identity_step(identity), -1);
    assert_int_equal(poll(&woken, 1, 0), 0);
    expect_events(2);
    expect_event(1, FLOW_EVENT_EXIT, "/bin/sleep", "60");
    assert_int_equal(events[1]->exit.signal, SIGTERM);
}

/* The ring is empty then, and its descriptor says nothing. */
static void an_exit_read_by_a_flows_begin_is_told_without_waiting(void **state)
{
    struct pollfd read = {.fd = identity_fd(identity), .events = POLLIN};
    struct pollfd woken = {.fd = identity_wake_fd(identity), .events = POLLIN};
    pid_t pid = start_sleep();

    (void)state;
    end_process(pid);
    assert_null(identity_flow_begin(identity, (uint32_t)getpid(), 1, pod.cgroup_id));
    assert_int_equal(poll(&read, 1, 0), 0);
    assert_int_equal(poll(&woken, 1, 0), 1);
    assert_int_equal(identity_step(identity), -1);
    expect_events(2);
    assert_null(identity_flow_begin(identity, (uint32_t)getpid(), 1, pod.cgroup_id));
    assert_int_equal(poll(&woken, 1, 0), 0);
}

static void an_exit_waits_half_a_second_at_most(void **state)
{
    struct process *flow;
    uint64_t exited;
    int wait;
    pid_t pid = start_sleep();

    (void)state;
    flow = identity_flow_begin(identity, events[0]->process->pid, 0, pod.cgroup_id);
    assert_non_null(flow);
    end_process(pid);
    wait = identity_step(identity);
    assert_in_range(wait, 1, 500);
    expect_events(1);
    sleep_ms(wait);
    assert_int_equal(identity_step(identity), -1);
    exited = flow_event_now();
    expect_events(2);
    assert_in_range(exited - events[1]->time_ns, 499 * 1000000, 2000000000);
    identity_flow_end(identity, &flow);
}

/* Longer, where what was said is yet to be heard. */
static void an_exit_waits_for_what_is_yet_to_be_heard(void **state)
{
    struct process *flow;
    pid_t pid = start_sleep();

    (void)state;
    flow = identity_flow_begin(identity, events[0]->process->pid, 0, pod.cgroup_id);
    assert_non_null(flow);
    identity_heard(identity, 0);
    end_process(pid);
    for (int i = 0; i < 2; i++) {
        assert_in_range(identity_step(identity), 1, 500);
        sleep_ms(600);
    }
    identity_heard(identity, clock_read_ns(CLOCK_BOOTTIME));
    expect_events(1);
    identity_flow_end(identity, &flow);
    assert_int_equal(identity_step(identity), -1);
    expect_events(2);
}

/* Its sockets go over to the next image. */
static void become_another_image(void)
{
    dup2(go_pipe[0], STDIN_FILENO);
    execl("/bin/sh", "sh", "-c", "read go; exec sleep 60", NULL);
}

static void wait_for_events(size_t count)
{
    while (events_len < count)
        identity_step(identity);
    expect_events(count);
}

static void an_exit_waits_for_flows_of_earlier_images(void **state)
{
    struct process *flow;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(go_pipe), 0);
    pid = watch_start(&watch, "/pod", become_another_image);
    wait_for_events(1);
    flow =
        identity_flow_begin(identity, (uint32_t)pid, events[0]->process->start_ns, pod.cgroup_id);
    assert_ptr_equal(flow, events[0]->process);
    assert_int_equal(write(go_pipe[1], "\n", 1), 1);
    wait_for_events(2);
    expect_event(1, FLOW_EVENT_EXEC, "/bin/sleep", "60");
    assert_ptr_not_equal(events[1]->process, flow);
    end_process(pid);
    assert_in_range(identity_step(identity), 1, 500);
    expect_events(2);
    identity_flow_end(identity, &flow);
    assert_int_equal(identity_step(identity), -1);
    expect_events(3);
    close(go_pipe[0]);
    close(go_pipe[1]);
}

static void take_down_tells_the_exits_that_wait(void **state)
{
    struct process *flow;
    pid_t pid = start_sleep();

    (void)state;
    flow = identity_flow_begin(identity, events[0]->process->pid, 0, pod.cgroup_id);
    end_process(pid);
    identity_finish(identity);
    expect_events(2);
    identity_flow_end(identity, &flow);
}

static void *end_flow(void *flow)
{
    identity_flow_end(identity, (struct process **)flow);
    return NULL;
}

static void flows_end_on_other_threads(void **state)
{
    struct process *flows[16];
    pthread_t threads[ARRAY_SIZE(flows)];
    struct pollfd woken = {.fd = identity_wake_fd(identity), .events = POLLIN};
    pid_t pid = start_sleep();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(flows); i++)
        flows[i] = identity_flow_begin(identity, events[0]->process->pid, 0, pod.cgroup_id);
    end_process(pid);
    for (size_t i = 0; i < ARRAY_SIZE(flows); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, end_flow, &flows[i]), 0);
    while (identity_step(identity) >= 0)
        assert_int_equal(poll(&woken, 1, 20000), 1); /* by the last of them, however late it is */
    for (size_t i = 0; i < ARRAY_SIZE(flows); i++)
        pthread_join(threads[i], NULL);
    expect_events(2);
}

static int to_cat[2], from_cat[2];

static void exec_cat(void)
{
    if (dup2(to_cat[0], STDIN_FILENO) < 0 || dup2(from_cat[1], STDOUT_FILENO) < 0)
        _exit(122);
    execl("/bin/cat", "cat", "-u", NULL);
}

/* Starts a program that goes on until it is ended, and waits until it runs; nothing is read of what
 * the kernel tells. */
static pid_t start_cat(const char *cgroup)
{
    char byte = 'x';
    pid_t pid;

    assert_int_equal(pipe2(to_cat, O_CLOEXEC), 0);
    assert_int_equal(pipe2(from_cat, O_CLOEXEC), 0);
    pid = watch_start(&watch, cgroup, exec_cat);
    assert_int_equal(write(to_cat[1], &byte, 1), 1);
    assert_int_equal(read(from_cat[0], &byte, 1), 1);
    return pid;
}

static void end_cat(pid_t pid)
{
    end_process(pid);
    for (int i = 0; i < 2; i++) {
        close(to_cat[i]);
        close(from_cat[i]);
    }
}

/* The exec is still unread when the flow is accepted. */
static void a_flow_belongs_to_the_image_that_connected(void **state)
{
    struct process *flow;
    pid_t pid = start_cat("/pod");

    (void)state;
    flow = identity_flow_begin(identity, (uint32_t)pid, 0, pod.cgroup_id);
    expect_events(1);
    assert_ptr_equal(flow, events[0]->process);
    identity_flow_end(identity, &flow);
    end_cat(pid);
}

static int forked_pipe[2];

static void fork_and_wait(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        alarm(120); /* a failing test does not end it */
        pause();
    }
    if (write(forked_pipe[1], &pid, sizeof(pid)) != sizeof(pid))
        _exit(122);
    waitpid(pid, NULL, 0);
    _exit(0);
}

static void a_forked_process_has_its_parents_image(void **state)
{
    struct process *flow;
    char self[PATH_MAX];
    pid_t pid, child;

    (void)state;
    assert_int_equal(pipe(forked_pipe), 0);
    pid = watch_start(&watch, "/pod", fork_and_wait);
    assert_int_equal(read(forked_pipe[0], &child, sizeof(child)), sizeof(child));
    flow = identity_flow_begin(identity, (uint32_t)child, 0, pod.cgroup_id);
    assert_non_null(flow);
    assert_string_equal(flow->binary, realpath("/proc/self/exe", self));
    assert_int_equal(flow->pid, child);
    assert_ptr_equal(flow->pod, &pod);
    assert_int_equal(flow->parent->pid, pid);
    assert_string_not_equal(flow->exec_id, flow->parent->exec_id);
    assert_string_equal(flow->parent_exec_id, flow->parent->exec_id);
    identity_flow_end(identity, &flow);
    kill(child, SIGTERM);
    waitpid(pid, NULL, 0);
    close(forked_pipe[0]);
    close(forked_pipe[1]);
    assert_int_equal(identity_step(identity), -1);
    expect_events(0); /* neither was told to begin */
}

static void a_process_that_began_unseen_is_read_from_proc(void **state)
{
    struct process *first, *again;
    pid_t pid = start_cat("/other");

    (void)state;
    first = identity_flow_begin(identity, (uint32_t)pid, 0, pod.cgroup_id);
    assert_non_null(first);
    assert_string_equal(first->arguments, "-u");
    assert_ptr_equal(first->pod, &pod);
    again = identity_flow_begin(identity, (uint32_t)pid, 0, pod.cgroup_id);
    assert_ptr_equal(again, first);
    assert_int_equal(first->life->flows, 2);
    identity_flow_end(identity, &again);
    identity_flow_end(identity, &first);
    end_cat(pid);
}

static void a_process_that_ended_just_now_is_known(void **state)
{
    struct process *flow;
    const struct process *process;
    pid_t pid = start_sleep();

    (void)state;
    process = events[0]->process;
    end_process(pid);
    identity_step(identity);
    expect_events(2);
    flow = identity_flow_begin(identity, process->pid, process->start_ns, pod.cgroup_id);
    assert_ptr_equal(flow, process);
    identity_flow_end(identity, &flow);
    sleep_ms(510);
    identity_step(identity);
    assert_null(identity_flow_begin(identity, process->pid, process->start_ns, pod.cgroup_id));
}

static void another_process_with_the_pid_is_not_taken_for_it(void **state)
{
    (void)state;
    assert_null(identity_flow_begin(identity, (uint32_t)getpid(), 1, pod.cgroup_id));
    identity_flow_end(identity, &(struct process *){NULL});
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, told_begin, told_end)
    const struct CMUnitTest tests[] = {
        TEST(an_exit_waits_for_its_flows),
        TEST(an_exit_read_by_a_flows_begin_is_told_without_waiting),
        TEST(an_exit_waits_half_a_second_at_most),
        TEST(an_exit_waits_for_what_is_yet_to_be_heard),
        TEST(an_exit_waits_for_flows_of_earlier_images),
        TEST(take_down_tells_the_exits_that_wait),
        TEST(flows_end_on_other_threads),
        TEST(a_flow_belongs_to_the_image_that_connected),
        TEST(a_forked_process_has_its_parents_image),
        TEST(a_process_that_began_unseen_is_read_from_proc),
        TEST(a_process_that_ended_just_now_is_known),
        TEST(another_process_with_the_pid_is_not_taken_for_it),
    };
    int failed;

    told_init();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    told_fini();
    return failed;
}
