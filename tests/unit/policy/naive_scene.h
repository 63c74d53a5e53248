/* naive_scene: random policies (naive.h) in force for a pod, and what a random ask (naive_judge.h)
 * is to policy/decide.h. */
#pragma once

#include "tests/unit/policy/naive_judge.h"
#include "tests/unit/policy/scene.h"

/* *yaml is what the policies say, the caller's. False: they are none, which is told if SHOW is set;
 * scene_end() either way. */
static inline bool naive_scene(struct naive *model, struct scene *scene, char **yaml)
{
    struct faults faults = {0};
    bool read;

    random_policies(model);
    *yaml = print_policies(model);
    read = policy_compile(&scene->list, span_of_text(*yaml), "random.yaml", &faults) == 0;
    if (read) {
        scene_begin(scene, NULL);
    } else if (getenv("SHOW")) {
        CLEANUP(text_free) char *told = faults_tell(&faults, "random.yaml", span_of_text(*yaml));

        print_message("%s", told);
    }
    faults_fini(&faults);
    return read;
}

static inline void naive_scene_choose(struct scene *scene, const struct naive_ask *ask)
{
    policy_scope_free(&scene->scope);
    scene->scope = scene_scope(scene, ask->curl ? "/usr/bin/curl" : "/usr/bin/wget");
}

static inline struct addr naive_dst(const struct naive_ask *ask)
{
    char text[80];

    snprintf(text, sizeof(text), strchr(ask->address, ':') ? "[%s]:%d" : "%s:%d", ask->address,
             ask->port);
    return scene_addr(text);
}

/* field: room for its own. */
static inline struct facts_request naive_request(const struct naive_ask *ask,
                                                 struct facts_field *field)
{
    *field = (struct facts_field){span_of_text(ask->field), span_of_text(ask->value)};
    return (struct facts_request){
        .method = span_of_text(ask->method),
        .path = span_of_text(ask->paths[0]),
        .host = ask->host,
        .fields = field,
        .fields_len = ask->field != NULL,
    };
}
