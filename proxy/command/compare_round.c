#include "proxy/command/compare_round.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { FAILED = 125, NOT_FOUND = 127, SAID_MAX = 4096 };

/* What the run leaves: in memory alone, so that nothing stays, whatever ends us. */
struct leavings {
    struct exec_measured *measured;
    int events, said, null;
};

static void leavings_fini(struct leavings *left)
{
    if (left->measured)
        munmap(left->measured, sizeof(*left->measured));
    fd_close(&left->events);
    fd_close(&left->said);
    fd_close(&left->null);
}

static int prepare(struct leavings *left, struct err *err)
{
    void *shared = mmap(NULL, sizeof(*left->measured), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (shared == MAP_FAILED)
        return err_sys(err, -errno, "memory for what is measured");
    left->measured = shared;
    left->events = memfd_create("sallyport-events", MFD_CLOEXEC);
    left->said = memfd_create("sallyport-said", MFD_CLOEXEC);
    left->null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (left->events < 0 || left->said < 0 || left->null < 0)
        return err_sys(err, -errno, "a place for what the command does");
    return 0;
}

/* ---- signals ---- */

void compare_signals_catch(struct compare_signals *signals)
{
    static const int caught[] = {SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};

    sigemptyset(&signals->caught);
    for (size_t i = 0; i < ARRAY_SIZE(caught); i++)
        sigaddset(&signals->caught, caught[i]);
    sigprocmask(SIG_BLOCK, &signals->caught, &signals->old);
    signals->got = 0;
}

bool compare_signals_got(struct compare_signals *signals)
{
    static const struct timespec at_once;
    int signal;

    while ((signal = sigtimedwait(&signals->caught, NULL, &at_once)) > 0)
        if (signal != SIGCHLD)
            signals->got = signal;
    return signals->got;
}

/* What a terminal sends, the command gets as well; the rest is passed on. */
static int wait_for(pid_t child, struct compare_signals *signals)
{
    siginfo_t info;
    int status;

    while (waitpid(child, &status, WNOHANG) != child) {
        if (sigwaitinfo(&signals->caught, &info) < 0 || info.si_signo == SIGCHLD)
            continue;
        signals->got = info.si_signo;
        if (info.si_code <= 0)
            kill(child, info.si_signo);
    }
    return status;
}

/* ---- the run ---- */

static void run(const struct exec_options *asked, enum compare_route route, struct leavings *left,
                const struct compare_signals *signals)
{
    struct exec_options options = *asked;
    char events[32];

    prctl(PR_SET_PDEATHSIG, SIGTERM); /* which it passes on to the command */
    snprintf(events, sizeof(events), "/proc/self/fd/%d", left->events);
    options.json = true;
    options.events_file = events;
    options.bare = route == COMPARE_DIRECT;
    options.ktls &= route == COMPARE_KERNEL;
    options.route = options.bare ? NULL : compare_route_name(route);
    dup2(left->null, STDIN_FILENO);
    dup2(left->null, STDOUT_FILENO);
    dup2(left->said, STDERR_FILENO);
    sigprocmask(SIG_SETMASK, &signals->old, NULL);
    _exit(exec_perform(&options, left->measured));
}

/* ---- what it left ---- */

static void set_text(char *to, size_t size, const char *text)
{
    CLEANUP(buffer_fini) struct buffer words = {0};

    compare_words(&words, text);
    buffer_append(&words, "", 1);
    snprintf(to, size, "%s", words.failed ? "out of memory" : words.data);
}

static void read_said(char text[SAID_MAX], int said, bool end)
{
    off_t len = lseek(said, 0, SEEK_END);
    ssize_t n = pread(said, text, SAID_MAX - 1, end && len >= SAID_MAX ? len - SAID_MAX + 1 : 0);

    text[n > 0 ? n : 0] = 0;
}

/* What the agent had to say, if anything: the first of it. */
static void find_note(struct compare_row *row, int said)
{
    static const char name[] = "sallyport: ";
    char text[SAID_MAX], *rest = text, *line;

    read_said(text, said, false);
    while ((line = strsep(&rest, "\n")))
        if (strncmp(line, name, strlen(name)) == 0) {
            set_text(row->note, sizeof(row->note), line + strlen(name));
            return;
        }
}

/* Some programs say first what is wrong, some last; so it is both, with a colon before it. */
static void find_reason(char reason[SAID_MAX], int said)
{
    enum { WORDS_MAX = 200 };
    char text[SAID_MAX], *rest = text, *line;
    const char *first = "", *last = "";

    read_said(text, said, false);
    first = text + strspn(text, "\n");
    snprintf(reason, SAID_MAX, "%s%.*s", *first ? ": " : "", (int)strnlen(first, WORDS_MAX), first);
    reason[strcspn(reason, "\n")] = 0;
    read_said(text, said, true);
    while ((line = strsep(&rest, "\n")))
        last = *line ? line : last;
    if (*last && strcmp(last, reason + 2) != 0)
        snprintf(reason + strlen(reason), WORDS_MAX + 8, " … %.*s", WORDS_MAX, last);
}

static int add_events(struct seen *seen, int events, struct err *err)
{
    CLEANUP(text_free) char *line = NULL;
    size_t size = 0;
    ssize_t len;
    FILE *file;

    lseek(events, 0, SEEK_SET);
    file = fdopen(dup(events), "r");
    if (!file)
        return err_sys(err, -errno, "the run's events");
    while ((len = getline(&line, &size, file)) > 0) {
        json_t *event = json_loadb(line, (size_t)len, 0, NULL);

        seen_add(seen, event);
        json_decref(event);
    }
    fclose(file);
    return seen->failed ? err_set(err, -ENOMEM, "the run's events") : 0;
}

static void add_measured(struct compare_row *row, const struct exec_measured *measured)
{
    const double us[_COMPARE_MEASURES] = {
        [COMPARE_WALL] = (double)measured->wall_ns / 1000,
        [COMPARE_PROGRAM] = (double)measured->program.user_us,
        [COMPARE_AGENT] = (double)measured->agent.user_us,
        [COMPARE_SYSTEM] = (double)(measured->program.system_us + measured->agent.system_us),
        [COMPARE_CPU] = (double)(measured->program.user_us + measured->program.system_us +
                                 measured->agent.user_us + measured->agent.system_us),
    };

    for (size_t i = 0; i < _COMPARE_MEASURES; i++)
        row->round[i][row->rounds] = us[i];
    row->rounds++;
    if (measured->agent_rss_kb > row->agent_rss_kb)
        row->agent_rss_kb = measured->agent_rss_kb;
    if (measured->program_peak_kb > row->program_peak_kb)
        row->program_peak_kb = measured->program_peak_kb;
}

static void explain(struct compare_row *row, int status, const struct leavings *left,
                    enum compare_route route)
{
    char reason[SAID_MAX], why[SAID_MAX + 64];

    row->rounds = 0;
    row->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    row->failed = true;
    if (left->measured->err.code) {
        row->failed = route != COMPARE_KERNEL || row->status != FAILED;
        set_text(row->why, sizeof(row->why), left->measured->err.text);
        return;
    }
    find_reason(reason, left->said);
    if (WIFSIGNALED(status))
        snprintf(why, sizeof(why), "our own process was ended by signal %d", WTERMSIG(status));
    else
        snprintf(why, sizeof(why), "exit status %d%s", row->status, reason);
    set_text(row->why, sizeof(row->why), why);
}

int compare_round_run(struct compare_row *row, const struct exec_options *options,
                      enum compare_route route, bool keep, struct compare_signals *signals,
                      struct err *err)
{
    CLEANUP(leavings_fini) struct leavings left = {.events = -1, .said = -1, .null = -1};
    int result = prepare(&left, err), status;
    pid_t child;

    if (result < 0)
        return result;
    child = fork();
    if (child < 0)
        return err_sys(err, -errno, "fork");
    if (child == 0)
        run(options, route, &left, signals);
    status = wait_for(child, signals);
    if (signals->got)
        return 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) || left.measured->err.code) {
        explain(row, status, &left, route);
        return 0;
    }
    if (!keep)
        return 0;
    find_note(row, left.said);
    add_measured(row, left.measured);
    return route == COMPARE_DIRECT ? 0 : add_events(&row->seen, left.events, err);
}
