/* scene: policies as their users write them, and somebody they are for. */
#pragma once

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "policy/compile.h"
#include "policy/decide.h"

struct scene {
    struct policy_list list;
    struct policy_set *set;
    struct pod *pod;
    struct policy_view *view;
    struct policy_scope *scope;
};

static inline void scene_end(struct scene *scene)
{
    policy_scope_free(&scene->scope);
    policy_view_unref(&scene->view);
    pod_unref(&scene->pod);
    policy_set_unref(&scene->set);
    policy_list_fini(&scene->list);
}

/* Adds a file's policies. */
static inline void scene_read(struct scene *scene, const char *yaml)
{
    struct faults faults = {0};

    if (policy_compile(&scene->list, span_of_text(yaml), "scene.yaml", &faults) < 0) {
        CLEANUP(text_free)
        char *text = faults_tell(&faults, "scene.yaml", span_of_text(yaml));

        fprintf(stderr, "%s", text);
        fail_msg("no policy");
    }
    faults_fini(&faults);
}

static int scene_by_id(const void *a, const void *b)
{
    return strcmp((*(struct policy *const *)a)->id, (*(struct policy *const *)b)->id);
}

/* binary NULL: nobody knows the program. */
static inline struct policy_scope *scene_scope(struct scene *scene, const char *binary)
{
    struct process process = {.binary = (char *)(uintptr_t)binary};
    struct policy_scope *scope = policy_scope_new(scene->view, binary ? &process : NULL);

    assert_non_null(scope);
    return scope;
}

/* For a pod {app: cart} of the namespace shop, and a program. */
static inline void scene_begin(struct scene *scene, const char *binary)
{
    static char app[] = "app", cart[] = "cart";
    const struct pod_label label = {app, cart};

    if (scene->list.len)
        qsort(scene->list.list, scene->list.len, sizeof(scene->list.list[0]), scene_by_id);
    scene->set = policy_set_new(scene->list.list, scene->list.len, 1);
    scene->pod = pod_new(7, "shop", "cart-1", &label, 1);
    assert_non_null(scene->set);
    assert_non_null(scene->pod);
    scene->view = policy_view_new(scene->set, scene->pod);
    assert_non_null(scene->view);
    scene->scope = scene_scope(scene, binary);
}

/* "203.0.113.9:443", "[2001:db8::1]:443" */
static inline struct addr scene_addr(const char *text)
{
    const char *colon = strrchr(text, ':');
    struct addr addr = {0};
    char ip[64] = "";

    assert_non_null(colon);
    addr.port = (uint16_t)atoi(colon + 1);
    if (text[0] == '[') {
        memcpy(ip, text + 1, (size_t)(colon - text) - 2);
        assert_int_equal(inet_pton(AF_INET6, ip, addr.ip), 1);
    } else {
        memcpy(ip, text, (size_t)(colon - text));
        addr.ip[10] = addr.ip[11] = 0xff;
        assert_int_equal(inet_pton(AF_INET, ip, addr.ip + 12), 1);
    }
    return addr;
}
