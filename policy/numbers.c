#include "policy/numbers.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/letters.h"

enum answer { NONE, FOUND, UNKNOWN }; /* the last: it depends on what follows */

/* A separator of a number's groups: a blank, as a form spells it, too, or a hyphen. Its length; 0:
 * there is none; SIZE_MAX: it is not known yet. */
static size_t separator(struct span bytes, size_t at, bool ended, char *which)
{
    static const char form[] = "%20";
    size_t len = bytes.len - at;
    int c = len ? bytes.data[at] : -1;

    *which = c == '-' ? '-' : ' ';
    if (c == ' ' || c == '+' || c == '-')
        return 1;
    if (c != '%')
        return 0;
    if (len >= 3)
        return memcmp(bytes.data + at, form, 3) == 0 ? 3 : 0;
    return !ended && memcmp(bytes.data + at, form, len) == 0 ? SIZE_MAX : 0;
}

/* Not in a longer number, nor behind its decimal point. */
static bool number_begins(struct span bytes, size_t at)
{
    int c = letter_before(bytes, at, 1);

    if (c == '.' && is_digit(letter_before(bytes, at, 2)))
        return false;
    return !is_digit(c) || is_escaped(bytes, at);
}

/* ---- payment-card ---- */

enum { CARD_MIN = 12, CARD_MAX = 19 };

#define LEN(n)       (1u << (n))
#define LEN_16_TO_19 (LEN(16) | LEN(17) | LEN(18) | LEN(19))
#define LEN_12_TO_19 (LEN(12) | LEN(13) | LEN(14) | LEN(15) | LEN_16_TO_19)

static const struct {
    unsigned first, last; /* the number's beginning, */
    unsigned digits;      /* of so many digits */
    unsigned lens;
} issuers[] = {
    {4, 4, 1, LEN(13) | LEN(16) | LEN(19)}, /* Visa */
    {51, 55, 2, LEN(16)},                   /* Mastercard */
    {2221, 2720, 4, LEN(16)},
    {34, 34, 2, LEN(15)}, /* American Express */
    {37, 37, 2, LEN(15)},
    {6011, 6011, 4, LEN_16_TO_19}, /* Discover */
    {644, 659, 3, LEN_16_TO_19},
    {3528, 3589, 4, LEN_16_TO_19},         /* JCB */
    {300, 305, 3, LEN(14) | LEN_16_TO_19}, /* Diners Club */
    {3095, 3095, 4, LEN(14) | LEN_16_TO_19},
    {36, 36, 2, LEN(14) | LEN_16_TO_19},
    {38, 39, 2, LEN(14) | LEN_16_TO_19},
    {62, 62, 2, LEN_16_TO_19}, /* UnionPay */
    {81, 81, 2, LEN_16_TO_19},
    {2200, 2204, 4, LEN_16_TO_19}, /* Mir */
    {5018, 5018, 4, LEN_12_TO_19}, /* Maestro */
    {5020, 5020, 4, LEN_12_TO_19},
    {5038, 5038, 4, LEN_12_TO_19},
    {5893, 5893, 4, LEN_12_TO_19},
    {6304, 6304, 4, LEN_12_TO_19},
    {6759, 6763, 4, LEN_12_TO_19},
};

static bool issued(const uint8_t *digits, size_t len)
{
    unsigned beginning[5] = {0};

    for (size_t i = 1; i < ARRAY_SIZE(beginning); i++)
        beginning[i] = beginning[i - 1] * 10 + digits[i - 1];
    for (size_t i = 0; i < ARRAY_SIZE(issuers); i++) {
        unsigned begins_with = beginning[issuers[i].digits];

        if (begins_with >= issuers[i].first && begins_with <= issuers[i].last &&
            issuers[i].lens & LEN(len))
            return true;
    }
    return false;
}

static bool luhn(const uint8_t *digits, size_t len)
{
    unsigned sum = 0;

    for (size_t i = 0; i < len; i++) {
        unsigned digit = digits[len - 1 - i];

        digit <<= i & 1;
        sum += digit > 9 ? digit - 9 : digit;
    }
    return sum % 10 == 0;
}

