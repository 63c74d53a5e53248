/* policy_fuzz: whatever bytes are called policies, they are some, or there are faults, each of
 * which stands in the file; and no two of one name come out of it, nor out of reading it twice. */
#include "policy/compile.h"
#include "tests/fuzz/check.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Lines are counted as YAML counts them; one behind the last is where a file ends. */
static void check_mark(struct span bytes, struct mark mark)
{
    struct span line = fault_line(bytes, mark.line);
    size_t characters = 0;

    CHECK(mark.line && mark.column);
    for (size_t i = 0; i < line.len; i++)
        characters += (line.data[i] & 0xc0) != 0x80;
    CHECK(mark.column <= characters + 1);
}

static void check_place(struct span bytes, const struct policy_place *place)
{
    CHECK(place->rule && *place->rule);
    check_mark(bytes, place->mark);
}

static void check_egress(struct span bytes, const struct policy_egress *list, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        check_place(bytes, &list[i].place);
        for (size_t j = 0; j < list[i].to_ports_len; j++) {
            const struct policy_to_ports *to = &list[i].to_ports[j];

            check_place(bytes, &to->place);
            for (size_t k = 0; k < to->ports_len; k++)
                CHECK(to->ports[k].first <= to->ports[k].last && to->ports[k].protocols);
            for (size_t k = 0; k < to->http_len; k++) {
                const struct policy_http *http = &to->http[k];

                check_place(bytes, &http->place);
                CHECK(!http->path == !(http->path_is || http->path_text));
                CHECK(!http->path_is || !http->path_text);
            }
            for (size_t k = 0; k < to->dns_len; k++)
                check_place(bytes, &to->dns[k].place);
        }
    }
}

static void check_policy(struct span bytes, const struct policy *policy)
{
    CHECK(*policy->name && strstr(policy->id, policy->name));
    check_mark(bytes, policy->mark);
    check_place(bytes, &policy->place);
    check_egress(bytes, policy->egress, policy->egress_len);
    check_egress(bytes, policy->egress_deny, policy->egress_deny_len);
    for (size_t i = 0; i < policy->bodies_len; i++) {
        check_place(bytes, &policy->bodies[i].place);
        CHECK(policy->bodies[i].patterns_len && policy->bodies[i].max_bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(policy_list_fini) struct policy_list list = {0};
    CLEANUP(faults_fini) struct faults faults = {0}, again = {0};
    CLEANUP(text_free) char *told = NULL;
    struct span bytes = span_of(data, size);
    int result = policy_compile(&list, bytes, "f", &faults);
    size_t len = list.len;

    CHECK(result == 0 || result == -EINVAL);
    CHECK((result == 0) == (faults_count(&faults) == 0));
    CHECK(result == 0 || len == 0);
    for (size_t i = 0; i < len; i++)
        check_policy(bytes, list.list[i]);
    for (size_t i = 0; i < faults.len; i++)
        if (faults.list[i].mark.line)
            check_mark(bytes, faults.list[i].mark);
    told = faults_tell(&faults, "f", bytes);
    CHECK(told && (faults_count(&faults) == 0) == (*told == 0));
    for (const char *at = told; *at; at++)
        CHECK((unsigned char)*at >= 0x20 || *at == '\n' || *at == '\t');
    CHECK(policy_compile(&list, bytes, "g", &again) == (result == 0 && len == 0 ? 0 : -EINVAL));
    CHECK(list.len == len);
    return 0;
}
