#include "proxy/telemetry/telemetry.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/clock.h"
#include "events/metrics.h"
#include "proxy/telemetry/admin.h"
#include "proxy/command/reload.h"
#include "proxy/telemetry/followers.h"
#include "proxy/telemetry/status.h"

struct telemetry {
    struct feed *feed;
    struct metrics *metrics;
    struct admin *admin;
    const struct agent *agent;           /* borrowed */
    const struct reload_status *reloads; /* borrowed, or NULL */
    struct agent_stats stats;            /* as they were when somebody last asked */
    time_t began;
};

/* ---- what is read when somebody asks ---- */

static double pods(void *arg)
{
    return (double)((struct telemetry *)arg)->stats.pods;
}

static double flows(void *arg)
{
    return (double)((struct telemetry *)arg)->stats.flows;
}

static double files_used(void *arg)
{
    return (double)((struct telemetry *)arg)->stats.used[LIMIT_FILES];
}

static double files_most(void *arg)
{
    return (double)((struct telemetry *)arg)->stats.most[LIMIT_FILES];
}

static double memory_used(void *arg)
{
    return (double)((struct telemetry *)arg)->stats.used[LIMIT_MEMORY];
}

static double memory_most(void *arg)
{
    return (double)((struct telemetry *)arg)->stats.most[LIMIT_MEMORY];
}

static double refused_files(void *arg)
{
    return (double)((struct telemetry *)arg)->stats.refused[LIMIT_FILES];
}

static double refused_memory(void *arg)
{
    return (double)((struct telemetry *)arg)->stats.refused[LIMIT_MEMORY];
}

static double refused_share(void *arg)
{
    return (double)((struct telemetry *)arg)->stats.refused[LIMIT_SHARE];
}

static double kernel_open(void *arg)
{
    return (double)((struct telemetry *)arg)->stats.kernel.open;
}

static double kernel_opened(void *arg)
{
    return (double)((struct telemetry *)arg)->stats.kernel.opened;
}

static double kernel_bytes(void *arg)
{
    return (double)((struct telemetry *)arg)->stats.kernel.bytes;
}

static double kernel_lost(void *arg)
{
    return (double)((struct telemetry *)arg)->stats.kernel.lost;
}

static double kernel_unheard(void *arg)
{
    return (double)((struct telemetry *)arg)->stats.kernel.unheard;
}

static double kernel_refused(void *arg)
{
    return (double)((struct telemetry *)arg)->stats.kernel.refused;
}

static double kernel_untold(void *arg)
{
    return (double)((struct telemetry *)arg)->stats.kernel.untold;
}

static double kernel_programs(void *arg)
{
    return (double)((struct telemetry *)arg)->stats.kernel.programs;
}

static double kernel_bypassing(void *arg)
{
    return (double)((struct telemetry *)arg)->stats.kernel.bypassing;
}

static bool is_backend(const void *arg, const char *name)
{
    const char *backend = ((const struct telemetry *)arg)->stats.kernel.backend;

    return strcmp(backend ? backend : "none", name) == 0;
}

static double is_sockmap(void *arg)
{
    return is_backend(arg, "sockmap");
}

static double is_lsm(void *arg)
{
    return is_backend(arg, "lsm");
}

static double is_none(void *arg)
{
    return is_backend(arg, "none");
}

static double ca_not_after(void *arg)
{
    return (double)((struct telemetry *)arg)->stats.ca_not_after;
}

static double reloads_done(void *arg)
{
    const struct reload_status *status = ((struct telemetry *)arg)->reloads;

    return status ? (double)status->done : 0;
}

static double reloads_failed(void *arg)
{
    const struct reload_status *status = ((struct telemetry *)arg)->reloads;

    return status ? (double)status->failed : 0;
}

static double subscribers(void *arg)
{
    return feed_subscribers(((struct telemetry *)arg)->feed);
}

static double missed(void *arg)
{
    return (double)feed_missed(((struct telemetry *)arg)->feed);
}

static double one(void *arg)
{
    (void)arg;
    return 1;
}

static double cpu_seconds(void *arg)
{
    (void)arg;
    return (double)clock_read_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e9;
}

