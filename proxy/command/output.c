#include "proxy/command/output.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "base/log.h"
#include "proxy/telemetry/status.h"

int output_init(struct output *output, const char *file, int mode, int stream, bool json,
                const char *node_name, struct err *err)
{
    int fd = stream;

    *output = (struct output){.fd = -1, .stream = stream};
    if (file) {
        output->file = strdup(file);
        if (!output->file)
            return err_set(err, -ENOMEM, "--events-file %s", file);
        fd = output->fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | mode, 0600);
        if (fd < 0)
            return err_sys(err, -errno, "--events-file %s", file);
    }
    sink_init(&output->sink, json ? json_render : text_render, fd, node_name,
              isatty(fd) && !getenv("NO_COLOR"));
    return 0;
}

void output_fini(struct output *output)
{
    sink_fini(&output->sink);
    fd_close(&output->fd);
    free(TAKE(output->file));
}

static struct sink *waited_for;

static void on_impatience(int signal)
{
    (void)signal;
    sink_hurry(waited_for, 0);
}

void output_hurry_by_signals(struct output *output)
{
    static const int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    sigset_t mask;

    waited_for = &output->sink;
    sigemptyset(&mask);
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
        sigaction(signals[i], &(struct sigaction){.sa_handler = on_impatience}, NULL);
        sigaddset(&mask, signals[i]);
    }
    sigprocmask(SIG_UNBLOCK, &mask, NULL);
}

/* Who took no event from stderr for so long would not take this either, and we would wait. */
void output_tell_lost(const struct output *output)
{
    const struct sink *sink = &output->sink;
    bool to_stderr = !output->file && output->stream == STDERR_FILENO;
    struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};

    if (!sink->lost || (to_stderr && poll(&room, 1, 0) == 0))
        return;
    if (to_stderr && sink->torn && write(STDERR_FILENO, "\n", 1) < 0)
        return;
    log_error("%" PRIu64 " events could not be written to %s: %s", sink->lost,
              output->file ? output->file
              : to_stderr  ? "stderr"
                           : "stdout",
              sink_why(sink));
}

void output_tell(void *arg, json_t *answer)
{
    const struct output *output = arg;

    status_add_text(answer, "output", output->file ? output->file : "stdout");
}
