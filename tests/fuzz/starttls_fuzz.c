/* starttls_fuzz: a conversation, each word behind a byte that says whose it is (its lowest bit) and
 * how long. Cut into single bytes it is the same conversation, and what was said once is not
 * taken back. */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/wire/starttls.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum starttls_status say(struct starttls *starttls, bool client, struct span bytes)
{
    enum starttls_status before = starttls->said, now;

    now = client ? starttls_client(starttls, bytes) : starttls_server(starttls, bytes);
    CHECK(now == starttls->said);
    CHECK(before == STARTTLS_LOOKING || now == before);
    CHECK(now != STARTTLS_YES || before == STARTTLS_YES || client);
    return now;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct starttls whole = {0}, cut = {0};
    struct span rest = span_of(data, size), word;
    uint32_t head;

    while (span_take_uint(&rest, 1, &head) && span_take(&rest, head >> 1, &word)) {
        uint8_t *copy = malloc(word.len ? word.len : 1);

        CHECK(copy);
        if (word.len)
            memcpy(copy, word.data, word.len);
        say(&whole, head & 1, span_of(copy, word.len));
        for (size_t i = 0; i < word.len; i++)
            say(&cut, head & 1, span_of(copy + i, 1));
        CHECK(whole.said == cut.said && whole.seen == cut.seen && whole.asked == cut.asked);
        free(copy);
    }
    return 0;
}
