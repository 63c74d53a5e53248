/* `exec` with an agent of its own, in this process, for this one pod. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "policy/route.h"
#include "proxy/agent.h"
#include "proxy/command/exec_run.h"
#include "proxy/command/inherited.h"
#include "proxy/command/signing.h"
#include "proxy/enforce/policy_files.h"
#include "proxy/host.h"

static int load_trust(struct exec_run *run, bool ktls, struct err *err)
{
    const struct exec_options *options = run->options;
    CLEANUP(anchors_shown_fini) struct anchors_shown shown = {{NULL}};
    const struct signing_from from = {
        .ca_dir = options->ca_dir,
        .upstream_ca = options->upstream_ca,
        .client_certs = options->client_certs,
        .node_name = run->node_name,
    };
    int result = signing_load(&run->credentials, &run->overlay, &from, NULL, err);

    if (result == 0 && ktls)
        exec_prefer_ktls(run);
    if (result == 0)
        result = anchors_show(&shown, &run->credentials->anchors, err);
    return result < 0 ? result : exec_show(run, &shown, err);
}

static int load_policies(struct policy_set **out, const struct exec_options *options,
                         struct err *err)
{
    CLEANUP(policy_story_fini) struct policy_story story = {0};
    int result = policy_files_load(out, options->policies, options->policies_len, &story, err);

    if (story.text)
        log_story(story.text);
    for (size_t i = 0; result == 0 && i < (*out)->len; i++)
        if ((*out)->list[i]->mode == POLICY_ENFORCE) {
            result = inherited_check(err);
            break;
        }
    return result;
}

/* What policies say of routes and kTLS, with what is asked for where they do not. */
struct wanted {
    enum policy_route route;
    bool kernel; /* something is to be read there */
    bool ktls;
};

static void look_at_policy(const struct policy *policy, struct wanted *wanted)
{
    bool kernel = policy->route == POLICY_ROUTE_KERNEL ||
                  (policy->route == POLICY_ROUTE_AUTO && wanted->route == POLICY_ROUTE_KERNEL);
    const char *loss;

    wanted->ktls |= policy->ktls == POLICY_KTLS_PREFER;
    wanted->kernel |= kernel;
    for (size_t i = 0; kernel && (loss = policy_kernel_loss(policy, i)); i++)
        log_warn("policy %s: %s", policy->id, loss);
}

static void warn_of_no_kernel_route(const struct agent *agent)
{
    struct agent_stats stats;

    agent_stats(agent, &stats);
    if (strcmp(stats.kernel.backend, "none") == 0)
        log_warn("this kernel has no back-end for all of the kernel route ('sallyport probe' tells "
                 "why): what programs have the kernel encrypt is opaque there, as if they did it "
                 "themselves; what it cannot take at all takes the proxy route%s%s",
                 *stats.kernel.backend_why ? ": " : "", stats.kernel.backend_why);
}

/* The command's pod has no name, no labels and stands in no namespace. */
static int look_at_policies(const struct policy_set *policies, struct wanted *wanted,
                            struct err *err)
{
    CLEANUP(pod_unref) struct pod *pod = pod_new(0, "", "", NULL, 0);

    if (!pod)
        return err_set(err, -ENOMEM, "policies: out of memory");
    for (size_t i = 0; i < policies->len; i++) {
        const struct policy *policy = policies->list[i];

        if (policy_selects(policy, pod)) {
            look_at_policy(policy, wanted);
            continue;
        }
        log_warn("policy %s does not apply to the command: %s", policy->id,
                 policy->space[0] ? "it is for pods of its namespace, and exec's command is in none"
                                  : "its podSelector wants labels, and exec's command has none");
    }
    return 0;
}

int exec_own_start(struct exec_run *run, struct err *err)
{
    const struct exec_options *options = run->options;
    struct pods_settings settings_of_pod = {
        .all_ports = options->all_ports,
        .loopback = options->loopback,
        .ports = options->ports_len ? options->ports : pods_default_ports,
        .ports_len = options->ports_len ? options->ports_len : pods_default_ports_len,
    };
    struct agent_pod pod = {
        .cgroup_id = run->instance->cgroup_id,
        .cgroup_fd = -1,
        .space = "",
        .name = "",
        .settings = &settings_of_pod,
        .like = getpid(),
    };
    struct agent_settings settings = {
        .cgroup_fd = run->instance->cgroup_fd,
        .sinks = &run->output.sink,
        .sinks_len = 1,
        .node_name = run->node_name,
    };
    CLEANUP(policy_set_unref) struct policy_set *policies = NULL;
    struct wanted wanted = {.ktls = options->ktls};
    char pin_dir[128];
    int result = load_policies(&policies, options, err);

    if (options->route)
        policy_route_find(options->route, &wanted.route);
    settings_of_pod.route = wanted.route;
    wanted.kernel = wanted.route == POLICY_ROUTE_KERNEL;
    if (result == 0)
        result = look_at_policies(policies, &wanted, err);
    if (result == 0)
        result = load_trust(run, wanted.ktls, err);
    if (result < 0)
        return result;
    snprintf(pin_dir, sizeof(pin_dir), "%s/bpf", run->instance->dir);
    settings.credentials = run->credentials;
    settings.pin_dir = pin_dir;
    settings.workers = host_cpus();
    settings.names_no_route = !wanted.kernel;
    result = agent_new(&run->agent, &settings, err);
    if (result == 0 && wanted.kernel)
        warn_of_no_kernel_route(run->agent);
    if (result == 0)
        result = agent_use_policies(run->agent, policies, err);
    if (result == 0)
        result =
            agent_pass_through(run->agent, options->passthrough, options->passthrough_len, err);
    if (result < 0)
        return result;
    result = attend_serve(&run->attend, agent_base(run->agent), err);
    if (result < 0)
        return result;
    CLEANUP(fd_close) int netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

    if (netns < 0)
        return err_sys(err, -errno, "/proc/self/ns/net");
    pod.netns_fd = netns;
    return agent_add_pod(run->agent, &pod, err);
}
