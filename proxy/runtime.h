/* runtime: the directory in which an agent and its clients meet, and who may call himself the
 * agent.
 *
 *   DIR/agent.lock    locked (flock) as long as an agent lives; its pid
 *   DIR/control.sock  where clients ask it
 *   DIR/bpf           a bpffs for pins, where /sys/fs/bpf/sallyport is not for us
 *
 * One agent a directory. A killed one leaves the directory as it is, for the next. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct runtime {
    char dir[64];      /* as it was named; its sockets' names must fit sun_path */
    char pin_dir[128]; /* in a bpffs, 0700 */
    int lock_fd;
};

/* What --runtime-dir said (NULL: nothing), else $RUNTIME_DIRECTORY, else /run/sallyport. */
const char *runtime_choose(const char *option);

/* Where that agent keeps what shall outlive the machine's next start: $STATE_DIRECTORY; else, for
 * the usual runtime directory, /var/lib/sallyport, and any other one's own. */
const char *runtime_state(const char *dir);

/* Makes the directory (0700). */
int runtime_init(struct runtime *runtime, const char *dir, struct err *err);
/* Makes and mounts the place for pins. Once the place is ours or promised: the agent before takes
 * its own away when it ends. */
int runtime_make_pins(struct runtime *runtime, struct err *err);
/* Takes the lock: -EBUSY, with a sentence, where an agent runs already. */
int runtime_lock(struct runtime *runtime, struct err *err);
/* For the next agent; the directory is its from now on. */
void runtime_leave(struct runtime *runtime);
void runtime_fini(struct runtime *runtime);
