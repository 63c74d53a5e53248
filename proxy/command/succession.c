#include "proxy/command/succession.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "events/forward.h"
#include "events/sink.h"
#include "proxy/agent.h"
#include "proxy/control/control.h"
#include "proxy/notify.h"
#include "proxy/succession/successor.h"

enum {
    LOOK_US = 20000,
    /* systemd signals one that it did not start itself twice in a row, a person does not */
    SECOND_NS = 1000000000,
    RENEW_S = 30,   /* for a successor of our own making */
    TAKE_UP_S = 30, /* for one that has asked to take up pods and policies */
};
#define PROMISE_NS UINT64_C(10000000000)

struct succession {
    struct succession_parts parts;
    uint64_t promised_ns; /* until then who asked for our place finds us here */
    uint64_t asked_ns;    /* to drain */
    uint64_t until_ns;    /* 0: serving; for the heir to take up pods, then for our flows */
    bool retired;
    struct event *look;
    struct event *hand_over; /* from the loop: not within a verb of the control socket it closes */
    int stream, events_fd;   /* to the one that asked; -1 */
    int heir;                /* its pid */
    struct successor *successor; /* from then on others read what we had registered */
    struct event *on_heir;
    struct event *renew_due; /* pending: a successor was started, and has not asked yet */
    struct sink events;
    char program[PATH_MAX];
};

/* ---- ending ---- */

static void free_event(struct event **event)
{
    if (*event)
        event_free(TAKE(*event));
}

/* Another one takes up pods and policies, and has yet to ask for what we know. */
static bool has_heir(const struct succession *succession)
{
    return succession->successor && !succession->retired;
}

/* Whoever comes next finds the place free, and asks nobody: two would read the same records. */
static void give_up_heir(struct succession *succession)
{
    free_event(&succession->on_heir);
    agent_let_go(succession->parts.agent);
    succession->retired = true;
    successor_free(&succession->successor);
    succession->parts.leave(succession->parts.arg);
}

static void end_within(struct succession *succession, uint64_t ms);

static void end_soon(struct succession *succession)
{
    end_within(succession, succession->parts.drain_ms(succession->parts.arg));
}

static void look(evutil_socket_t fd, short what, void *arg)
{
    static const struct timeval again = {.tv_usec = LOOK_US};
    struct succession *succession = arg;
    uint64_t now = clock_ns();
    bool awaited = has_heir(succession) || (!succession->retired && now < succession->promised_ns);

    (void)fd;
    (void)what;
    if (now >= succession->until_ns && has_heir(succession)) {
        log_warn("agent %d has not taken over within %d s: what this one knows is lost",
                 succession->heir, TAKE_UP_S);
        give_up_heir(succession);
        end_soon(succession);
        return;
    }
    if (now >= succession->until_ns || (!awaited && agent_is_drained(succession->parts.agent)))
        event_base_loopbreak(agent_base(succession->parts.agent));
    else
        event_add(succession->look, &again);
}

static void end_within(struct succession *succession, uint64_t ms)
{
    succession->until_ns = clock_ns() + ms * UINT64_C(1000000);
    look(-1, 0, succession);
}

void succession_drain(struct succession *succession)
{
    uint64_t now = clock_ns();

    if (has_heir(succession) && !succession->asked_ns) {
        succession->asked_ns = now; /* we are ending, and that one wants what we know */
        return;
    }
    if (succession->until_ns) { /* or who takes our place has asked */
        if (now - succession->asked_ns < SECOND_NS)
            return;
        if (has_heir(succession))
            give_up_heir(succession);
        event_base_loopbreak(agent_base(succession->parts.agent));
        return;
    }
    succession->asked_ns = now;
    agent_drain(succession->parts.agent);
    notify_say("STOPPING=1\nSTATUS=Ending with the last connection");
    if (succession->parts.alone) { /* the next one needs nothing that we know */
        succession->parts.make_way(succession->parts.arg);
        succession->parts.leave(succession->parts.arg);
    }
    end_soon(succession);
}

/* ---- making way ---- */

static void tell_systemd(const struct succession *succession)
{
    notify_say("MAINPID=%d", succession->heir);
}

/* It has all that it needs but what we know, and wants the place. Until now we have read what the
 * kernel told, so that nothing waits that nobody will know any more. */
static void give_place(struct succession *succession)
{
    struct err err;
    int result;

    sink_init(&succession->events, forward_render, succession->events_fd, "", false);
    result =
        agent_retire(succession->parts.agent, succession->successor, &succession->events, &err);
    succession->retired = true;
    if (result == 0)
        result = successor_begin(succession->successor, &err);
    tell_systemd(succession);
    /* at once, for it waits for that and reads nothing meanwhile; also when something failed: who
     * asked may go on without the rest */
    succession->parts.leave(succession->parts.arg);
    if (result < 0)
        log_warn("%s", err.text);
}

static void on_heir(evutil_socket_t fd, short what, void *arg)
{
    struct succession *succession = arg;
    char byte;

    (void)what;
    if (recv(fd, &byte, 1, MSG_DONTWAIT) > 0)
        give_place(succession);
    else
        give_up_heir(succession);
    end_soon(succession);
}

static int make_way(struct succession *succession, struct err *err)
{
    int result;

    succession->parts.make_way(succession->parts.arg);
    agent_make_way(succession->parts.agent);
    result = successor_new(&succession->successor, succession->stream, err);
    succession->stream = -1;
    if (result < 0)
        return result;
    succession->on_heir =
        event_new(agent_base(succession->parts.agent), successor_fd(succession->successor), EV_READ,
                  on_heir, succession);
    if (!succession->on_heir || event_add(succession->on_heir, NULL) < 0)
        return err_set(err, -ENOMEM, "handing over to the next agent");
    return successor_welcome(succession->successor, err);
}