/* In groups as they are printed: 4-4-4-4, 4-6-5, 4-4-4-4-3, all parted by the same. */
static enum answer card(struct span bytes, size_t at, bool ended, size_t *len)
{
    uint8_t digits[CARD_MAX];
    size_t here = at, have = 0, group = 0, groups = 0, part;
    char used = 0, which;

    if (!number_begins(bytes, at))
        return NONE;
    for (;;) {
        for (; here < bytes.len && is_digit(bytes.data[here]); here++, group++) {
            if (have == CARD_MAX)
                return NONE;
            digits[have++] = (uint8_t)(bytes.data[here] - '0');
        }
        if (here == bytes.len && !ended)
            return UNKNOWN;
        *len = here - at;
        if (have >= CARD_MIN && (!groups || (group && group <= 7)) && issued(digits, have) &&
            luhn(digits, have))
            return FOUND;
        part = group == 4 || group == 6 ? separator(bytes, here, ended, &which) : 0;
        if (part == SIZE_MAX)
            return UNKNOWN;
        if (!part || (used && used != which))
            return NONE;
        used = which;
        here += part;
        groups++;
        group = 0;
    }
}

/* ---- iban ---- */

enum { IBAN_MIN = 15, IBAN_MAX = 34 };

/* ISO 13616, as SWIFT registers them. */
static const char countries[][5] = {
    "AD24", "AE23", "AL28", "AT20", "AZ28", "BA20", "BE16", "BG22", "BH22", "BI27", "BR29", "BY28",
    "CH21", "CR22", "CY28", "CZ24", "DE22", "DJ27", "DK18", "DO28", "EE20", "EG29", "ES24", "FI18",
    "FK18", "FO18", "FR27", "GB22", "GE22", "GI23", "GL18", "GR27", "GT28", "HN28", "HR21", "HU28",
    "IE22", "IL23", "IQ23", "IS26", "IT27", "JO30", "KW30", "KZ20", "LB28", "LC32", "LI21", "LT20",
    "LU20", "LV21", "LY25", "MC27", "MD24", "ME22", "MK19", "MN20", "MR27", "MT31", "MU30", "NI28",
    "NL18", "NO15", "OM23", "PK24", "PL28", "PS29", "PT25", "QA29", "RO24", "RS22", "RU33", "SA24",
    "SC31", "SD18", "SE24", "SI19", "SK24", "SM27", "SO23", "ST25", "SV28", "TL23", "TN24", "TR26",
    "UA29", "VA22", "VG24", "XK20", "YE30",
};

/* 0: no country that has any. */
static size_t length_of_country(const uint8_t *code)
{
    for (size_t i = 0; i < ARRAY_SIZE(countries); i++) {
        const char *known = countries[i];

        if (code[0] == known[0] && code[1] == known[1])
            return (size_t)((known[2] - '0') * 10 + known[3] - '0');
    }
    return 0;
}

static bool mod_97(const uint8_t *text, size_t len)
{
    unsigned rest = 0;

    for (size_t i = 0; i < len; i++) {
        uint8_t c = text[(i + 4) % len];

        rest = is_digit(c) ? rest * 10 + (c - '0') : rest * 100 + (c - 'A' + 10u);
        rest %= 97;
    }
    return rest == 1;
}

/* at: of its check digits. */
static enum answer iban(struct span bytes, size_t at, bool ended, size_t *len)
{
    size_t begin = at - 2, here = begin, have = 0, wanted, part;
    uint8_t text[IBAN_MAX];
    char which;

