/* policy apply: files of policies, to the running agent: all of them or none. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "policy/document.h"
#include "proxy/command/ask.h"
#include "proxy/command/policy.h"
#include "proxy/enforce/bundle.h"
#include "proxy/enforce/policy_files.h"

enum { FAILED = 1, MISUSED = 2 };

static const char usage_text[] =
    "Usage: sallyport policy apply [OPTION…] FILE…|DIR…|-\n"
    "\n"
    "Puts policies in force in the running agent, in the place of those of the same names that\n"
    "were applied before: all of them, or none where there is a fault in any. They last until\n"
    "'sallyport policy remove', also when the agent is started anew. Of a directory its *.yaml\n"
    "and *.yml are read; '-' is standard input.\n"
    "\n"
    "  -o, --output compact|json  form of what has changed (compact)\n"
    "      --runtime-dir DIR      where the agent is ($RUNTIME_DIRECTORY, else /run/sallyport)\n"
    "  -h, --help                 this text\n"
    "\n"
    "Exit status: 0; 1: there are faults, or no agent runs there; 2: wrong options.\n";

static bool add_file(void *bundle, const char *file, struct span bytes, struct policy_story *story)
{
    if (strlen(file) > BUNDLE_NAME_MAX) {
        policy_story_add(story, file, "the name is too long");
        return false;
    }
    bundle_add(bundle, file, bytes);
    return true;
}

static bool add_input(struct buffer *bundle, struct policy_story *story)
{
    CLEANUP(text_free) char *data = malloc(DOCUMENT_SIZE_MAX + 1);
    size_t len = data ? fread(data, 1, DOCUMENT_SIZE_MAX + 1, stdin) : 0;

    if (data && !ferror(stdin))
        return add_file(bundle, "stdin", span_of(data, len), story);
    policy_story_add(story, "stdin", "cannot be read");
    return false;
}

static bool read_all(struct buffer *bundle, char **paths, struct policy_story *story)
{
    const struct policy_files_visit visit = {add_file, bundle};
    bool ok = true;

    for (; *paths; paths++)
        ok = (strcmp(*paths, "-") == 0 ? add_input(bundle, story)
                                       : policy_files_each(*paths, false, &visit, story)) &&
             ok;
    return ok;
}

/* As a file, since a request is a line of bounded length. */
static int make_file(const struct buffer *bundle, struct err *err)
{
    CLEANUP(fd_close) int fd = memfd_create("policies", MFD_CLOEXEC);
    size_t at = 0;

    if (bundle->failed)
        return err_set(err, -ENOMEM, "the policies: out of memory");
    if (bundle->len > BUNDLE_BYTES_MAX)
        return err_set(err, -EFBIG, "the files have more than %d MiB; apply them in several goes",
                       BUNDLE_BYTES_MAX >> 20);
    while (fd >= 0 && at < bundle->len) {
        ssize_t n = write(fd, bundle->data + at, bundle->len - at);

        if (n < 0)
            fd_close(&fd);
        else
            at += (size_t)n;
    }
    return fd < 0 ? err_sys(err, -errno, "the policies") : fd_take(&fd);
}

static void show_notes(const json_t *row)
{
    json_t *warnings = json_object_get(row, "warnings"), *warning;
    const char *note = json_string_value(json_object_get(row, "note"));
    size_t i;

    if (note)
        log_info("policy %s: %s", ask_text(row, "policy"), note);
    json_array_foreach(warnings, i, warning)
        log_warn("policy %s: %s", ask_text(row, "policy"), json_string_value(warning));
}

/* One line for each policy. */
static int show_changes(const struct ask *ask, struct client *client, json_int_t len)
{
    CLEANUP(buffer_fini) struct buffer out = {0};

    for (json_int_t i = 0; i < len; i++) {
        json_t *row = NULL;

        if (ask_read_row(client, &row) < 0)
            return FAILED;
        if (ask->json)
            ask_append_json(&out, row);
        else
            buffer_format(&out, "%s %s\n", ask_text(row, "policy"), ask_text(row, "change"));
        show_notes(row);
        json_decref(row);
    }
    return out.len && ask_write(&out) < 0 ? FAILED : 0;
}

static int apply(const struct ask *ask, const struct buffer *bundle)
{
    CLEANUP(client_fini) struct client client = {.fd = -1};
    struct err err = {0};
    CLEANUP(fd_close) int fd = make_file(bundle, &err);
    const char *story;
    json_t *answer = NULL;
    json_int_t faults;
    int status;

    if (fd >= 0 && client_connect(&client, ask->runtime_dir, &err) == 0)
        client_call(&client, json_pack("{s:s}", "verb", "policy.apply"), &fd, 1, &answer, &err);
    if (err.code < 0) {
        log_error("%s", err.text);
        return FAILED;
    }
    story = json_string_value(json_object_get(answer, "story"));
    faults = json_integer_value(json_object_get(answer, "faults"));
    if (faults) {
        fputs(story ? story : "", stderr);
        log_error("nothing was applied: %lld fault%s in policies", (long long)faults,
                  faults == 1 ? "" : "s");
        status = FAILED;
    } else {
        status =
            show_changes(ask, &client, json_integer_value(json_object_get(answer, "policies")));
    }
    json_decref(answer);
    return status;
}

int command_policy_apply(int argc, char **argv)
{
    static const struct ask_command command = {
        .name = "sallyport policy apply", .usage = usage_text, .takes_words = true};
    CLEANUP(policy_story_fini) struct policy_story story = {0};
    CLEANUP(buffer_fini) struct buffer bundle = {0};
    struct ask ask = {0};
    int status = ask_parse(&ask, &command, argc, argv);

    if (status)
        return status - 1;
    if (optind == argc) {
        fputs("sallyport policy apply: say which files, or '-' for standard input\n", stderr);
        return MISUSED;
    }
    if (read_all(&bundle, argv + optind, &story))
        return apply(&ask, &bundle);
    fputs(story.text ? story.text : "sallyport: out of memory\n", stderr);
    return FAILED;
}
