/* keeper: not for users. `run` starts it: see proxy/keeper/keeper_process.h. The socket to accept at is
 * our stdin; the argument is its name. */
#include <fcntl.h>
#include <linux/close_range.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "proxy/command/command.h"
#include "proxy/keeper/keeper_process.h"

int command_keeper(int argc, char **argv)
{
    pid_t child;

    if (argc != 2 || geteuid() != 0) {
        log_error("'sallyport run' starts the keeper by itself");
        return 2;
    }
    close_range(STDERR_FILENO + 1, ~0u, 0);
    child = fork(); /* nobody's child, and no session's leader */
    if (child)
        return child < 0 ? 1 : 0;
    if (setsid() < 0 || chdir("/") < 0)
        return 1;
    prctl(PR_SET_NAME, "keeper");
    return keeper_process_run(STDIN_FILENO, argv[1]);
}
