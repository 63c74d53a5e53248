/* One reading of files, or of what a client applies: by a thread, which touches nothing else. */
#include <errno.h>
#include <string.h>

#include "proxy/enforce/bundle.h"
#include "proxy/enforce/sources_own.h"

void sources_free_paths(char ***paths, size_t *len)
{
    while (*len)
        free((*paths)[--*len]);
    free(TAKE(*paths));
}

int sources_copy_paths(char ***out, size_t *out_len, char *const *paths, size_t len)
{
    *out = calloc(len + 1, sizeof(**out));
    for (*out_len = 0; *out && *out_len < len; ++*out_len)
        if (!((*out)[*out_len] = strdup(paths[*out_len]))) {
            sources_free_paths(out, out_len);
            return -ENOMEM;
        }
    return *out ? 0 : -ENOMEM;
}

void reading_free(struct reading **reading)
{
    struct reading *gone = TAKE(*reading);

    if (!gone)
        return;
    free(gone->bundle);
    sources_free_paths(&gone->paths, &gone->paths_len);
    policy_list_fini(&gone->list);
    applied_fini(&gone->fresh);
    policy_story_fini(&gone->story);
    free(gone);
}

struct reading *reading_new(const struct sources *sources)
{
    CLEANUP(reading_free) struct reading *reading = calloc(1, sizeof(*reading));

    if (!reading || sources_copy_paths(&reading->paths, &reading->paths_len, sources->paths,
                                       sources->paths_len) < 0)
        return NULL;
    reading->dir = sources->dir;
    return TAKE(reading);
}

static bool read_bundle(struct reading *reading)
{
    struct span rest = span_of(reading->bundle, reading->bundle_len), bytes;
    enum bundle_status status;
    const char *name;
    bool ok = true;

    while ((status = bundle_next(&rest, &name, &bytes)) == BUNDLE_FILE)
        ok = applied_compile(&reading->fresh, &reading->list, bytes, name, &reading->story) && ok;
    if (status == BUNDLE_BROKEN)
        policy_story_add(&reading->story, "what was sent", "is not whole");
    return ok && status == BUNDLE_END;
}

void reading_do(struct reading *reading)
{
    if (reading->bundle) {
        reading->ok = read_bundle(reading);
        return;
    }
    reading->ok = policy_files_read(&reading->list, reading->dir, true, &reading->story);
    for (size_t i = 0; i < reading->paths_len; i++)
        reading->ok =
            policy_files_read(&reading->list, reading->paths[i], false, &reading->story) &&
            reading->ok;
}
