/* compare: run a command on every route, and tell side by side what that showed and what it took.
 *
 * Rounds are interleaved, and each begins with another route: what else the machine does meanwhile,
 * and what one run leaves warm for the next, falls on all of them alike. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/log.h"
#include "proxy/command/command.h"
#include "proxy/command/compare_options.h"
#include "proxy/command/compare_round.h"
#include "proxy/host.h"
#include "proxy/probe/probe.h"

static void compare_fini(struct compare *compare)
{
    for (size_t i = 0; i < _COMPARE_ROUTES; i++)
        seen_fini(&compare->rows[i].seen);
}

/* ---- progress ---- */

static bool on_terminal(void)
{
    return isatty(STDERR_FILENO);
}

static void tell_progress(size_t round, size_t rounds, enum compare_route route)
{
    if (!on_terminal())
        return;
    if (round)
        fprintf(stderr, "\r\x1b[Kround %zu of %zu: %s", round, rounds, compare_route_name(route));
    else
        fprintf(stderr, "\r\x1b[Kwarming up: %s", compare_route_name(route));
}

static void clear_progress(void)
{
    if (on_terminal())
        fputs("\r\x1b[K", stderr);
}

/* ---- the rounds ---- */

/* Round 0 warms up. A route on which the command failed is not taken again. */
static int run_round(struct compare *compare, const struct compare_options *options, size_t round,
                     struct compare_signals *signals, struct err *err)
{
    for (size_t i = 0; i < _COMPARE_ROUTES; i++) {
        enum compare_route route = (round + i) % _COMPARE_ROUTES;
        struct compare_row *row = &compare->rows[route];
        int result;

        if (row->why[0])
            continue;
        if (compare_signals_got(signals))
            return 0;
        tell_progress(round, options->rounds, route);
        result = compare_round_run(row, &options->exec, route, round > 0, signals, err);
        if (result < 0)
            return result;
    }
    return 0;
}

static int run_rounds(struct compare *compare, const struct compare_options *options,
                      struct compare_signals *signals, struct err *err)
{
    int result = 0;

    for (size_t round = 0; result == 0 && !signals->got && round <= options->rounds; round++)
        result = run_round(compare, options, round, signals, err);
    clear_progress();
    return result;
}

/* ---- the machine ---- */

static void read_cpu(char out[], size_t size)
{
    FILE *file = fopen("/proc/cpuinfo", "re");
    char line[256];
    const char *colon;

    snprintf(out, size, "unknown processor");
    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, "model name", 10) == 0 && (colon = strchr(line, ':'))) {
            snprintf(out, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
            break;
        }
    if (file)
        fclose(file);
}

static void look_at_machine(struct compare *compare)
{
    CLEANUP(probe_free) struct probe_report *found = NULL;
    struct utsname name;
    struct err err;

    uname(&name);
    snprintf(compare->kernel, sizeof(compare->kernel), "%s %s", name.sysname, name.release);
    read_cpu(compare->cpu, sizeof(compare->cpu));
    compare->cpus = host_cpus();
    if (probe_run(&found, &err) < 0)
        snprintf(compare->backend, sizeof(compare->backend), "not known: %.140s", err.text);
    else
        snprintf(compare->backend, sizeof(compare->backend), "%s: %s",
                 kernel_route_name(kernel_route_choose(&found->means)),
                 kernel_route_words(&found->means));
}

/* ---- the report ---- */

