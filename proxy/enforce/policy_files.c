#include "proxy/enforce/policy_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "certs/file.h"
#include "policy/document.h"

/* ---- the story ---- */

void policy_story_fini(struct policy_story *story)
{
    free(story->text);
    *story = (struct policy_story){0};
}

static void append(struct policy_story *story, const char *text)
{
    size_t len = text ? strlen(text) : 0;
    char *grown = text ? realloc(story->text, story->len + len + 1) : NULL;

    story->failed |= !grown;
    if (!grown)
        return;
    memcpy(grown + story->len, text, len + 1);
    story->text = grown;
    story->len += len;
}

void policy_story_add(struct policy_story *story, const char *path, const char *sentence)
{
    CLEANUP(text_free) char *line = NULL;

    if (asprintf(&line, "%s: error: %s\n", path, sentence) < 0)
        line = NULL;
    story->faults++;
    append(story, line);
}

int policy_story_summary(const struct policy_story *story, struct err *err)
{
    return err_set(err, -EINVAL, "%zu fault%s in policies%s", story->faults,
                   story->faults == 1 ? "" : "s",
                   story->failed ? ", and no memory to tell them all" : "");
}

/* ---- files ---- */

bool policy_files_compile(struct policy_list *list, struct span bytes, const char *file,
                          struct policy_story *story)
{
    CLEANUP(faults_fini) struct faults faults = {0};
    CLEANUP(text_free) char *text = NULL;
    int result = policy_compile(list, bytes, file, &faults);

    if (result == 0)
        return true;
    if (!faults_count(&faults)) {
        policy_story_add(story, file, strerror(-result));
        return false;
    }
    text = faults_tell(&faults, file, bytes);
    story->faults += faults_count(&faults);
    append(story, text);
    return false;
}

static int is_policy_file(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');

    return entry->d_name[0] != '.' && dot &&
           (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
}

static bool read_file(const char *path, const struct policy_files_visit *visit,
                      struct policy_story *story)
{
    CLEANUP(file_free) struct file file = {0};
    struct err err;

    if (file_read(&file, path, &err) == 0)
        return visit->fn(visit->arg, path, span_of(file.data, file.len), story);
    policy_story_add(story, path, err.text);
    return false;
}

static bool read_dir(const char *path, const struct policy_files_visit *visit,
                     struct policy_story *story)
{
    struct dirent **entries = NULL;
    int len = scandir(path, &entries, is_policy_file, alphasort);
    const char *slash = path[strlen(path) - 1] == '/' ? "" : "/";
    bool ok = len >= 0;

    if (!ok)
        policy_story_add(story, path, strerror(errno));
    for (int i = 0; i < len; i++) {
        CLEANUP(text_free) char *file = NULL;

        if (asprintf(&file, "%s%s%s", path, slash, entries[i]->d_name) < 0) {
            file = NULL;
            policy_story_add(story, path, "out of memory");
            ok = false;
        } else {
            ok = read_file(file, visit, story) && ok;
        }
        free(entries[i]);
    }
    free(entries);
    return ok;
}

bool policy_files_each(const char *path, bool may_miss, const struct policy_files_visit *visit,
                       struct policy_story *story)
{
    struct stat st;

    if (stat(path, &st) == 0)
        return S_ISDIR(st.st_mode) ? read_dir(path, visit, story) : read_file(path, visit, story);
    if (may_miss && errno == ENOENT)
        return true;
    policy_story_add(story, path, strerror(errno));
    return false;
}

static bool compile(void *list, const char *file, struct span bytes, struct policy_story *story)
{
    return policy_files_compile(list, bytes, file, story);
}

bool policy_files_read(struct policy_list *list, const char *path, bool may_miss,
                       struct policy_story *story)
{
    const struct policy_files_visit visit = {compile, list};

    return policy_files_each(path, may_miss, &visit, story);
}

int policy_files_load(struct policy_set **out, const char *const *paths, size_t len,
                      struct policy_story *story, struct err *err)
{
    CLEANUP(policy_list_fini) struct policy_list list = {0};
    bool ok = true;

    for (size_t i = 0; i < len; i++)
        ok = policy_files_read(&list, paths[i], false, story) && ok;
    if (!ok)
        return policy_story_summary(story, err);
    *out = policy_set_new(list.list, list.len, 1);
    return *out ? 0 : err_set(err, -ENOMEM, "policies");
}
