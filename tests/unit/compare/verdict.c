/* verdict: what a comparison comes to, in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "proxy/compare/rows.h"

/* A route's rounds: CPU and time of each are these plus 0, 1, 2, ...; so rows that are five apart
 * do not overlap, and rows that are one apart do. */
struct ran {
    double cpu, wall;
    uint64_t requests;
    const char *why;
    bool failed;
};

#define RAN(cpu_us, wall_us, seen)                                                                 \
    {                                                                                              \
        .cpu = cpu_us, .wall = wall_us, .requests = seen                                           \
    }

static const struct {
    const char *name;
    size_t rounds;
    struct ran ran[_COMPARE_ROUTES]; /* direct, passthrough, proxy, kernel */
    const char *words;
} cases[] = {
    {"as it is meant",
     5,
     {RAN(998, 4998, 0), RAN(999, 4999, 0), RAN(3098, 6098, 50), RAN(1038, 5000, 50)},
     "Passthrough saw no request; compared with direct: no difference in CPU or time that these 5 "
     "rounds show.\n"
     "The proxy saw all 50 requests; compared with direct: 3.1 times the CPU and 22 % more time.\n"
     "The kernel route saw all 50 requests; compared with direct: 4.0 % more CPU, no difference in "
     "time that these 5 rounds show.\n"
     "The kernel route compared with the proxy: 66 % less CPU and 18 % less time.\n"},
    {"the kernel cannot",
     5,
     {RAN(998, 4998, 0), RAN(998, 4998, 0), RAN(1998, 4998, 1), {.why = "there is no BPF"}},
     "Passthrough saw no request; compared with direct: no difference in CPU or time that these 5 "
     "rounds show.\n"
     "The proxy saw the one request; compared with direct: 2.0 times the CPU, no difference in "
     "time that these 5 rounds show.\n"
     "The kernel route cannot be taken here: there is no BPF.\n"},
    {"the kernel missed some, and time alone differs",
     5,
     {RAN(998, 4998, 0), RAN(998, 4998, 0), RAN(998, 5998, 10), RAN(998, 3998, 9)},
     "Passthrough saw no request; compared with direct: no difference in CPU or time that these 5 "
     "rounds show.\n"
     "The proxy saw all 10 requests; compared with direct: 20 % more time, no difference in CPU "
     "that these 5 rounds show.\n"
     "The kernel route saw 9 of 10 requests; compared with direct: 20 % less time, no difference "
     "in CPU that these 5 rounds show.\n"
     "The kernel route compared with the proxy: 33 % less time, no difference in CPU that these 5 "
     "rounds show.\n"},
    {"one round shows nothing, however far apart",
     1,
     {RAN(10, 10, 0), RAN(1000, 1000, 0), RAN(10, 10, 2), RAN(10, 10, 2)},
     "Passthrough saw no request; compared with direct: no difference in CPU or time that one "
     "round can show.\n"
     "The proxy saw all 2 requests; compared with direct: no difference in CPU or time that one "
     "round can show.\n"
     "The kernel route saw all 2 requests; compared with direct: no difference in CPU or time that "
     "one round can show.\n"
     "The kernel route compared with the proxy: no difference in CPU or time that one round can "
     "show.\n"},
    {"the command made no request",
     4,
     {RAN(998, 998, 0), RAN(998, 998, 0), RAN(998, 998, 0), RAN(998, 998, 0)},
     "No route saw a request: the command made none, or in a way that none can read.\n"
     "Passthrough compared with direct: no difference in CPU or time that these 4 rounds show.\n"
     "The proxy compared with direct: no difference in CPU or time that these 4 rounds show.\n"
     "The kernel route compared with direct: no difference in CPU or time that these 4 rounds "
     "show.\n"
     "The kernel route compared with the proxy: no difference in CPU or time that these 4 rounds "
     "show.\n"},
    {"direct failed: there is nothing to compare with",
     5,
     {{.why = "exit status 60", .failed = true},
      RAN(998, 998, 0),
      RAN(998, 998, 5),
      RAN(1998, 998, 5)},
     "Direct failed: exit status 60.\n"
     "Passthrough saw no request.\n"
     "The proxy saw all 5 requests.\n"
     "The kernel route saw all 5 requests.\n"
     "The kernel route compared with the proxy: 2.0 times the CPU, no difference in time that "
     "these 5 rounds show.\n"},
    {"all failed",
     5,
     {{.why = "a", .failed = true},
      {.why = "b", .failed = true},
      {.why = "c", .failed = true},
      {.why = "d", .failed = true}},
     "Direct failed: a.\nPassthrough failed: b.\nThe proxy failed: c.\nThe kernel route failed: "
     "d.\n"},
};

static void says_what_it_comes_to(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(buffer_fini) struct buffer out = {0};
        static struct compare compare;

        print_message("  %s\n", cases[i].name);
        memset(&compare, 0, sizeof(compare));
        for (size_t route = 0; route < _COMPARE_ROUTES; route++) {
            const struct ran *ran = &cases[i].ran[route];
            struct compare_row *row = &compare.rows[route];

            row->failed = ran->failed;
            row->seen.requests = ran->requests;
            if (ran->why) {
                strcpy(row->why, ran->why);
                continue;
            }
            row->rounds = cases[i].rounds;
            for (size_t round = 0; round < row->rounds; round++) {
                row->round[COMPARE_CPU][round] = ran->cpu + (double)round;
                row->round[COMPARE_WALL][round] = ran->wall + (double)round;
            }
        }
        compare_verdict(&out, &compare);
        buffer_append(&out, "", 1);
        assert_false(out.failed);
        assert_string_equal(out.data, cases[i].words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_it_comes_to),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