static void hand_over(evutil_socket_t fd, short what, void *arg)
{
    struct succession *succession = arg;
    struct err err;

    (void)fd;
    (void)what;
    event_del(succession->renew_due);
    if (make_way(succession, &err) < 0) { /* who asked may go on without what we know */
        log_warn("%s", err.text);
        give_up_heir(succession);
        end_soon(succession);
        return;
    }
    end_within(succession, TAKE_UP_S * 1000);
}

static void on_takeover(void *arg, struct control_call *call)
{
    struct succession *succession = arg;
    struct err err;

    if (succession->stream >= 0) {
        err_set(&err, -EBUSY, "another agent is taking over from agent %d just now", getpid());
        control_refuse(call, &err);
        return;
    }
    if (succession->parts.alone) {
        err_set(
            &err, -EBUSY,
            "an agent with --listen runs already (pid %d), whose place can be taken when it has "
            "ended",
            getpid());
        control_refuse(call, &err);
        return;
    }
    if (!succession->until_ns && !json_is_true(json_object_get(control_args(call), "replace"))) {
        err_set(&err, -EBUSY,
                "an agent runs already (pid %d); 'sallyport run --replace' takes over from it",
                getpid());
        control_refuse(call, &err);
        return;
    }
    if (json_is_true(json_object_get(control_args(call), "asked"))) { /* only whether we would */
        succession->promised_ns = clock_ns() + PROMISE_NS;
        control_answer(call, NULL);
        return;
    }
    succession->events_fd = control_take_fd(call, 0);
    if (succession->events_fd < 0) {
        err_set(&err, -EINVAL, "takeover: a descriptor for events is missing");
        control_refuse(call, &err);
        return;
    }
    succession->heir = control_peer(call)->pid;
    succession->stream = control_take_stream(call);
    event_active(succession->hand_over, EV_TIMEOUT, 0);
}

/* ---- a successor of our own making ---- */

static void on_renew_due(evutil_socket_t fd, short what, void *arg)
{
    const struct succession *succession = arg;

    (void)fd;
    (void)what;
    log_error("SIGUSR2: %s was started, but has not taken over within %d s; this agent goes on",
              succession->program, RENEW_S);
}

/* As a grandchild, whom init adopts: systemd kills a main process that is not its child where it
 * should let it end. 0, or the errno with which the program could not be started. */
static int start(const char *program, char *const *argv)
{
    int report[2], code = 0;
    pid_t child;

    if (pipe2(report, O_CLOEXEC) < 0)
        return errno;
    child = fork();
    if (child == 0) {
        if (fork() == 0) {
            execv(program, argv);
            code = errno;
            _exit(write(report[1], &code, sizeof(code)) < 0);
        }
        _exit(0);
    }
    if (child < 0)
        code = errno;
    close(report[1]);
    if (child > 0)
        waitpid(child, NULL, 0);
    if (child > 0 && read(report[0], &code, sizeof(code)) != sizeof(code))
        code = 0; /* it closed when the program began */
    close(report[0]);
    return code;
}

void succession_renew(struct succession *succession)
{
    static const struct timeval wait = {.tv_sec = RENEW_S};
    char *const *old = succession->parts.argv;
    char **argv;
    size_t len = 0;
    bool replaces = false;
    int code;

    if (succession->until_ns || evtimer_pending(succession->renew_due, NULL))
        return; /* on our way out, or it is under way */
    while (old[len]) {
        replaces = replaces || strcmp(old[len], "--replace") == 0;
        len++;
    }
    argv = calloc(len + 3, sizeof(*argv));
    if (!argv) {
        log_error("SIGUSR2: no memory to start a successor; this agent goes on");
        return;
    }
    argv[0] = succession->program;
    memcpy(argv + 1, old, len * sizeof(*argv));
    argv[1] = (char *)"run";
    if (!replaces)
        argv[1 + len] = (char *)"--replace";
    code = start(succession->program, argv);
    free(argv);
    if (code)
        log_error("SIGUSR2: %s cannot be started: %s; this agent goes on", succession->program,
                  strerror(code));
    else
        event_add(succession->renew_due, &wait);
}

/* ---- set-up ---- */

int succession_new(struct succession **out, const struct succession_parts *parts,
                   struct control *control, struct err *err)
{
    CLEANUP(succession_free) struct succession *succession = calloc(1, sizeof(*succession));
    struct event_base *base = agent_base(parts->agent);

    if (!succession)
        return err_set(err, -ENOMEM, "succession");
    succession->parts = *parts;
    succession->stream = succession->events_fd = -1;
    /* where it is, not what it is: by then another version may be there */
    if (readlink("/proc/self/exe", succession->program, sizeof(succession->program) - 1) < 0)
        return err_sys(err, -errno, "/proc/self/exe");
    succession->look = evtimer_new(base, look, succession);
    succession->hand_over = evtimer_new(base, hand_over, succession);
    succession->renew_due = evtimer_new(base, on_renew_due, succession);
    if (!succession->look || !succession->hand_over || !succession->renew_due)
        return err_set(err, -ENOMEM, "the control loop");
    if (control_on(control, "takeover", on_takeover, succession, err) < 0)
        return err->code;
    *out = TAKE(succession);
    return 0;
}

void succession_stop(struct succession *succession)
{
    free_event(&succession->look);
    free_event(&succession->hand_over);
    free_event(&succession->on_heir);
    free_event(&succession->renew_due);
}

void succession_free(struct succession **succession)
{
    struct succession *gone = TAKE(*succession);

    if (!gone)
        return;
    succession_stop(gone);
    successor_free(&gone->successor);
    sink_fini(&gone->events);
    fd_close(&gone->stream);
    fd_close(&gone->events_fd);
    free(gone);
}
