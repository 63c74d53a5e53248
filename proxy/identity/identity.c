/* From the kernel come exec, fork and exit, in the order they happened for any one process, for all
 * that run in a pod. A process that was never seen to begin (it is older than its pod's
 * registration, or the ring buffer was full) is read from /proc when somebody asks.
 *
 * Other threads hold references to processes and read them, so a process is finished before the
 * first reference is handed out, and an exec makes a new one in the old one's place. */
#include "proxy/identity/identity_own.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "proxy/pods/pods.h"
#include "sallyport.skel.h"

enum {
    CLOCK_STEP_NS = 10 * 1000 * 1000, /* less is the clock's own steering, or ours to measure it */
    BUSY_MS = 1,                      /* until a record is looked at again that is being written */
    BUSY_US = 100,                    /* ... where the caller waits for it */
    BUSY_TURNS = 200,                 /* ... at most */
};
static const uint64_t second_ns = 1000000000;
static const uint32_t lost_and_told = 1; /* its place in the map */
static const uint64_t exit_wait_ns = 500 * 1000000ull;

/* ---- exits, and what was lost
 * -----------------------------------------------------------------------------
 */

static void tell_lost(struct identity *identity)
{
    uint32_t zero = 0;
    uint64_t lost = identity->lost;
    struct flow_event *event;

    if (bpf_map_lookup_elem(bpf_map__fd(identity->bpf->maps.records_lost), &zero, &lost) ||
        lost == identity->lost)
        return;
    /* an exit may be among them; the process is still on its way out */
    identity->sweep_ns = clock_read_ns(CLOCK_BOOTTIME) + second_ns;
    event = flow_event_new(FLOW_EVENT_LOST, NULL, NULL);
    if (!event)
        return; /* out of memory: told later, with those lost until then */
    event->lost.count = lost - identity->lost;
    event->lost.reason = "the kernel's ring buffer of processes and sockets was full";
    bus_emit(identity->producer, &event);
    identity->lost = lost;
    bpf_map_update_elem(bpf_map__fd(identity->bpf->maps.records_lost), &lost_and_told, &lost,
                        BPF_ANY);
}

static void tell_exit(struct identity *identity, struct table_entry *entry)
{
    struct flow_event *event = flow_event_new(FLOW_EVENT_EXIT, entry->process, entry->process->pod);

    if (event) {
        event->exit.signal = entry->exit_code & 0x7f;
        event->exit.status = event->exit.signal ? 0 : entry->exit_code >> 8 & 0xff;
    }
    identity_emit(identity, event, entry->exit_ns);
    entry->waits = false;
}

/* As its closes, it waits from when its flows may have ended. */
static uint64_t due_ns(const struct identity *identity, struct table_entry *entry, uint64_t now)
{
    if (identity->heard_ns <= entry->exit_ns)
        entry->read_ns = now;
    return entry->read_ns + exit_wait_ns;
}

/* Tells the exits that are due before `now`, of those until `accepted`, and forgets those who ended
 * long enough ago. Returns when the next one is due, or UINT64_MAX. */
static uint64_t tell_exits(struct identity *identity, uint64_t accepted, uint64_t now)
{
    uint64_t next = UINT64_MAX;

    for (struct table_entry *entry = identity->table.ended; entry; entry = entry->next) {
        uint64_t due;

        if (!entry->waits)
            continue;
        due = due_ns(identity, entry, now);
        if (entry->exit_ns > accepted)
            next = now;
        else if (now >= due || atomic_load(&entry->process->life->flows) == 0)
            tell_exit(identity, entry);
        else if (due < next)
            next = due;
    }
    while (identity->table.ended && !identity->table.ended->waits &&
           now >= identity->table.ended->exit_ns + exit_wait_ns)
        table_drop_first_ended(&identity->table);
    return next;
}

/* The wall clock may be set at any time; times of events follow it. */
static void follow_clock(struct identity *identity)
{
    uint64_t is = clock_wall_ahead_ns();
    uint64_t off =
        is > identity->host.wall_ns ? is - identity->host.wall_ns : identity->host.wall_ns - is;

    if (off > CLOCK_STEP_NS)
        identity->host.wall_ns = is;
}

