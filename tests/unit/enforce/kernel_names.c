/* kernel_names: which class the kernel is told of an address, and until when; and that a pod which
 * has a zone of its own cannot make that dear for others, who wait meanwhile. What it takes is
 * counted. The kernel's maps are ours here. */
#include "proxy/enforce/kernel_names.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <search.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "bpf/abi.h"
#include "policy/compile.h"
#include "proxy/dns/names.h"
#include "proxy/enforce/kernel_spoken.h"
#include "proxy/enforce/kernel_tables.h"
#include "sallyport.skel.h"

enum { POD = 7, RULES = 3, NAMES_OF_ADDRESS = 32 };

static struct sallyport_bpf bpf;
static struct {
    struct abi_resolved key;
    struct abi_class class;
} told; /* the last one */
static struct abi_resolved erased;
static size_t tells, erases, matches, classes;

/* ---- in the place of the kernel ---- */

int __wrap_bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags);
int __wrap_bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags)
{
    (void)fd;
    (void)flags;
    memcpy(&told.key, key, sizeof(told.key));
    memcpy(&told.class, value, sizeof(told.class));
    tells++;
    return 0;
}

int __wrap_bpf_map_delete_elem(int fd, const void *key);
int __wrap_bpf_map_delete_elem(int fd, const void *key)
{
    (void)fd;
    memcpy(&erased, key, sizeof(erased));
    erases++;
    return 0;
}

int kernel_tables_add_lines(struct sallyport_bpf *skeleton, uint32_t number,
                            const struct policy_table *table, size_t from, struct err *err)
{
    (void)skeleton;
    (void)err;
    assert_int_equal(number, RULES);
    assert_true(from <= table->lines_len);
    return 0;
}

void kernel_spoken_put(struct sallyport_bpf *skeleton, uint64_t key, uint64_t pod,
                       const uint8_t ip[16], const struct kernel_spoken *spoken)
{
    (void)skeleton;
    (void)key;
    (void)pod;
    (void)ip;
    assert_int_equal(spoken->rules, RULES);
}

void kernel_spoken_drop(struct sallyport_bpf *skeleton, uint64_t key, uint64_t pod,
                        const uint8_t ip[16], const char *name)
{
    (void)skeleton;
    (void)key;
    (void)pod;
    (void)ip;
    (void)name;
}

/* ---- what it takes ---- */

bool __real_match_pattern(const char *pattern, const char *name);
bool __wrap_match_pattern(const char *pattern, const char *name);
bool __wrap_match_pattern(const char *pattern, const char *name)
{
    matches++;
    return __real_match_pattern(pattern, name);
}

int __real_policy_table_class(struct policy_table *table, const struct policy_table_led *led,
                              uint32_t *class, struct err *err);
int __wrap_policy_table_class(struct policy_table *table, const struct policy_table_led *led,
                              uint32_t *class, struct err *err);
int __wrap_policy_table_class(struct policy_table *table, const struct policy_table_led *led,
                              uint32_t *class, struct err *err)
{
    size_t before = matches;
    int code = __real_policy_table_class(table, led, class, err);

    classes++;
    matches = before; /* a new class is made once, and so many decisions may a table take in all */
    return code;
}

void __wrap_twalk_r(const void *root, void (*action)(const void *, VISIT, void *), void *closure);
void __wrap_twalk_r(const void *root, void (*action)(const void *, VISIT, void *), void *closure)
{
    (void)root;
    (void)action;
    (void)closure;
    fail_msg("all of it is walked through");
}

/* ---- one pod ---- */

struct scene {
    struct policy_view *view;
    struct binaries binaries;
    struct policy_table *table;
    struct kernel_names *names;
};

static void scene_fini(struct scene *scene)
{
    kernel_names_free(&scene->names, false);
    policy_table_free(&scene->table);
    policy_view_unref(&scene->view);
    binaries_fini(&scene->binaries);
}

static void begin(struct scene *scene, const char *egress)
{
    CLEANUP(policy_list_fini) struct policy_list list = {0};
    CLEANUP(policy_set_unref) struct policy_set *set = NULL;
    CLEANUP(pod_unref) struct pod *pod = pod_new(1, "", "pod", NULL, 0);
    CLEANUP(faults_fini) struct faults faults = {0};
    CLEANUP(text_free) char *yaml = NULL;
    struct err err;

    assert_true(asprintf(&yaml,
                         "apiVersion: sallyport.io/v1\nkind: TrafficPolicy\n"
                         "metadata: {name: a}\nspec:\n  egress:\n%s",
                         egress) > 0);
    if (policy_compile(&list, span_of_text(yaml), "test.yaml", &faults) < 0)
        fail_msg("%s", faults.list[0].text);
    set = policy_set_new(list.list, list.len, 1);
    scene->view = policy_view_new(set, pod);
    assert_int_equal(policy_table_new(&scene->table, scene->view, &scene->binaries, &err), 0);
    assert_int_equal(kernel_names_new(&scene->names, &bpf, POD, RULES, scene->table, 1, &err), 0);
    tells = erases = matches = classes = 0;
}

static struct addr nth_address(unsigned n)
{
    return (struct addr){
        .ip = {[10] = 0xff, 0xff, 10, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n}};
}

static void add_at(struct scene *scene, const char *name, unsigned address, uint64_t until_ns,
                   uint64_t now_ns)
{
    struct addr to = nth_address(address);

    kernel_names_add(scene->names, name, &to, until_ns, now_ns);
}

static void add(struct scene *scene, const char *name, unsigned address, uint64_t until_ns)
{
    add_at(scene, name, address, until_ns, 1);
}