    if (at < 2 || !is_upper(bytes.data[begin]) || !is_upper(bytes.data[begin + 1]) ||
        (is_alnum(letter_before(bytes, begin, 1)) && !is_escaped(bytes, begin)))
        return NONE;
    wanted = length_of_country(bytes.data + begin);
    if (!wanted)
        return NONE;
    while (have < wanted) {
        part = have > 3 ? separator(bytes, here, ended, &which) : 0;
        if (part == SIZE_MAX)
            return UNKNOWN;
        here += part;
        if (here >= bytes.len)
            return ended ? NONE : UNKNOWN;
        if (here - begin > NUMBERS_LONGEST - 4 ||
            !(is_digit(bytes.data[here]) || (have != 3 && is_upper(bytes.data[here]))))
            return NONE;
        text[have++] = bytes.data[here++];
    }
    if (!mod_97(text, have))
        return NONE;
    *len = here - begin;
    if (here == bytes.len)
        return ended ? FOUND : UNKNOWN;
    return is_alnum(bytes.data[here]) ? NONE : FOUND;
}

/* ---- us-ssn ---- */

static unsigned number(const uint8_t *text, size_t len)
{
    unsigned n = 0;

    for (size_t i = 0; i < len; i++)
        n = n * 10 + (text[i] - '0');
    return n;
}

static bool is_issued(const uint8_t *text)
{
    unsigned area = number(text, 3), group = number(text + 4, 2), serial = number(text + 7, 4);

    if (area == 78 && group == 5 && serial == 1120) /* of a wallet's advertisement */
        return false;
    return area && area != 666 && area < 900 && group && serial;
}

static enum answer ssn(struct span bytes, size_t at, bool ended, size_t *len)
{
    static const char shape[] = "ddd-dd-dddd";
    size_t whole = sizeof(shape) - 1;

    if (!number_begins(bytes, at))
        return NONE;
    for (size_t i = 0; i < whole; i++) {
        int c = at + i < bytes.len ? bytes.data[at + i] : -1;

        if (c < 0)
            return ended ? NONE : UNKNOWN;
        if (shape[i] == 'd' ? !is_digit(c) : c != ' ' && c != '+' && c != '-')
            return NONE;
    }
    if (bytes.data[at + 3] != bytes.data[at + 6] || !is_issued(bytes.data + at))
        return NONE;
    if (letter_before(bytes, at, 1) == bytes.data[at + 3] && is_digit(letter_before(bytes, at, 2)))
        return NONE; /* a longer number's end */
    *len = whole;
    if (at + whole == bytes.len)
        return ended ? FOUND : UNKNOWN;
    return is_digit(bytes.data[at + whole]) ? NONE : FOUND;
}

/* ---- where they begin ---- */

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Eight bytes, the first in the lowest; behind the end zeros. */
static uint64_t eight(struct span bytes, size_t at)
{
    size_t len = bytes.len - at < 8 ? bytes.len - at : 8;
    uint64_t word = 0;

    memcpy(&word, bytes.data + at, len);
    return le64toh(word);
}

/* The highest bit of each byte that is a digit. */
static uint64_t digits_of(uint64_t word)
{
    uint64_t value = word ^ EACH('0');

    return ~(((value & EACH(0x7f)) + EACH(0x80 - 10)) | value) & EACH(0x80);
}

/* ... an upper-case letter. */
static uint64_t uppers_of(uint64_t word)
{
    uint64_t low = word & EACH(0x7f);

    return (low + EACH(0x80 - 'A')) & ~(low + EACH(0x7f - 'Z')) & ~word & EACH(0x80);
}

typedef uint8_t sixteen __attribute__((vector_size(16)));

/* Most texts have none for long. */
static bool sixteen_without(struct span bytes, size_t at)
{
    sixteen text;
    uint64_t halves[2];

    if (bytes.len - at < sizeof(text))
        return false;
    memcpy(&text, bytes.data + at, sizeof(text));
    text = (sixteen)((text - '0') < 10);
    memcpy(halves, &text, sizeof(halves));
    return !(halves[0] | halves[1]);
}

/* The place in [from, to) where the next digits begin that are worth a look: three of them, or two
 * behind two letters; else to. */
