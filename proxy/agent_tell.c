/* agent_tell: what of an agent `status` shows. */
#include "proxy/agent.h"
#include "proxy/telemetry/status.h"

static void tell_limit(json_t *answer, const struct agent_stats *stats, const char *key,
                       enum limit what)
{
    json_object_set_new(answer, key,
                        json_pack("{s:I, s:I, s:I}", "used", (json_int_t)stats->used[what], "most",
                                  (json_int_t)stats->most[what], "refused",
                                  (json_int_t)stats->refused[what]));
}

static void tell_kernel(json_t *answer, const struct agent_kernel_stats *stats)
{
    json_t *kernel = json_object();

    status_add_text(kernel, "back_end", stats->backend);
    status_add_text(kernel, "words", stats->backend_words);
    status_add_text(kernel, "why", *stats->backend_why ? stats->backend_why : NULL);
    json_object_set_new(kernel, "open", json_integer((json_int_t)stats->open));
    json_object_set_new(kernel, "total", json_integer((json_int_t)stats->opened));
    json_object_set_new(kernel, "bytes", json_integer((json_int_t)stats->bytes));
    json_object_set_new(kernel, "bytes_lost", json_integer((json_int_t)stats->lost));
    json_object_set_new(kernel, "refused", json_integer((json_int_t)stats->refused));
    json_object_set_new(kernel, "refused_untold", json_integer((json_int_t)stats->untold));
    json_object_set_new(kernel, "unheard", json_integer((json_int_t)stats->unheard));
    json_object_set_new(answer, "kernel_route", kernel);
}

void agent_tell(void *agent, json_t *answer)
{
    struct agent_stats stats;

    agent_stats(agent, &stats);
    json_object_set_new(answer, "pods", json_integer((json_int_t)stats.pods));
    if (stats.frozen)
        json_object_set_new(answer, "pods_frozen", json_integer((json_int_t)stats.frozen));
    json_object_set_new(answer, "namespaces", json_integer((json_int_t)stats.namespaces));
    json_object_set_new(answer, "workers", json_integer((json_int_t)stats.workers));
    json_object_set_new(answer, "flows",
                        json_pack("{s:I, s:I}", "open", (json_int_t)stats.flows, "total",
                                  (json_int_t)stats.admitted));
    if (stats.kernel.backend)
        tell_kernel(answer, &stats.kernel);
    status_add_cert(answer, "signer", stats.signer);
    tell_limit(answer, &stats, "files", LIMIT_FILES);
    tell_limit(answer, &stats, "memory", LIMIT_MEMORY);
    json_object_set_new(answer, "refused_for_share",
                        json_integer((json_int_t)stats.refused[LIMIT_SHARE]));
}
