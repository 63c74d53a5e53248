/* regex_class: sets of bytes as expressions write them: [a-z_], [[:alpha:]], \d, \x20. */
#include "policy/regex_tree.h"

#include <string.h>

#include "base/cleanup.h"

static bool wrong(struct regex_fault *fault, size_t at, const char *text)
{
    *fault = (struct regex_fault){at, text};
    return false;
}

static void invert(struct byte_set *set)
{
    for (size_t i = 0; i < ARRAY_SIZE(set->bits); i++)
        set->bits[i] = ~set->bits[i];
}

static void join(struct byte_set *set, const struct byte_set *with)
{
    for (size_t i = 0; i < ARRAY_SIZE(set->bits); i++)
        set->bits[i] |= with->bits[i];
}

/* As in the C locale, whatever ours is. Each is pairs of first and last. */
static const struct {
    const char *name;
    const char *ranges;
} classes[] = {
    {"alnum", "09AZaz"},   {"alpha", "AZaz"},
    {"blank", "\t\t  "},   {"cntrl", "\1\37\177\177"}, /* and NUL, which a text cannot say */
    {"digit", "09"},       {"graph", "!~"},
    {"lower", "az"},       {"print", " ~"},
    {"punct", "!/:@[`{~"}, {"space", "\t\r  "},
    {"upper", "AZ"},       {"word", "09AZaz__"},
    {"xdigit", "09AFaf"},
};