static size_t next_run(struct span bytes, size_t from, size_t to)
{
    /* four bytes in a row are in one of the eight; without digits only letters before some may be
     */
    enum { STEP = 5, FAR = 6, FARTHER = 14 };
    size_t step;

    if (from && is_digit(bytes.data[from - 1])) /* their beginning was looked at */
        while (from < to && is_digit(bytes.data[from]))
            from++;
    for (size_t at = from < 2 ? 0 : from - 2; at < to; at += step) {
        uint64_t word, digits, three, checked, uppers;
        size_t found = to;

        step = FARTHER;
        if (sixteen_without(bytes, at))
            continue;
        word = eight(bytes, at);
        digits = digits_of(word);
        step = digits ? STEP : FAR;
        if (!digits)
            continue;
        uppers = uppers_of(word);
        three = digits & digits >> 8 & digits >> 16;
        checked = uppers & uppers >> 8 & digits >> 16 & digits >> 24;
        if (three)
            found = at + (size_t)__builtin_ctzll(three) / 8;
        if (checked && at + (size_t)__builtin_ctzll(checked) / 8 + 2 < found)
            found = at + (size_t)__builtin_ctzll(checked) / 8 + 2;
        if ((three | checked) && found >= from)
            return found < to ? found : to;
    }
    return to;
}

/* Where one or two digits end bytes that may be the beginning of more; else its length. */
static size_t last_run(struct span bytes)
{
    size_t at = bytes.len;

    while (at && bytes.len - at < 3 && is_digit(bytes.data[at - 1]))
        at--;
    return bytes.len - at < 3 ? at : bytes.len;
}

/* Of "%204111" the number begins behind the escape. */
static size_t behind_escape(struct span bytes, size_t at)
{
    if (letter_before(bytes, at, 1) == '%')
        return at + 2;
    return letter_before(bytes, at, 2) == '%' && is_hex(letter_before(bytes, at, 1)) ? at + 1 : at;
}

/* How many digits there are, as far as that matters. */
static size_t run_length(struct span bytes, size_t at)
{
    size_t len = 0;

    while (len <= CARD_MAX && at + len < bytes.len && is_digit(bytes.data[at + len]))
        len++;
    return len;
}

/* Whether a number of that kind may begin with so many digits. open: there may be more of them. */
static bool may_begin(enum number_kind kind, size_t len, bool open)
{
    switch (kind) {
    case NUMBER_CARD:
        return len == 4 || len == 6 || len >= CARD_MIN || open;
    case NUMBER_SSN:
        return len == 3 || (open && len < 3);
    default:
        return true;
    }
}

typedef enum answer look(struct span bytes, size_t at, bool ended, size_t *len);

size_t numbers_scan(struct span bytes, size_t from, size_t to, bool ended, unsigned kinds,
                    numbers_on_found *on_found, void *arg)
{
    static look *const looks[] = {[NUMBER_CARD] = card, [NUMBER_IBAN] = iban, [NUMBER_SSN] = ssn};
    size_t unknown = ended ? to : last_run(bytes);

    _Static_assert(ARRAY_SIZE(looks) == NUMBER_MAX, "look for every kind");
    unknown = unknown >= from && unknown < to ? unknown : to;
    for (size_t run = next_run(bytes, from, to); run < to; run = next_run(bytes, run + 1, to)) {
        size_t at = behind_escape(bytes, run), digits = run_length(bytes, at);
        bool open = !ended && at + digits >= bytes.len;

        for (enum number_kind kind = 0; at < bytes.len && kind < NUMBER_MAX; kind++) {
            size_t len = 0, begin = kind == NUMBER_IBAN ? at - 2 : at;
            enum answer answer = kinds & 1u << kind && may_begin(kind, digits, open)
                                     ? looks[kind](bytes, at, ended, &len)
                                     : NONE;

            if (answer == UNKNOWN && run < unknown)
                unknown = run;
            if (answer == FOUND && !on_found(kind, span_of(bytes.data + begin, len), begin, arg))
                return SIZE_MAX;
        }
    }
    return unknown;
}
