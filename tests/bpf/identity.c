/* identity: proxy/identity/ over the real kernel programs: what is told of the processes of a
 * registered cgroup. Which process a flow belongs to: flows.c.
 */
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sallyport.skel.h"
#include "told.h"

static void exec_shell_exit_3(void)
{
    execl("/bin/sh", "sh", "-c", "exit 3", NULL);
}

/* ---- what is told ------------------------------------------------------------------------------
 */

static void an_exec_and_an_exit_are_told(void **state)
{
    struct process *process;
    char self[PATH_MAX];
    uint64_t now = flow_event_now();
    pid_t pid;

    (void)state;
    pid = watch_run(&watch, "/pod", exec_shell_exit_3, NULL);
    assert_int_equal(identity_step(identity), -1);
    expect_events(2);
    expect_event(0, FLOW_EVENT_EXEC, "/bin/sh", "-c \"exit 3\"");
    expect_event(1, FLOW_EVENT_EXIT, "/bin/sh", "-c \"exit 3\"");
    assert_int_equal(events[1]->exit.status, 3);
    assert_int_equal(events[1]->exit.signal, 0);
    process = events[0]->process;
    assert_ptr_equal(events[1]->process, process);
    assert_int_equal(process->nspid, pid);
    assert_true(process->start_time_ns + 1000000 > now); /* the clocks were read one by one */
    assert_true(process->start_time_ns <= events[0]->time_ns);
    assert_true(events[0]->time_ns <= events[1]->time_ns);
    assert_true(events[1]->time_ns < now + 60 * 1000000000ull);
    assert_int_equal(identity_alive(identity), 0);
    /* the parent is outside the pod: from /proc */
    assert_non_null(process->parent);
    assert_int_equal(process->parent->nspid, getpid());
    assert_string_equal(process->parent->binary, realpath("/proc/self/exe", self));
    assert_string_equal(process->parent->exec_id, process->parent_exec_id);
    assert_null(process->parent->pod);
}

static void exec_shell_with_a_command(void)
{
    execl("/bin/sh", "sh", "-c", "/bin/true; exit 0", NULL);
}

static void a_child_has_its_forker_as_parent(void **state)
{
    (void)state;
    watch_run(&watch, "/pod", exec_shell_with_a_command, NULL);
    identity_step(identity);
    expect_events(4); /* and nothing for the fork */
    expect_event(0, FLOW_EVENT_EXEC, "/bin/sh", "-c \"/bin/true; exit 0\"");
    expect_event(1, FLOW_EVENT_EXEC, "/bin/true", "");
    expect_event(2, FLOW_EVENT_EXIT, "/bin/true", "");
    expect_event(3, FLOW_EVENT_EXIT, "/bin/sh", "-c \"/bin/true; exit 0\"");
    assert_ptr_equal(events[1]->process->parent, events[0]->process);
    assert_string_equal(events[1]->process->parent_exec_id, events[0]->process->exec_id);
}

static void exec_shell_that_becomes_another(void)
{
    execl("/bin/sh", "sh", "-c", "exec /bin/true word", NULL);
}

static void a_second_exec_replaces_the_image(void **state)
{
    (void)state;
    watch_run(&watch, "/pod", exec_shell_that_becomes_another, NULL);
    identity_step(identity);
    expect_events(3);
    expect_event(0, FLOW_EVENT_EXEC, "/bin/sh", "-c \"exec /bin/true word\"");
    expect_event(1, FLOW_EVENT_EXEC, "/bin/true", "word");
    expect_event(2, FLOW_EVENT_EXIT, "/bin/true", "word");
    assert_int_equal(events[1]->process->parent->nspid, getpid());
}

static void exec_shell_that_leaves_a_child(void)
{
    execl("/bin/sh", "sh", "-c", "(sleep 0.2; exec /bin/true) & exit 0", NULL);
}

static void an_orphans_parent_is_who_forked_it(void **state)
{
    const struct flow_event *last = NULL;

    (void)state;
    watch_run(&watch, "/pod", exec_shell_that_leaves_a_child, NULL);
    for (int i = 0; i < 1000 && events_len < 6; i++) { /* three began and ended */
        sleep_ms(10);
        identity_step(identity);
    }
    expect_events(6);
    for (size_t i = 0; i < events_len; i++)
        if (events[i]->kind == FLOW_EVENT_EXEC)
            last = events[i];
    assert_non_null(last);
    assert_string_equal(last->process->arguments, "");
    assert_ptr_equal(last->process->parent, events[0]->process);
}

