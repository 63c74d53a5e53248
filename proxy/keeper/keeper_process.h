/* keeper_process: the process that holds what must outlive an agent: a descriptor of each pod's
 * network namespace, and our listeners and raw sockets in there. `sallyport run` starts it.
 *
 * So while no agent runs, connects of pods wait in the listeners' queues for the next one, to whom
 * the same sockets are given. It opens sockets in namespaces for agents, and does nothing else: it
 * reads nothing that pods send. When its last agent is gone it says so to the kernel programs at
 * once (map hold_until: SYNs go to the queue), and after KEEPER_ALONE_SECONDS without any, or where
 * none could find it any more, it closes all and ends: from then on `onAgentDown` decides in the
 * kernel.
 *
 * Several agents may be connected, as while one takes over from another. Each gets sockets; the
 * youngest connection has the say about which namespaces are kept.
 * Called by:  command/keeper.c. Talks with:  keeper_client.c. */
#pragma once

enum {
    KEEPER_AGENTS_MAX = 128,
    KEEPER_ALONE_SECONDS = 30,
};

/* Serves at a listening socket, whose name in the file system it removes at the end; returns the
 * process's exit status. The calling process has one thread. */
int keeper_process_run(int listener, const char *path);