static void assert_untils(uint64_t first, uint64_t second, uint64_t third, uint64_t fourth)
{
    const uint64_t want[ABI_CLASSES] = {first, second, third, fourth};

    for (size_t i = 0; i < ABI_CLASSES; i++)
        assert_int_equal(told.class.by[i].until_ns, want[i]);
}

static void assert_key(const struct abi_resolved *key, unsigned address)
{
    struct addr want = nth_address(address);

    assert_int_equal(key->pod, POD);
    assert_int_equal(key->rules, RULES);
    assert_memory_equal(key->ip, want.ip, sizeof(want.ip));
}

/* ---- the tests ---- */

static void a_class_lasts_as_long_as_its_names(void **state)
{
    CLEANUP(scene_fini) struct scene scene = {0};
    uint32_t both;

    (void)state;
    begin(&scene,
          "  - {toFQDNs: [{matchPattern: '*.a.example'}], toPorts: [{ports: [{port: \"1\"}]}]}\n"
          "  - {toFQDNs: [{matchName: b.example}], toPorts: [{ports: [{port: \"2\"}]}]}\n");
    add(&scene, "c.example", 1, 10);
    assert_int_equal(tells, 0);
    add(&scene, "b.example", 1, 30);
    assert_key(&told.key, 1);
    assert_untils(30, 0, 0, 0);
    add(&scene, "x.a.example", 1, 10);
    add(&scene, "y.a.example", 1, 20);
    both = told.class.by[0].class;
    assert_untils(20, 30, 0, 0);
    assert_int_not_equal(told.class.by[1].class, both);
    add(&scene, "x.a.example", 1, 40);
    assert_int_equal(told.class.by[0].class, both);
    assert_untils(30, 40, 0, 0);
    add(&scene, "x.a.example", 1, 5); /* it holds for longer already */
    assert_untils(30, 40, 0, 0);
}

/* For who connected before: of those that are over the last two, and always those that hold. */
static void names_that_are_over_stay(void **state)
{
    CLEANUP(scene_fini) struct scene scene = {0};
    char name[64];

    (void)state;
    begin(&scene,
          "  - {toFQDNs: [{matchName: n1.example}], toPorts: [{ports: [{port: \"1\"}]}]}\n"
          "  - {toFQDNs: [{matchName: n2.example}], toPorts: [{ports: [{port: \"2\"}]}]}\n"
          "  - {toFQDNs: [{matchName: n3.example}], toPorts: [{ports: [{port: \"3\"}]}]}\n"
          "  - {toFQDNs: [{matchPattern: '*.example'}], toPorts: [{ports: [{port: \"9\"}]}]}\n");
    for (unsigned i = 1; i <= 5; i++) {
        snprintf(name, sizeof(name), "n%u.example", i);
        add(&scene, name, 1, 10 * i);
    }
    assert_untils(10, 20, 30, 50); /* the last two are of one class */
    add_at(&scene, "n6.example", 1, 60, 25);
    assert_untils(10, 20, 30, 60);
    add_at(&scene, "n7.example", 1, 70, 35);
    assert_untils(20, 30, 70, 0);
    add_at(&scene, "n7.example", 1, 80, 75);
    assert_untils(20, 30, 80, 0);
}

static void the_oldest_makes_way(void **state)
{
    CLEANUP(scene_fini) struct scene scene = {0};

    (void)state;
    begin(&scene, "  - toFQDNs: [{matchPattern: '*.example'}]\n");
    add(&scene, "hosts.example", 0, UINT64_MAX);
    for (unsigned i = 1; i <= NAMES_OF_POD_MAX; i++)
        add(&scene, "www.example", i, 100);
    assert_int_equal(erases, 0);
    add(&scene, "www.example", 1, 200); /* now it is the newest */
    for (unsigned i = 1; i <= 1000; i++) {
        add(&scene, "www.example", NAMES_OF_POD_MAX + i, 100);
        assert_key(&told.key, NAMES_OF_POD_MAX + i);
        assert_int_equal(erases, i);
        assert_key(&erased, 1 + i);
    }
    assert_int_equal(tells, 1 + NAMES_OF_POD_MAX + 1 + 1000);
    assert_int_equal(classes, tells);
    assert_true(matches <= 3 * tells);
    add(&scene, "more.example", 1, 200); /* names count, not addresses */
    assert_int_equal(erases, 1001);
}

static void rules_and_names_are_not_multiplied(void **state)
{
    enum { MANY = 500 };
    CLEANUP(scene_fini) struct scene scene = {0};
    CLEANUP(text_free) char *egress = NULL;
    char name[64];
    size_t len;
    FILE *out = open_memstream(&egress, &len);

    (void)state;
    for (int i = 0; i < MANY; i++)
        fprintf(out,
                "  - {toFQDNs: [{matchPattern: '*.z%d.example'}], toPorts: [{ports: [{port: "
                "\"%d\"}]}]}\n",
                i, i + 1);
    fclose(out);
    begin(&scene, egress);
    for (unsigned i = 0; i < NAMES_OF_ADDRESS; i++) {
        matches = classes = 0;
        snprintf(name, sizeof(name), "www.z%u.example", i);
        add(&scene, name, 1, 100 + i);
        assert_int_equal(tells, i + 1);
        assert_true(classes <= 2 * ABI_CLASSES);
        assert_true(matches <= 2 * (i + 2));
    }
    matches = classes = 0;
    add(&scene, "www.z0.example", 1, 200); /* all are there */
    assert_true(classes <= 2 * ABI_CLASSES);
    assert_true(matches <= 2 * (NAMES_OF_ADDRESS + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_class_lasts_as_long_as_its_names),
        cmocka_unit_test(names_that_are_over_stay),
        cmocka_unit_test(the_oldest_makes_way),
        cmocka_unit_test(rules_and_names_are_not_multiplied),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
