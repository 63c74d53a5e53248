/* policy check: every fault of every file, or what the files hold. Asks no agent. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "policy/document.h"
#include "policy/route.h"
#include "proxy/command/policy.h"
#include "proxy/enforce/policy_files.h"

enum { NAMES_SHOWN = 5 };

static const char usage_text[] =
    "Usage: sallyport policy check FILE…|DIR…\n"
    "\n"
    "Reads policies as the agent would, and tells every fault of every file with its place, the\n"
    "line and what to do. Of a directory its *.yaml and *.yml are read; '-' is standard input.\n"
    "\n"
    "  -h, --help  this text\n"
    "\n"
    "Exit status: 0: all is well; 1: there are faults, or a file cannot be read; 2: wrong "
    "options.\n";

struct check {
    struct policy_list list; /* of all files: two of one name are a fault */
    size_t faults;
};

/* ---- what there is ---- */

static void tell_one(const struct policy *policy)
{
    printf("%s: %s: %s, egress %zu%s, egressDeny %zu, bodies %zu\n", policy->file, policy->id,
           policy_mode_name(policy->mode), policy->egress_len,
           policy->has_egress ? " (all else is denied)" : "", policy->egress_deny_len,
           policy->bodies_len);
}

static void tell_notes(const struct policy *policy)
{
    const char *note = policy_ktls_note(policy), *warning;

    if (note)
        printf("%s: %s: note: %s\n", policy->file, policy->id, note);
    for (size_t i = 0; (warning = policy_kernel_warning(policy, i)); i++)
        printf("%s: %s: warning: %s\n", policy->file, policy->id, warning);
}

/* Those of one file stand together. */
static void tell_held(const struct policy_list *list, size_t from, const char *path)
{
    size_t len;

    if (from == list->len)
        printf("%s: no policies\n", path);
    for (size_t i = from; i < list->len; i++)
        tell_notes(list->list[i]);
    for (; from < list->len; from += len) {
        struct policy *const *of = &list->list[from];

        for (len = 1; from + len < list->len && strcmp(of[len]->file, of[0]->file) == 0;)
            len++;
        if (len == 1) {
            tell_one(of[0]);
            continue;
        }
        printf("%s: %zu policies: ", of[0]->file, len);
        for (size_t i = 0; i < len && i < NAMES_SHOWN; i++)
            printf("%s%s", i ? ", " : "", of[i]->id);
        printf("%s\n", len > NAMES_SHOWN ? ", …" : "");
    }
}

/* ---- what there is not ---- */

static bool read_input(struct policy_list *list, struct policy_story *story)
{
    CLEANUP(text_free) char *data = malloc(DOCUMENT_SIZE_MAX + 1);
    size_t len = data ? fread(data, 1, DOCUMENT_SIZE_MAX + 1, stdin) : 0;

    if (data && !ferror(stdin))
        return policy_files_compile(list, span_of(data, len), "stdin", story);
    policy_story_add(story, "stdin", data ? strerror(errno) : "out of memory");
    return false;
}

static void check_one(struct check *check, const char *path)
{
    CLEANUP(policy_story_fini) struct policy_story story = {0};
    size_t from = check->list.len;
    bool fine = strcmp(path, "-") == 0 ? read_input(&check->list, &story)
                                       : policy_files_read(&check->list, path, false, &story);

    if (fine || from < check->list.len)
        tell_held(&check->list, from, path);
    if (fine)
        return;
    fflush(stdout);
    fputs(story.text ? story.text : "sallyport: out of memory\n", stderr);
    check->faults += story.faults + !story.faults;
}

int command_policy_check(int argc, char **argv)
{
    static const struct option known[] = {
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct check check = {0};
    int option;

    while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage_text, stdout);
            return 0;
        }
        fputs("'sallyport policy check --help' tells the options.\n", stderr);
        return 2;
    }
    if (optind == argc) {
        fputs("sallyport policy check: say which files, or '-' for standard input\n", stderr);
        return 2;
    }
    for (int i = optind; i < argc; i++)
        check_one(&check, argv[i]);
    policy_list_fini(&check.list);
    if (fflush(stdout) != 0) {
        log_error("what the files hold could not be written: %s", strerror(errno));
        return 1;
    }
    if (check.faults)
        fprintf(stderr, "%zu fault%s\n", check.faults, check.faults == 1 ? "" : "s");
    return check.faults ? 1 : 0;
}