int identity_step(struct identity *identity)
{
    eventfd_t woken;
    uint64_t accepted, now, next;
    enum ringbuf_turn turn;

    follow_clock(identity);
    eventfd_read(identity->wake_fd, &woken);
    turn = identity_read_records(identity);
    accepted = clock_read_ns(CLOCK_BOOTTIME);
    if (identity->before_exits)
        identity->before_exits(identity->before_exits_arg);
    tell_lost(identity);
    now = clock_read_ns(CLOCK_BOOTTIME);
    if (identity->sweep_ns && now >= identity->sweep_ns)
        identity_sweep(identity);
    next = tell_exits(identity, accepted, now);
    if (turn != RINGBUF_ALL)
        return turn == RINGBUF_BUSY ? BUSY_MS : 0;
    if (identity->sweep_ns && identity->sweep_ns < next)
        next = identity->sweep_ns;
    return next == UINT64_MAX ? -1 : (int)((next - now + 999999) / 1000000);
}

/* It is written within microseconds, unless its processor is taken away meanwhile: by an interrupt,
 * or a virtual one by its host. */
static void read_all(struct identity *identity)
{
    enum ringbuf_turn turn = identity_read_records(identity);

    for (int i = 0; i < BUSY_TURNS && turn != RINGBUF_ALL; i++) {
        if (turn == RINGBUF_BUSY)
            usleep(BUSY_US);
        turn = identity_read_records(identity);
    }
}

void identity_heard(struct identity *identity, uint64_t until_ns)
{
    identity->heard_ns = until_ns;
}

void identity_finish(struct identity *identity)
{
    identity->heard_ns = UINT64_MAX;
    read_all(identity);
    tell_lost(identity);
    tell_exits(identity, UINT64_MAX, UINT64_MAX);
}

void identity_pause(struct identity *identity, bool pause)
{
    identity->paused = pause;
}

void identity_retire(struct identity *identity)
{
    identity_before_exits(identity, NULL, NULL);
    identity->heard_ns = UINT64_MAX;
    read_all(identity);
    tell_lost(identity);
    tell_exits(identity, UINT64_MAX, UINT64_MAX);
    ringbuf_free(&identity->ring);
}

size_t identity_alive(const struct identity *identity)
{
    return identity->table.told;
}

void identity_each(const struct identity *identity,
                   void (*visit)(void *arg, const struct process *process, bool told), void *arg)
{
    table_each(&identity->table, visit, arg);
}

/* ---- flows -------------------------------------------------------------------------------------
 */

void identity_meet(struct identity *identity, uint32_t pid, struct pod *pod)
{
    struct table_entry *entry = table_find(&identity->table, pid, 0);
    const struct process *known = entry ? entry->process : NULL;
    CLEANUP(process_unref) struct process *process = NULL;

    if (!known || known->pod != pod)
        process = identity_take_in(identity, pid, known ? known->start_ns : 0, pod, known);
    if (known && !process && known->pod != pod) /* the pid is another process's by now */
        process = identity_take_in(identity, pid, 0, pod, NULL);
}

static bool is_of_pod(void *pod, struct table_entry *entry)
{
    return entry->process->pod == pod;
}

void identity_forget_pod(struct identity *identity, struct pod *pod)
{
    table_sweep(&identity->table, is_of_pod, pod);
}

void identity_catch_up(struct identity *identity)
{
    if (identity->reading)
        return;
    read_all(identity);
    if (identity->records)
        eventfd_write(identity->wake_fd, 1); /* identity_fd() is quiet now, but exits may wait */
}

struct process *identity_flow_begin(struct identity *identity, uint32_t pid, uint64_t start_ns,
                                    uint64_t pod_id)
{
    CLEANUP(process_unref) struct process *process = NULL, *again = NULL;
    struct pod *pod;

    /* always: what the kernel told before the connect may be an exec, and so another image */
    identity_catch_up(identity);
    process = process_ref(identity_known(identity, pid, start_ns));
    pod = pods_find(identity->pods, pod_id);
    /* known as another pod's: one was registered, or removed, between it and its cgroup */
    if (!process || (pod && process->pod != pod))
        again = identity_take_in(identity, pid, start_ns, pod, process);
    if (again) {
        process_unref(&process);
        process = TAKE(again);
    }
    if (!process)
        return NULL;
    atomic_fetch_add(&process->life->flows, 1);
    return TAKE(process);
}

