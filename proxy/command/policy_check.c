/* policy check: every fault of every file, or what the files hold. Asks no agent. */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "certs/file.h"
#include "policy/compile.h"
#include "policy/document.h"
#include "proxy/command/policy.h"

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
    size_t faults, files_bad;
};

/* ---- one file ---- */

static void tell_held(const struct check *check, size_t from, const char *name)
{
    size_t len = check->list.len - from;

    if (len == 1) {
        const struct policy *policy = check->list.list[from];

        printf("%s: %s: %s, egress %zu%s, egressDeny %zu, bodies %zu\n", name, policy->id,
               policy_mode_name(policy->mode), policy->egress_len,
               policy->has_egress ? " (all else is denied)" : "", policy->egress_deny_len,
               policy->bodies_len);
        return;
    }
    printf("%s: %zu policies%s", name, len, len ? ": " : "");
    for (size_t i = 0; i < len && i < NAMES_SHOWN; i++)
        printf("%s%s", i ? ", " : "", check->list.list[from + i]->id);
    printf("%s\n", len > NAMES_SHOWN ? ", …" : "");
}

static void tell_failure(struct check *check, const char *text)
{
    log_error("%s", text);
    check->files_bad++;
}

static void check_bytes(struct check *check, struct span bytes, const char *name)
{
    CLEANUP(faults_fini) struct faults faults = {0};
    CLEANUP(text_free) char *story = NULL;
    size_t from = check->list.len;
    int result = policy_compile(&check->list, bytes, name, &faults);

    if (result == 0) {
        tell_held(check, from, name);
        return;
    }
    story = result == -EINVAL ? faults_tell(&faults, name, bytes) : NULL;
    if (!story) {
        tell_failure(check, "out of memory");
        return;
    }
    fflush(stdout);
    fputs(story, stderr);
    check->faults += faults_count(&faults);
    check->files_bad++;
}

static void check_file(struct check *check, const char *path)
{
    CLEANUP(file_free) struct file file = {0};
    struct err err;

    if (file_read(&file, path, &err) < 0)
        tell_failure(check, err.text);
    else
        check_bytes(check, span_of(file.data, file.len), path);
}

static void check_input(struct check *check)
{
    CLEANUP(text_free) char *data = malloc(DOCUMENT_SIZE_MAX + 1);
    size_t len = data ? fread(data, 1, DOCUMENT_SIZE_MAX + 1, stdin) : 0;

    if (!data || ferror(stdin))
        tell_failure(check, "standard input cannot be read");
    else
        check_bytes(check, span_of(data, len), "stdin");
}

/* ---- a directory ---- */

static int is_policy_file(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');

    return entry->d_name[0] != '.' && dot &&
           (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
}

static void check_directory(struct check *check, const char *path)
{
    struct dirent **names = NULL;
    int len = scandir(path, &names, is_policy_file, alphasort);
    struct err err;

    if (len < 0) {
        err_sys(&err, -errno, "cannot read %s", path);
        tell_failure(check, err.text);
    }
    if (len == 0)
        printf("%s: no policies\n", path);
    for (int i = 0; i < len; i++) {
        CLEANUP(text_free) char *whole = NULL;
        bool slash = path[strlen(path) - 1] == '/';

        if (asprintf(&whole, "%s%s%s", path, slash ? "" : "/", names[i]->d_name) < 0) {
            whole = NULL;
            tell_failure(check, "out of memory");
        } else {
            check_file(check, whole);
        }
        free(names[i]);
    }
    free(names);
}

static void check_one(struct check *check, const char *path)
{
    struct stat st;

    if (strcmp(path, "-") == 0)
        check_input(check);
    else if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        check_directory(check, path);
    else
        check_file(check, path);
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
    if (fflush(stdout) != 0)
        tell_failure(&check, "what the files hold could not be written");
    if (check.faults)
        fprintf(stderr, "%zu fault%s in %zu file%s\n", check.faults, check.faults == 1 ? "" : "s",
                check.files_bad, check.files_bad == 1 ? "" : "s");
    return check.files_bad ? 1 : 0;
}
