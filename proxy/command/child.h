/* child: the command of `exec`: into its cgroup, a private mount namespace with our trust in it,
 * the user it shall run as, and then the command itself. */
#pragma once

#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/err.h"
#include "proxy/instance.h"
#include "proxy/overlay.h"

/* Said by the child in the moment before it executes the command, so that our preparations are not
 * counted as the command's. */
struct child_began {
    uint64_t ns;                 /* monotonic clock */
    uint64_t user_us, system_us; /* what it had taken by then */
};

struct child_plan { /* all borrowed */
    char **argv;
    const char *user; /* a name, or uid[:gid] by number; NULL: as we are. USER, LOGNAME, HOME and
                         groups are the user's; a uid that nobody has has none, and HOME=/ */
    const struct instance *instance;
    const struct overlay *overlay; /* NULL: neither mounts nor environment are touched */
    const char *root_pem;          /* our roots, for NODE_EXTRA_CA_CERTS */
    const char *cert_file_pem;     /* those for an SSL_CERT_FILE that names no file */
    /* as our caller had them, before we changed them for ourselves: */
    sigset_t signals;            /* the mask */
    struct sigaction pipe, chld; /* the dispositions of SIGPIPE and SIGCHLD */
    struct rlimit files;         /* the limit on open files */
    struct child_began *began;   /* in shared memory; NULL: nobody asks */
    /* the command was stopped between fork and execve: returns when it is to be waited for again */
    void (*on_stop)(pid_t child, int signal);
};

/* Starts the command and waits until it runs. 0 and *pid; or the sentence, and *status what shells
 * exit with: 127 not found, 126 not executable, 125 when the fault is ours. Calling thread: the one
 * whose end shall end the command (PR_SET_PDEATHSIG follows threads). */
int child_start(pid_t *pid, const struct child_plan *plan, int *status, struct err *err);
