/* identity: who asked: kernel process events and /proc -> struct process. Control thread only, but
 * for identity_flow_end.
 *
 * Reads the ring buffer that bpf/process.bpf.c fills, tells `process` and `exit` events on the bus,
 * and keeps the table by (pid, start time). A process's exit is told only after the close of its
 * flows, at most 500 ms later than they are due. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "events/bus.h"
#include "policy/facts.h"

struct identity;
struct abi_ktls;
struct abi_socket;
struct abi_datagram;
struct abi_syn;
struct sallyport_bpf;
struct pods;

/* Borrows all; producer is the control thread's. node_name is borrowed too. */
int identity_new(struct identity **out, struct sallyport_bpf *bpf, struct pods *pods,
                 struct bus_producer *producer, const char *node_name, struct err *err);
void identity_free(struct identity **identity);

/* Readable when the kernel has process events (an epoll descriptor); borrowed. */
int identity_fd(const struct identity *identity);
/* Readable when identity_step has something to do without a new event: a process whose exit waits
 * has had its last flow closed, or identity_flow_begin read events (an eventfd); borrowed. */
int identity_wake_fd(const struct identity *identity);

/* Called with (arg, begin) for every exec, before its event is told, and for a connect in a
 * namespace nobody listens in: the agent uses it to listen there on first sight. May be NULL. */
struct identity_begin {
    uint32_t pid;
    uint64_t start_ns;
    uint64_t netns_cookie;
    uint64_t pod; /* its cgroup */
};
void identity_on_exec(struct identity *identity,
                      void (*on_exec)(void *arg, const struct identity_begin *begin), void *arg);

/* Called with (arg, process) for every image that is begun in a pod, or met there. May be NULL. */
void identity_on_image(struct identity *identity,
                       void (*on_image)(void *arg, const struct process *process), void *arg);

/* Called with arg by identity_step before it tells exits: the agent accepts what waits to be
 * accepted there, for a connection of a process that has just ended comes before its exit. May be
 * NULL. */
void identity_before_exits(struct identity *identity, void (*before_exits)(void *arg), void *arg);

/* Called with (arg, record) for every record of a socket, among the processes' in the order in
 * which things happened. May be NULL. */
void identity_on_socket(struct identity *identity,
                        void (*on_socket)(void *arg, const struct abi_socket *record), void *arg);

/* The same for every record of a program that hands its keys to the kernel. May be NULL. */
void identity_on_ktls(struct identity *identity,
                      void (*on_ktls)(void *arg, const struct abi_ktls *record), void *arg);

/* The same for every datagram that a handshake may begin in. */
void identity_on_datagram(struct identity *identity,
                          void (*on_datagram)(void *arg, const struct abi_datagram *record),
                          void *arg);

/* The same for every record of a SYN that is held back, and with NULL when there are no more. */
void identity_on_syn(struct identity *identity,
                     void (*on_syn)(void *arg, const struct abi_syn *record), void *arg);

/* Reads and handles what the kernel sent and tells the exits that are due. Returns how many
 * milliseconds until the next exit is due, -1 when none waits. */
int identity_step(struct identity *identity);
/* Reads and handles what the kernel has sent by now, unless that is being done: for who is told of
 * something by another ring buffer, and knows nothing of it yet. */
void identity_catch_up(struct identity *identity);
/* As sockets_heard_until(): an exit from then on waits for flows that are yet to hear what was
 * said. */
void identity_heard(struct identity *identity, uint64_t until_ns);
/* Tells all waiting exits now; for take-down. */
void identity_finish(struct identity *identity);

/* While it learns what another agent knows, nothing the kernel tells is read: what is told of a
 * socket that is yet to be adopted would be lost. */
void identity_pause(struct identity *identity, bool pause);
/* Another agent reads what the kernel tells from now on: reads and tells what there is, then
 * nothing any more. identity_fd() is none afterwards. */
void identity_retire(struct identity *identity);
/* A process whose exec that other agent has told: so its exit is told here. It may be gone. */
void identity_adopt(struct identity *identity, uint32_t pid, uint64_t start_ns, uint64_t pod);
/* How many processes were told and have not exited. */
size_t identity_alive(const struct identity *identity);
/* Calls visit(arg, process, told) for each living process we know: those of pods, told or not. */
void identity_each(const struct identity *identity,
                   void (*visit)(void *arg, const struct process *process, bool told), void *arg);

/* The process that made a flow; a reference with its flow count raised, or NULL when it cannot be
 * found. Reads waiting kernel events first if it is not known yet, then /proc. */
struct process *identity_flow_begin(struct identity *identity, uint32_t pid, uint64_t start_ns,
                                    uint64_t pod);
/* A process that lives in this pod, and did perhaps before that was registered. */
void identity_meet(struct identity *identity, uint32_t pid, struct pod *pod);
/* Forgets the living processes of a pod that is not registered any more: nobody will tell how they
 * end. */
void identity_forget_pod(struct identity *identity, struct pod *pod);
/* One more flow of the same process: a further reference, with its flow count raised. */
struct process *identity_flow_again(struct process *process);
/* The flow's close was emitted. Any thread. Drops the reference. */
void identity_flow_end(struct identity *identity, struct process **process);

/* A time of the kernel's records (boot clock) as the wall clock's, since 1970. */
uint64_t identity_wall_ns(const struct identity *identity, uint64_t boot_ns);
