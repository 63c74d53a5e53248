/* path_fuzz: whatever a path is, what is normal of it is no longer, has nothing that could lead up,
 * and is normal; what is odd is seen in both. */
#include "policy/path.h"
#include "tests/fuzz/check.h"

#include "base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool has(struct span where, struct span what)
{
    return memmem(where.data, where.len, what.data, what.len) != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t once[1024], twice[1024];
    struct path_normal first, second;
    bool fits = path_normalize(span_of(data, size), once, sizeof(once), &first);

    CHECK(fits == (size <= sizeof(once)));
    if (!fits || !size)
        return 0;
    CHECK(first.path.len <= size);
    CHECK((first.path.len == 0) == (size == 0));
    if (data[0] == '/') {
        CHECK(first.path.data[0] == '/');
        CHECK(!has(first.path, BYTES("//")));
        CHECK(!has(first.path, BYTES("/../")) && !has(first.path, BYTES("/./")));
        CHECK(first.path.len < 3 || memcmp(first.path.data + first.path.len - 3, "/..", 3) != 0);
        CHECK(first.path.len < 2 || memcmp(first.path.data + first.path.len - 2, "/.", 2) != 0);
    }
    CHECK(!has(first.path, BYTES("\\")) || first.oddities & PATH_BACKSLASH);
    CHECK(!has(first.path, BYTES("%2F")) ||
          first.oddities & (PATH_ENCODED_SLASH | PATH_MALFORMED)); /* "%2%46" */
    CHECK(!first.oddities == !path_oddity_name(first.oddities));
    if (first.oddities & PATH_MALFORMED) /* "%%34%31" is "%41", which is no more decoded */
        return 0;
    CHECK(path_normalize(first.path, twice, sizeof(twice), &second));
    CHECK(span_equal(first.path, second.path));
    CHECK((second.oddities & ~first.oddities) == 0);
    return 0;
}