void identity_adopt(struct identity *identity, uint32_t pid, uint64_t start_ns, uint64_t pod)
{
    struct process *process = identity_flow_begin(identity, pid, start_ns, pod);
    struct table_entry *entry = process ? table_find(&identity->table, pid, start_ns) : NULL;

    if (entry)
        table_tell(&identity->table, entry);
    identity_flow_end(identity, &process);
}

struct process *identity_flow_again(struct process *process)
{
    atomic_fetch_add(&process->life->flows, 1);
    return process_ref(process);
}

/* Either this thread sees `exited`, or the control thread sees that the flow is gone: each writes
 * before it reads. */
void identity_flow_end(struct identity *identity, struct process **process)
{
    if (!*process)
        return;
    if (atomic_fetch_sub(&(*process)->life->flows, 1) == 1 &&
        atomic_load(&(*process)->life->exited))
        eventfd_write(identity->wake_fd, 1);
    process_unref(process);
}

/* ---- set-up ------------------------------------------------------------------------------------
 */

int identity_new(struct identity **out, struct sallyport_bpf *bpf, struct pods *pods,
                 struct bus_producer *producer, const char *node_name, struct err *err)
{
    CLEANUP(identity_free) struct identity *identity = calloc(1, sizeof(*identity));
    int code;

    if (!identity)
        return err_set(err, -ENOMEM, "process table: out of memory");
    identity->bpf = bpf;
    identity->pods = pods;
    identity->producer = producer;
    identity->host.node_name = node_name;
    identity->host.wall_ns = clock_wall_ahead_ns();
    identity->sweep_len = IDENTITY_SWEEP_MIN;
    identity->heard_ns = UINT64_MAX;
    identity->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (identity->wake_fd < 0)
        return err_sys(err, -errno, "process table: eventfd");
    bpf_map_lookup_elem(bpf_map__fd(bpf->maps.records_lost), &lost_and_told, &identity->lost);
    if (table_init(&identity->table) < 0)
        return err_set(err, -ENOMEM, "process table: out of memory");
    code = ringbuf_new(&identity->ring, bpf_map__fd(bpf->maps.records), identity_on_record,
                       identity, err);
    if (code < 0)
        return err_wrap(err, "process events"), code;
    *out = TAKE(identity);
    return 0;
}

void identity_free(struct identity **identity)
{
    if (!*identity)
        return;
    ringbuf_free(&(*identity)->ring);
    table_fini(&(*identity)->table);
    fd_close(&(*identity)->wake_fd);
    free(TAKE(*identity));
}

int identity_fd(const struct identity *identity)
{
    return ringbuf_fd(identity->ring);
}

int identity_wake_fd(const struct identity *identity)
{
    return identity->wake_fd;
}

void identity_on_exec(struct identity *identity,
                      void (*on_exec)(void *arg, const struct identity_begin *begin), void *arg)
{
    identity->on_exec = on_exec;
    identity->on_exec_arg = arg;
}

void identity_on_image(struct identity *identity,
                       void (*on_image)(void *arg, const struct process *process), void *arg)
{
    identity->on_image = on_image;
    identity->on_image_arg = arg;
}

void identity_on_socket(struct identity *identity,
                        void (*on_socket)(void *arg, const struct abi_socket *record), void *arg)
{
    identity->on_socket = on_socket;
    identity->on_socket_arg = arg;
}

void identity_on_ktls(struct identity *identity,
                      void (*on_ktls)(void *arg, const struct abi_ktls *record), void *arg)
{
    identity->on_ktls = on_ktls;
    identity->on_ktls_arg = arg;
}

void identity_on_datagram(struct identity *identity,
                          void (*on_datagram)(void *arg, const struct abi_datagram *record),
                          void *arg)
{
    identity->on_datagram = on_datagram;
    identity->on_datagram_arg = arg;
}

void identity_on_syn(struct identity *identity,
                     void (*on_syn)(void *arg, const struct abi_syn *record), void *arg)
{
    identity->on_syn = on_syn;
    identity->on_syn_arg = arg;
}

uint64_t identity_wall_ns(const struct identity *identity, uint64_t boot_ns)
{
    return boot_ns + identity->host.wall_ns;
}

void identity_before_exits(struct identity *identity, void (*before_exits)(void *arg), void *arg)
{
    identity->before_exits = before_exits;
    identity->before_exits_arg = arg;
}