static double resident_bytes(void *arg)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long all, resident = 0;

    (void)arg;
    if (!file)
        return 0;
    if (fscanf(file, "%lu %lu", &all, &resident) != 2)
        resident = 0;
    fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static double open_fds(void *arg)
{
    DIR *dir = opendir("/proc/self/fd");
    double count = -3; /* without ".", "..", and the one that looks */

    (void)arg;
    if (!dir)
        return 0;
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static double max_fds(void *arg)
{
    struct rlimit limit = {0};

    (void)arg;
    getrlimit(RLIMIT_NOFILE, &limit);
    return (double)limit.rlim_cur;
}

static double start_time(void *arg)
{
    return (double)((struct telemetry *)arg)->began;
}

#define USED_HELP   "What connections take now of the machine's files and bytes of memory."
#define MOST_HELP   "What connections may take of the machine's files and bytes of memory."
#define RELOAD_HELP "Reloads of configuration, CA and trust; one that failed has changed nothing."
#define KERNEL_HELP "By what the kernel route reads, here 1: see 'sallyport probe'."
#define REFUSE_HELP                                                                                \
    "Connections refused since files, memory or the pod's share of them were used up."

/* The last ones are named as Prometheus' own clients name them. */
static const struct metrics_reading readings[] = {
    {"sallyport_events_missed_total",
     "Events that went by followers who were too slow, of each who was.", METRICS_COUNTER, NULL,
     missed, NULL},
    {"sallyport_event_followers", "Who follow the events by the control socket now.", METRICS_GAUGE,
     NULL, subscribers, NULL},
    {"sallyport_pods", "Pods that are registered.", METRICS_GAUGE, NULL, pods, NULL},
    {"sallyport_open_flows", "Connections that go through the agent now.", METRICS_GAUGE, NULL,
     flows, NULL},
    {"sallyport_limit_used", USED_HELP, METRICS_GAUGE, "resource=\"files\"", files_used, NULL},
    {"sallyport_limit_used", USED_HELP, METRICS_GAUGE, "resource=\"memory\"", memory_used, NULL},
    {"sallyport_limit_most", MOST_HELP, METRICS_GAUGE, "resource=\"files\"", files_most, NULL},
    {"sallyport_limit_most", MOST_HELP, METRICS_GAUGE, "resource=\"memory\"", memory_most, NULL},
    {"sallyport_refused_connections_total", REFUSE_HELP, METRICS_COUNTER, "resource=\"files\"",
     refused_files, NULL},
    {"sallyport_refused_connections_total", REFUSE_HELP, METRICS_COUNTER, "resource=\"memory\"",
     refused_memory, NULL},
    {"sallyport_refused_connections_total", REFUSE_HELP, METRICS_COUNTER, "resource=\"share\"",
     refused_share, NULL},
    {"sallyport_kernel_backend_info", KERNEL_HELP, METRICS_GAUGE, "backend=\"sockmap\"", is_sockmap,
     NULL},
    {"sallyport_kernel_backend_info", KERNEL_HELP, METRICS_GAUGE, "backend=\"lsm\"", is_lsm, NULL},
    {"sallyport_kernel_backend_info", KERNEL_HELP, METRICS_GAUGE, "backend=\"none\"", is_none,
     NULL},
    {"sallyport_kernel_open_connections", "Connections that are read in the kernel now.",
     METRICS_GAUGE, NULL, kernel_open, NULL},
    {"sallyport_kernel_connections_total", "Connections that were read in the kernel.",
     METRICS_COUNTER, NULL, kernel_opened, NULL},
    {"sallyport_kernel_bytes_total", "Bytes that came up of what was said there.", METRICS_COUNTER,
     NULL, kernel_bytes, NULL},
    {"sallyport_kernel_lost_bytes_total", "Bytes that should have come up, and did not.",
     METRICS_COUNTER, NULL, kernel_lost, NULL},
    {"sallyport_kernel_unheard_connections_total",
     "Connections that were to be read there, and could not.", METRICS_COUNTER, NULL,
     kernel_unheard, NULL},
    {"sallyport_kernel_refused_total", "What was refused there, before it left.", METRICS_COUNTER,
     NULL, kernel_refused, NULL},
    {"sallyport_kernel_untold_refusals_total", "What was refused there, and no event told of.",
     METRICS_COUNTER, NULL, kernel_untold, NULL},
    {"sallyport_kernel_programs", "Programs that let the kernel encrypt.", METRICS_GAUGE,
     "what=\"known\"", kernel_programs, NULL},
    {"sallyport_kernel_programs", "Programs that let the kernel encrypt.", METRICS_GAUGE,
     "what=\"bypassing\"", kernel_bypassing, NULL},
    {"sallyport_reloads_total", RELOAD_HELP, METRICS_COUNTER, "result=\"done\"", reloads_done,
     NULL},
    {"sallyport_reloads_total", RELOAD_HELP, METRICS_COUNTER, "result=\"failed\"", reloads_failed,
     NULL},
    {"sallyport_ca_not_after_seconds", "When the CA that signs leaves ends, in Unix time.",
     METRICS_GAUGE, NULL, ca_not_after, NULL},
    {"sallyport_build_info", "Which version this is.", METRICS_GAUGE,
     "version=\"" SALLYPORT_VERSION "\"", one, NULL},
    {"process_cpu_seconds_total", "CPU time of the agent, in all.", METRICS_COUNTER, NULL,
     cpu_seconds, NULL},
    {"process_resident_memory_bytes", "Memory of the agent that is resident.", METRICS_GAUGE, NULL,
     resident_bytes, NULL},
    {"process_open_fds", "Open file descriptors of the agent.", METRICS_GAUGE, NULL, open_fds,
     NULL},
    {"process_max_fds", "How many the agent may open.", METRICS_GAUGE, NULL, max_fds, NULL},
    {"process_start_time_seconds", "When the agent began, in Unix time.", METRICS_GAUGE, NULL,
     start_time, NULL},
};

static void show_metrics(void *arg, struct buffer *out)
{
    struct telemetry *telemetry = arg;
    struct metrics_reading mine[ARRAY_SIZE(readings)];

    agent_stats(telemetry->agent, &telemetry->stats);
    for (size_t i = 0; i < ARRAY_SIZE(readings); i++) {
        mine[i] = readings[i];
        mine[i].arg = telemetry;
    }
    metrics_render(telemetry->metrics, mine, ARRAY_SIZE(mine), out);
}

/* Programs are attached and the CA is loaded, or nobody would answer here. */
static const char *not_ready(void *arg)
{
    struct telemetry *telemetry = arg;

    agent_stats(telemetry->agent, &telemetry->stats);
    return telemetry->stats.ca_not_after <= time(NULL) ? "the CA has expired" : NULL;
}

/* ---- life ---- */

int telemetry_new(struct telemetry **out, const char *node_name, struct err *err)
{
    CLEANUP(telemetry_free) struct telemetry *telemetry = calloc(1, sizeof(*telemetry));
    int result;

    if (!telemetry)
        return err_set(err, -ENOMEM, "no memory for telemetry");
    telemetry->began = time(NULL);
    result = feed_new(&telemetry->feed, node_name, err);
    if (result == 0)
        result = metrics_new(&telemetry->metrics, err);
    if (result < 0)
        return result;
    *out = TAKE(telemetry);
    return 0;
}

void telemetry_free(struct telemetry **telemetry)
{
    struct telemetry *gone = TAKE(*telemetry);

    if (!gone)
        return;
    telemetry_stop(gone);
    feed_free(&gone->feed);
    metrics_free(&gone->metrics);
    free(gone);
}

void telemetry_taps(struct telemetry *telemetry, struct bus_tap taps[TELEMETRY_TAPS])
{
    taps[0] = feed_tap(telemetry->feed);
    taps[1] = metrics_tap(telemetry->metrics);
}

int telemetry_serve(struct telemetry *telemetry, struct agent *agent, struct control *control,
                    const char *address, struct err *err)
{
    const struct admin_pages pages = {
        .arg = telemetry, .metrics = show_metrics, .not_ready = not_ready};
    int result = followers_serve(control, telemetry->feed, err);

    telemetry->agent = agent;
    if (result < 0 || !*address)
        return result;
    result = admin_new(&telemetry->admin, agent_base(agent), address, &pages, err);
    return result < 0 ? err_wrap(err, "--admin-address") : 0;
}

void telemetry_tell_reloads(struct telemetry *telemetry, const struct reload_status *status)
{
    telemetry->reloads = status;
}

void telemetry_tell(void *arg, json_t *answer)
{
    struct telemetry *telemetry = arg;
    const char *why = not_ready(telemetry);
    uint64_t told, lost;

    metrics_count(telemetry->metrics, &told, &lost);
    json_object_set_new(answer, "ready", json_boolean(!why));
    status_add_text(answer, "not_ready", why);
    json_object_set_new(answer, "events",
                        json_pack("{s:I, s:I, s:I, s:I}", "told", (json_int_t)told, "lost",
                                  (json_int_t)lost, "followers",
                                  (json_int_t)feed_subscribers(telemetry->feed), "missed",
                                  (json_int_t)feed_missed(telemetry->feed)));
}

void telemetry_stop(struct telemetry *telemetry)
{
    admin_free(&telemetry->admin);
}

void telemetry_dismiss(struct telemetry *telemetry)
{
    feed_dismiss(telemetry->feed);
}
