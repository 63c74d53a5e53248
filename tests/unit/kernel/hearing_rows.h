/* hearing_rows: what a stream is told, piece by piece, and what it then tells: a table's rows. */
#pragma once

#include "tests/unit/kernel/hearing.h"

struct row {
    const char *name;
    bool accepted, midway;
    const char *policy; /* a spec, NULL: none */
    struct piece pieces[PIECES_MAX];
    bool whole;      /* is not to be cut */
    uint64_t untold; /* denials, as its end says */
    enum stream_ended ended;
    const char *want;
};

static inline void row_begins(const struct row *row)
{
    char text[1024];

    snprintf(text, sizeof(text), POLICY("p", "  %s\n"), row->policy ? row->policy : "");
    policed_use(row->policy ? text : NULL);
    hearing_opens(row->accepted, row->midway);
    hearing_ended = row->ended;
}

static inline bool is_piece(const struct piece *piece)
{
    return piece->bytes.len || piece->keys || piece->denied;
}

static inline void row_ends(const struct row *row)
{
    uint64_t said[ABI_DIRECTIONS] = {0};

    hearing_untold = row->untold;
    hearing_closes();
    assert_string_equal(heard, row->want);
    for (const struct piece *piece = row->pieces; is_piece(piece); piece++)
        said[piece->direction] +=
            piece->skipped + piece->lost + (piece->flags & ABI_SAID_AGAIN ? 0 : piece->bytes.len);
    assert_int_equal(heard_tx, said[ABI_TX]);
    assert_int_equal(heard_rx, said[ABI_RX]);
}

/* In whole pieces. */
static inline void hear_rows(const struct row *rows, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        print_message("  %s\n", rows[i].name);
        row_begins(&rows[i]);
        for (const struct piece *piece = rows[i].pieces; is_piece(piece); piece++)
            hears(piece);
        row_ends(&rows[i]);
    }
}