static void exec_shell_that_kills_itself(void)
{
    execl("/bin/sh", "sh", "-c", "kill -KILL $$", NULL);
}

static void an_exit_tells_the_signal(void **state)
{
    (void)state;
    watch_run(&watch, "/pod", exec_shell_that_kills_itself, NULL);
    identity_step(identity);
    expect_events(2);
    assert_int_equal(events[1]->kind, FLOW_EVENT_EXIT);
    assert_int_equal(events[1]->exit.signal, SIGKILL);
    assert_int_equal(events[1]->exit.status, 0);
}

static uint32_t exec_pid;
static size_t events_at_exec;

static void note_exec(void *arg, const struct identity_begin *begin)
{
    assert_ptr_equal(arg, &exec_pid);
    assert_true(begin->netns_cookie != 0 && begin->start_ns != 0 && begin->pod != 0);
    exec_pid = begin->pid;
    events_at_exec = events_len;
}

static void the_agent_hears_of_an_exec_before_it_is_told(void **state)
{
    (void)state;
    identity_on_exec(identity, note_exec, &exec_pid);
    watch_run(&watch, "/pod", exec_shell_exit_3, NULL);
    identity_step(identity);
    assert_int_equal(events_at_exec, 0);
    expect_events(2);
    assert_int_equal(exec_pid, events[0]->process->pid);
}

static void set_lost(uint64_t lost)
{
    uint32_t zero = 0;

    assert_int_equal(bpf_map__update_elem(watch.bpf->maps.records_lost, &zero, sizeof(zero), &lost,
                                          sizeof(lost), 0),
                     0);
}

static void what_the_kernel_could_not_tell_is_told_once(void **state)
{
    (void)state;
    set_lost(7);
    assert_in_range(identity_step(identity), 900, 1000); /* then it looks who is still there */
    identity_step(identity);
    expect_events(1);
    assert_int_equal(events[0]->kind, FLOW_EVENT_LOST);
    assert_int_equal(events[0]->lost.count, 7);
    assert_non_null(events[0]->lost.reason);
    set_lost(0);
}

static void a_process_whose_exit_was_lost_is_forgotten(void **state)
{
    struct abi_pod registered = {0};
    pid_t pid = start_sleep();

    (void)state;
    assert_int_equal(identity_alive(identity), 1);
    assert_int_equal(
        bpf_map__delete_elem(watch.bpf->maps.pods, &pod.cgroup_id, sizeof(pod.cgroup_id), 0), 0);
    end_process(pid);
    assert_int_equal(bpf_map__update_elem(watch.bpf->maps.pods, &pod.cgroup_id,
                                          sizeof(pod.cgroup_id), &registered, sizeof(registered),
                                          0),
                     0);
    set_lost(1);
    sleep_ms(identity_step(identity));
    identity_step(identity);
    assert_int_equal(identity_alive(identity), 0);
    set_lost(0);
}

static void note_process(void *arg, const struct process *process, bool told)
{
    (void)told;
    *(const struct process **)arg = process;
}

static void the_living_are_visited(void **state)
{
    const struct process *visited = NULL;
    pid_t pid = start_sleep();
    struct stat netns;

    (void)state;
    identity_each(identity, note_process, &visited);
    assert_ptr_equal(visited, events[0]->process);
    assert_int_equal(stat("/proc/self/ns/net", &netns), 0);
    assert_int_equal(visited->ns.net, netns.st_ino);
    end_process(pid);
    identity_step(identity);
    visited = NULL;
    identity_each(identity, note_process, &visited);
    assert_null(visited);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, told_begin, told_end)
    const struct CMUnitTest tests[] = {
        TEST(an_exec_and_an_exit_are_told),
        TEST(a_child_has_its_forker_as_parent),
        TEST(a_second_exec_replaces_the_image),
        TEST(an_orphans_parent_is_who_forked_it),
        TEST(an_exit_tells_the_signal),
        TEST(the_agent_hears_of_an_exec_before_it_is_told),
        TEST(what_the_kernel_could_not_tell_is_told_once),
        TEST(a_process_whose_exit_was_lost_is_forgotten),
        TEST(the_living_are_visited),
    };
    int failed;

    told_init();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    told_fini();
    return failed;
}