static int write_out(int fd, const struct buffer *out, const char *where, struct err *err)
{
    size_t at = 0;

    if (out->failed)
        return err_set(err, -ENOMEM, "the report");
    while (at < out->len) {
        ssize_t n = write(fd, out->data + at, out->len - at);

        if (n < 0 && errno != EINTR)
            return err_sys(err, -errno, "the report could not be written to %s", where);
        at += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* A report in a file of its own; it is there only once it is whole. */
struct page {
    const char *path; /* NULL: not wanted */
    int fd;
    bool made; /* by us, and nothing is in it yet */
};

/* Before anything runs for minutes, only to find that there is no such directory. */
static int open_page(struct page *page, struct err *err)
{
    if (!page->path)
        return 0;
    page->fd = open(page->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    page->made = page->fd >= 0;
    if (page->fd < 0 && errno == EEXIST)
        page->fd = open(page->path, O_WRONLY | O_CLOEXEC);
    return page->fd < 0 ? err_sys(err, -errno, "%s", page->path) : 0;
}

static int write_page(struct page *page, const struct buffer *out, struct err *err)
{
    if (!page->path)
        return 0;
    page->made = false;
    if (ftruncate(page->fd, 0) < 0 && errno != EINVAL) /* which a pipe says */
        return err_sys(err, -errno, "%s", page->path);
    return write_out(page->fd, out, page->path, err);
}

static void page_close(struct page *page)
{
    if (page->made)
        unlink(page->path);
    fd_close(&page->fd);
}

/* Where this kernel cannot, or a policy says which route they take, connections go by another one:
 * those are no figures of this one's. */
static void check_route(struct compare_row *row, const char *name)
{
    const struct seen_texts *routes = &row->seen.routes;

    for (size_t i = 0; i < routes->len; i++)
        if (strcmp(routes->list[i].text, name) == 0)
            return;
    if (!row->rounds || !routes->len)
        return;
    row->rounds = 0;
    snprintf(row->why, sizeof(row->why), "its connections took the route '%s' instead%s%s",
             routes->list[0].text, row->note[0] ? "; " : "", row->note);
}

static int report(struct compare *compare, const struct compare_options *options,
                  struct page *html_page, struct page *json_page, struct err *err)
{
    CLEANUP(buffer_fini) struct buffer text = {0};
    CLEANUP(buffer_fini) struct buffer html = {0};
    CLEANUP(buffer_fini) struct buffer json = {0};
    int result;

    compare_text(&text, compare);
    compare_html(&html, compare);
    compare_json(&json, compare);
    result = write_page(html_page, &html, err);
    if (result == 0)
        result = write_page(json_page, &json, err);
    if (result < 0)
        return result;
    return write_out(STDOUT_FILENO, options->json ? &json : &text, "standard output", err);
}

static bool all_worked(const struct compare *compare)
{
    for (size_t i = 0; i < _COMPARE_ROUTES; i++)
        if (compare->rows[i].failed)
            return false;
    return true;
}

static int compare_routes(struct compare *compare, const struct compare_options *options,
                          struct compare_signals *signals, struct err *err)
{
    CLEANUP(page_close) struct page html = {.path = options->html, .fd = -1};
    CLEANUP(page_close) struct page json = {.path = options->json_file, .fd = -1};
    int result = host_check(err);

    if (result == 0)
        result = open_page(&html, err);
    if (result == 0)
        result = open_page(&json, err);
    if (result < 0)
        return result;
    compare_signals_catch(signals);
    result = run_rounds(compare, options, signals, err);
    if (result < 0 || signals->got)
        return result;
    look_at_machine(compare);
    for (enum compare_route i = COMPARE_PASSTHROUGH; i < _COMPARE_ROUTES; i++)
        check_route(&compare->rows[i], compare_route_name(i));
    return report(compare, options, &html, &json, err);
}

int command_compare(int argc, char **argv)
{
    CLEANUP(compare_fini) struct compare compare = {0};
    struct compare_signals signals = {0};
    struct compare_options options;
    struct err err;
    int result = compare_options_parse(&options, argc, argv);

    if (result)
        return result - 1;
    compare.argv = options.exec.argv;
    compare.rounds = options.rounds;
    result = compare_routes(&compare, &options, &signals, &err);
    if (result < 0) {
        log_error("%s", err.text);
        return 1;
    }
    if (signals.got)
        return 128 + signals.got;
    return all_worked(&compare) ? 0 : 1;
}
