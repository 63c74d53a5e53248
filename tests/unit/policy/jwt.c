/* JSON Web Tokens in a text, however it is cut. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "policy/jwt.h"

#define HEAD   "eyJhbGciOiJIUzI1NiJ9" /* {"alg":"HS256"} */
#define CLAIMS "eyJzdWIiOiJqYW5lIn0"  /* {"sub":"jane"} */
#define SIGNED HEAD "." CLAIMS ".c2ln"

static const struct {
    const char *name, *text;
    unsigned want;
    uint64_t offset; /* of the last */
} cases[] = {
    {"alone", SIGNED, 1, 0},
    {"in a field", "Bearer " SIGNED, 1, 7},
    {"in JSON", "{\"token\":\"" SIGNED "\"}", 1, 10},
    {"unsigned", HEAD "." CLAIMS ".", 1, 0},
    {"two", SIGNED " " SIGNED, 2, 46},
    {"two, parted by a dot", SIGNED "." SIGNED, 2, 46},
    {"behind a word", "token_" SIGNED, 1, 6},
    {"behind another part", "v2." SIGNED, 1, 3},
    {"behind what only begins like one", "eyJ." SIGNED, 1, 4},
    {"behind empty parts", "eyJ..." SIGNED, 1, 6},
    {"two parts alone", HEAD "." CLAIMS, 0, 0},
    {"parted otherwise", HEAD ":" CLAIMS ".c2ln", 0, 0},
    {"a header that has no alg", "eyJ0eXAiOiJKV1QifQ." CLAIMS ".c2ln", 0, 0},
    {"claims that are no JSON", HEAD ".eyJzdWIi.c2ln", 0, 0},
    {"claims that are a list", HEAD ".WzFd.c2ln", 0, 0},
    {"claims of a length that none has", HEAD "." CLAIMS "aaaaaa.c2ln", 0, 0},
};

struct found {
    unsigned len;
    uint64_t offset;
    struct span whole;
};

static bool on_found(struct span text, uint64_t offset, void *arg)
{
    struct found *found = arg;

    found->len++;
    found->offset = offset;
    assert_true(offset + text.len <= found->whole.len);
    assert_memory_equal(text.data, found->whole.data + offset, text.len);
    assert_int_equal(text.data[text.len - 1], '.');
    return true;
}

/* As inspect.c does it, with memmem(3) for its engine. */
static void feed(struct jwt *jwt, struct found *found, size_t cut)
{
    struct span all = found->whole;

    for (size_t at = 0; at < all.len; at += cut) {
        size_t end = at + cut < all.len ? at + cut : all.len;

        assert_true(jwt_feed(jwt, span_of(all.data + at, end - at), on_found, found));
        for (size_t here = at + 1; here <= end; here++) {
            if (here < 3 || memcmp(all.data + here - 3, "eyJ", 3) != 0)
                continue;
            jwt_begin(jwt, here);
            if (jwt->running && jwt->done == here)
                assert_true(jwt_feed(jwt, span_of(all.data + here, end - here), on_found, found));
        }
    }
}

static void finds_them_in_any_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct found found = {.whole = span_of_text(cases[i].text)};

        print_message("  %s\n", cases[i].name);
        assert_true(jwt_scan(found.whole, on_found, &found));
        assert_int_equal(found.len, cases[i].want);
        assert_int_equal(found.offset, cases[i].offset);
        for (size_t cut = 1; cut <= found.whole.len; cut++) {
            CLEANUP(jwt_fini) struct jwt jwt = {0};

            found.len = 0;
            feed(&jwt, &found, cut);
            assert_int_equal(found.len, cases[i].want);
        }
    }
}

static void passes_over_what_is_too_long(void **state)
{
    static char text[3 * JWT_MAX];
    struct found found = {0};
    size_t len = JWT_MAX - 10;

    (void)state;
    memset(text, 'A', sizeof(text));
    memcpy(text, "eyJ", 3);
    memcpy(text + len, "." SIGNED, sizeof("." SIGNED) - 1);
    found.whole = span_of(text, len + sizeof("." SIGNED) - 1);
    assert_true(jwt_scan(found.whole, on_found, &found));
    assert_int_equal(found.len, 1);
    memset(text + len, 'A', sizeof(text) - len);
    memcpy(text + 2 * JWT_MAX, "." SIGNED, sizeof("." SIGNED) - 1);
    found.whole = span_of(text, 2 * JWT_MAX + sizeof("." SIGNED) - 1);
    assert_true(jwt_scan(found.whole, on_found, &found));
    assert_int_equal(found.len, 2);
}

static void masks_them(void **state)
{
    static const char *const texts[][2] = {
        {"/?t=" SIGNED "&x=1", "/?t=*********************************************&x=1"},
        {"eyJhbGciOi and no more", "eyJhbGciOi and no more"},
        {"", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        CLEANUP(text_free) char *text = strdup(texts[i][0]);

        jwt_mask(text);
        assert_string_equal(text, texts[i][1]);
    }
}

static bool refuse(struct span text, uint64_t offset, void *arg)
{
    (void)text, (void)offset, (void)arg;
    return false;
}

static void stops_when_told(void **state)
{
    (void)state;
    assert_false(jwt_scan(BYTES(SIGNED " " SIGNED), refuse, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_them_in_any_cut),
        cmocka_unit_test(passes_over_what_is_too_long),
        cmocka_unit_test(masks_them),
        cmocka_unit_test(stops_when_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