static void add_ranges(struct byte_set *set, const char *ranges)
{
    for (; *ranges; ranges += 2)
        byte_set_add(set, (uint8_t)ranges[0], (uint8_t)ranges[1]);
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex_parse(struct span text, size_t *at, int *byte, struct regex_fault *fault)
{
    int high = *at < text.len ? hex_digit(text.data[*at]) : -1;
    int low = *at + 1 < text.len ? hex_digit(text.data[*at + 1]) : -1;

    if (high < 0 || low < 0)
        return wrong(fault, *at - 2, "'\\x' wants two hexadecimal digits");
    *byte = high * 16 + low;
    *at += 2;
    return true;
}

static const struct {
    const char *letters;
    const char *text;
} unknown[] = {
    {"123456789", "back-references are not known: matching could take forever"},
    {"bB", "'\\b' and '\\B' (word boundaries) are not known"},
    {"AzZ", "'\\A' and '\\z' are not known: say ^ and $"},
    {"pPX", "classes of Unicode are not known: bytes are matched"},
    {"QE", "'\\Q' is not known: escape each character"},
    {"0", "'\\0' is not known: say \\x and two digits"},
};

bool escape_parse(struct span text, size_t *at, struct byte_set *set, int *byte,
                  struct regex_fault *fault)
{
    static const char control[] = "a\af\fn\nr\rt\tv\v";
    size_t from = *at - 1;
    uint8_t c;

    *byte = -1;
    if (*at == text.len)
        return wrong(fault, from, "a '\\' at the end escapes nothing");
    c = text.data[(*at)++];
    switch (c) {
    case 'd':
    case 'D':
        add_ranges(set, "09");
        break;
    case 'w':
    case 'W':
        add_ranges(set, "09AZaz__");
        break;
    case 's':
    case 'S': /* without \v, as RE2's */
        add_ranges(set, "\t\n\f\r  ");
        break;
    case 'x':
        return hex_parse(text, at, byte, fault);
    default:
        for (size_t i = 0; i < sizeof(control) - 1; i += 2)
            if (c == (uint8_t)control[i])
                *byte = (uint8_t)control[i + 1];
        if (*byte >= 0)
            return true;
        for (size_t i = 0; i < ARRAY_SIZE(unknown); i++)
            if (strchr(unknown[i].letters, c))
                return wrong(fault, from, unknown[i].text);
        if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
            return wrong(fault, from, "no such escape");
        if (c >= 0x80)
            return wrong(fault, from, "no escape is needed here");
        *byte = c;
        return true;
    }
    if (c < 'a')
        invert(set);
    return true;
}

/* [:name:], *at behind "[:". */
static bool named_parse(struct span text, size_t *at, struct byte_set *set,
                        struct regex_fault *fault)
{
    const uint8_t *name = text.data + *at;
    const uint8_t *end = memmem(name, text.len - *at, ":]", 2);
    size_t len = end ? (size_t)(end - name) : 0;

    for (size_t i = 0; end && i < ARRAY_SIZE(classes); i++) {
        if (strlen(classes[i].name) != len || memcmp(classes[i].name, name, len) != 0)
            continue;
        add_ranges(set, classes[i].ranges);
        if (classes[i].name[0] == 'c')
            byte_set_add(set, 0, 0);
        *at += len + 2;
        return true;
    }
    return wrong(fault, *at - 2, "no such class; there are [:alpha:], [:digit:], [:space:], ...");
}

/* One thing of a class: *byte, or -1 when it was a set of its own, which is in set now. */
static bool item_parse(struct span text, size_t *at, struct byte_set *set, int *byte,
                       struct regex_fault *fault)
{
    size_t from = *at;
    uint8_t c = text.data[(*at)++];
    uint8_t next = *at < text.len ? text.data[*at] : 0;
    struct byte_set own = {0};

    *byte = -1;
    if (c == '\\') {
        if (!escape_parse(text, at, &own, byte, fault))
            return false;
        join(set, &own);
        return true;
    }
    if (c == '[' && next == ':') {
        ++*at;
        return named_parse(text, at, set, fault);
    }
    if (c == '[' && (next == '.' || next == '='))
        return wrong(fault, from, "collating elements are not known");
    if (c >= 0x80)
        return wrong(
            fault, from,
            "a class has single bytes: write characters beyond ASCII as (\xc3\xa4|\xc3\xb6)");
    *byte = c;
    return true;
}

void byte_set_fold(struct byte_set *set)
{
    for (unsigned upper = 'A'; upper <= 'Z'; upper++) {
        unsigned lower = upper + 'a' - 'A';

        if (byte_set_has(set, (uint8_t)upper))
            byte_set_add(set, lower, lower);
        else if (byte_set_has(set, (uint8_t)lower))
            byte_set_add(set, upper, upper);
    }
}

bool class_parse(struct span text, size_t *at, bool nocase, struct byte_set *set,
                 struct regex_fault *fault)
{
    size_t open = *at - 1, first;
    bool inverted = *at < text.len && text.data[*at] == '^';

    *at += inverted;
    for (first = *at; *at < text.len && (text.data[*at] != ']' || *at == first);) {
        size_t from = *at;
        int low, high;

        if (!item_parse(text, at, set, &low, fault))
            return false;
        /* "-" is itself first and last; elsewhere it makes a range */
        if (low == '-' && text.data[from] == '-' && from != first && *at < text.len &&
            text.data[*at] != ']')
            return wrong(fault, from, "'-' in the middle: put it first or last, or escape it");
        if (*at + 1 < text.len && text.data[*at] == '-' && text.data[*at + 1] != ']') {
            ++*at;
            if (!item_parse(text, at, set, &high, fault))
                return false;
            if (low < 0 || high < 0)
                return wrong(fault, from, "a range goes from one byte to another");
            if (low > high)
                return wrong(fault, from, "the range ends before it begins");
            byte_set_add(set, (unsigned)low, (unsigned)high);
        } else if (low >= 0) {
            byte_set_add(set, (unsigned)low, (unsigned)low);
        }
    }
    if (*at >= text.len)
        return wrong(fault, open, "'[' is never closed");
    if (*at - first > 2 && text.data[first] == ':' && text.data[*at - 1] == ':')
        return wrong(fault, open, "a named class stands in two brackets: [[:alpha:]]");
    ++*at;
    if (nocase)
        byte_set_fold(set);
    if (inverted)
        invert(set);
    return true;
}
