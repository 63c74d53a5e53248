#include "policy/suggest.h"

#include <string.h>
#include <strings.h>

enum { WORD_MAX = 63 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edits (Damerau's four, adjacent letters swapped among them) from a to b, both short. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t rows[3][WORD_MAX + 1]; /* of the matrix: the one before the last, the last, this one */

    for (size_t j = 0; j <= b_len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];

        now[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            now[j] = least(last[j - 1] + (a[i - 1] != b[j - 1]), least(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], before[j - 2] + 1);
        }
    }
    return rows[a_len % 3][b_len];
}

const char *suggest(const char *word, const char *const *names, size_t len)
{
    size_t word_len = strlen(word), best = least(word_len / 3, 3) + 1;
    const char *found = NULL;

    if (word_len > WORD_MAX)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        size_t name_len = strlen(names[i]), edits;

        if (strcasecmp(word, names[i]) == 0)
            return names[i];
        edits = name_len > WORD_MAX ? best : distance(word, word_len, names[i], name_len);
        if (edits < best) {
            best = edits;
            found = names[i];
        }
    }
    return found;
}
