#include "proxy/kernel/grammar.h"

#include <llhttp.h>
#include <string.h>

#include "base/cleanup.h"
#include "bpf/spell.h"
#include "proxy/kernel/grammar_own.h"

#define METHOD(number, name, string) #string,
static const char *const methods[] = {HTTP_METHOD_MAP(METHOD)};
#undef METHOD
_Static_assert(ARRAY_SIZE(methods) + SPELL_METHOD_MORE <= SPELL_METHODS, "a mask for each method");

const char *grammar_method(size_t i, unsigned *number)
{
    if (i >= ARRAY_SIZE(methods))
        return NULL;
    *number = SPELL_METHOD_MORE + (unsigned)i;
    if (strcmp(methods[i], "HEAD") == 0)
        *number = SPELL_METHOD_HEAD;
    else if (strcmp(methods[i], "CONNECT") == 0)
        *number = SPELL_METHOD_CONNECT;
    return methods[i];
}

uint16_t grammar_slot(const struct rows *grammar, enum spell_slot slot)
{
    return rows_leads(grammar, ENTRY, (uint8_t)slot);
}

/* Spells a text out, each byte leading nowhere else. */
static uint16_t spell_out(struct rows *rows, uint16_t from, const char *text)
{
    for (; *text; text++) {
        uint16_t to = add(rows, SPELL_ACT_NONE);

        rows_lead(rows, from, (uint8_t)*text, to);
        from = to;
    }
    return from;
}

/* ---- what may be HTTP ---- */

/* What begins with a word and a blank, and has a version behind another, some server may take for a
 * request (as http1_looks_like_request() has it). */
static void add_words(struct rows *rows)
{
    uint16_t other = add(rows, SPELL_ACT_OTHER), blank, end;
    uint16_t line = rows_add(rows, SPELL_ACT_NONE, 0, other);

    lead_text(rows, line, line);
    rows_lead(rows, line, 0x7f, line);
    blank = copy(rows, line, SPELL_ACT_NONE);
    lead_blanks(rows, line, blank);
    lead_blanks(rows, blank, blank);
    end = rows_word(rows, blank, "http/", true, line);
    rows_lead(rows, end, '1', add(rows, SPELL_ACT_ODD_HTTP));
    set_slot(rows, SPELL_SLOT_WORDS, line);
}

/* ---- hosts ---- */

/* RFC 3986's reg-name without the comma, which makes lists, and percent-encoding. */
bool grammar_is_name_byte(unsigned byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
           (byte >= 'A' && byte <= 'Z') ||
           (byte && byte < 0x80 && strchr("-_~!$&'()*+;=", (int)byte));
}

/* As wire/authority.h has them. */
static void add_hosts(struct rows *rows)
{
    static const char ends[] = ":\r \t/?";
    uint16_t end = add(rows, SPELL_ACT_HOST_ENDS), start, label, dot, literal, closed;

    start = add(rows, SPELL_ACT_NONE);
    label = add(rows, SPELL_ACT_NONE);
    dot = add(rows, SPELL_ACT_NONE);
    for (unsigned byte = 0; byte < 256; byte++)
        if (grammar_is_name_byte(byte)) {
            rows_lead(rows, start, (uint8_t)byte, label | SPELL_HASHED);
            rows_lead(rows, label, (uint8_t)byte, label | SPELL_HASHED);
            rows_lead(rows, dot, (uint8_t)byte, label | SPELL_HASHED | SPELL_DOT_BEFORE);
        }
    rows_lead_all(rows, label, ends, end);
    rows_lead_all(rows, dot, ends, end);
    rows_lead(rows, label, '.', dot);
    literal = add(rows, SPELL_ACT_LITERAL);
    rows_lead(rows, start, '[', literal);
    closed = add(rows, SPELL_ACT_NONE);
    rows_lead_all(rows, closed, ends, end);
    lead_hex(rows, literal, rows_copy(rows, literal, SPELL_ACT_NONE, 0));
    rows_lead_all(rows, literal, ":.", rows_leads(rows, literal, '0'));
    literal = rows_leads(rows, literal, '0');
    lead_hex(rows, literal, literal);
    rows_lead_all(rows, literal, ":.", literal);
    rows_lead(rows, literal, ']', closed);
    set_slot(rows, SPELL_SLOT_HOST, start);
    start = copy(rows, start, SPELL_ACT_NONE);
    rows_lead(rows, start, '{',
              get(rows, SPELL_SLOT_WORDS)); /* NATS' CONNECT is followed by JSON */
    set_slot(rows, SPELL_SLOT_GUEST, start);
}

static void add_port(struct rows *rows)
{
    uint16_t digit = add(rows, SPELL_ACT_PORT_DIGIT), end = add(rows, SPELL_ACT_PORT_ENDS);

    lead_digits(rows, digit, digit);
    rows_lead_all(rows, digit, "\r \t/?", end);
    set_slot(rows, SPELL_SLOT_PORT, copy(rows, digit, SPELL_ACT_NONE));
}

/* ---- request lines ---- */

static void lead_target(struct rows *rows, uint16_t from, uint16_t to)
{
    rows_lead_range(rows, from, '!', '~', to);
    rows_lead_range(rows, from, 0x80, 0xff, to);
    rows_lead(rows, from, '#', ODD);
}

static void add_version(struct rows *rows)
{
    uint16_t version = add(rows, SPELL_ACT_NONE);
    uint16_t minor = spell_out(rows, version, "HTTP/1."), new = spell_out(rows, minor, "1"), old;

    rows_lead(rows, new, '\r', get(rows, SPELL_SLOT_RETURN));
    old = copy(rows, new, SPELL_ACT_OLD);
    rows_lead(rows, minor, '0', old);
    set_slot(rows, SPELL_SLOT_VERSION, version);
}

/* "http://", "https://", in either case; the latter's port is another, so no rule fits it here. */
static void add_absolute(struct rows *rows, uint16_t target)
{
    uint16_t plain = rows_word(rows, target, "http", true, get(rows, SPELL_SLOT_WORDS));
    uint16_t tls = add(rows, SPELL_ACT_UNFIT);
    uint16_t slashes = spell_out(rows, plain, ":/");

    rows_lead(rows, plain, 's', tls);
    rows_lead(rows, plain, 'S', tls);
    rows_lead(rows, tls, ':', rows_leads(rows, plain, ':'));
    rows_lead(rows, slashes, '/', add(rows, SPELL_ACT_AUTHORITY));
}

static void add_targets(struct rows *rows)
{
    uint16_t version = get(rows, SPELL_SLOT_VERSION), words = get(rows, SPELL_SLOT_WORDS);
    uint16_t target = copy(rows, words, SPELL_ACT_NONE), star = copy(rows, words, SPELL_ACT_NONE);
    uint16_t path = add(rows, SPELL_ACT_NONE), query = add(rows, SPELL_ACT_NONE);
    uint16_t end = copy(rows, version, SPELL_ACT_FITS);

    lead_target(rows, query, query);
    rows_lead(rows, query, ' ', version);
    lead_target(rows, path, path);
    rows_lead(rows, path, '\\', ODD);
    rows_lead(rows, path, '?', copy(rows, query, SPELL_ACT_FITS));
    rows_lead(rows, path, ' ', end);
    rows_lead(rows, star, ' ', end);
    rows_lead(rows, target, '/', path);
    rows_lead(rows, target, '*', star);
    lead_blanks(rows, target, ODD);
    add_absolute(rows, target);
    set_slot(rows, SPELL_SLOT_TARGET, target);
    set_slot(rows, SPELL_SLOT_PATH, path);
    set_slot(rows, SPELL_SLOT_QUERY, query);
}

/* Blank lines before a request are its own (RFC 9112 section 2.2). */
static void add_blank_lines(struct rows *rows, uint16_t root)
{
    uint16_t back = copy(rows, rows_leads(rows, root, ' '), SPELL_ACT_NONE);

    rows_lead(rows, root, '\r', back);
    rows_lead(rows, back, '\n', root);
}

/* Where a line of words turns out to be meant as HTTP. */
static uint16_t version_of_words(const struct rows *rows)
{
    uint16_t row = rows_leads(rows, get(rows, SPELL_SLOT_WORDS), ' ');

    for (const char *at = "http/1"; *at; at++)
        row = rows_leads(rows, row, (uint8_t)*at);
    return row;
}

static void add_methods(struct rows *rows)
{
    uint16_t line = get(rows, SPELL_SLOT_WORDS), other = rows_leads(rows, line, 0), root, lead;
    uint16_t word = rows_add(rows, SPELL_ACT_NONE, 0, other);
    uint16_t masks = rows_add(rows, SPELL_ACT_MASKS, 0, UINT16_MAX);
    unsigned number;
    const char *method;

    lead_token(rows, word, word);
    lead_blanks(rows, word, rows_leads(rows, line, ' '));
    root = rows_add(rows, SPELL_ACT_NONE, 0, other);
    lead_token(rows, root, word);
    for (size_t i = 0; (method = grammar_method(i, &number)); i++) {
        uint16_t end = rows_word(rows, root, method, false, word);

        rows_lead(rows, end, ' ', rows_add(rows, SPELL_ACT_METHOD, number, ODD));
        rows_lead(rows, end, '\t', version_of_words(rows));
    }
    /* blanks before it, which a server should not skip: two words behind them are enough */
    word = copy(rows, word, SPELL_ACT_NONE);
    lead_token(rows, word, word);
    lead_blanks(rows, word, version_of_words(rows));
    lead = rows_add(rows, SPELL_ACT_NONE, 0, other);
    lead_token(rows, lead, word);
    rows_lead_all(rows, lead, " \t\r\n", lead);
    rows_lead_all(rows, root, " \t\n", lead);
    set_slot(rows, SPELL_SLOT_METHODS, masks);
    set_slot(rows, SPELL_SLOT_REQUEST, root);
}

/* ---- answers ---- */

static uint16_t add_status(struct rows *rows)
{
    uint16_t dot = add(rows, SPELL_ACT_ANSWER), new = spell_out(rows, dot, "1"), old;
    uint16_t blank = spell_out(rows, new, " "), one, two, three, reason;

    old = copy(rows, new, SPELL_ACT_OLD);
    rows_lead(rows, dot, '0', old);
    one = add(rows, SPELL_ACT_CODE);
    two = add(rows, SPELL_ACT_CODE);
    three = add(rows, SPELL_ACT_CODE);
    reason = copy(rows, get(rows, SPELL_SLOT_VALUE), SPELL_ACT_NONE);
    lead_text(rows, reason, reason);
    rows_lead_range(rows, blank, '1', '9', one); /* 0xx is no class of answer */
    lead_digits(rows, one, two);
    lead_digits(rows, two, three);
    rows_lead(rows, three, ' ', reason);
    rows_lead(rows, three, '\r', get(rows, SPELL_SLOT_RETURN));
    return dot;
}

static void add_answers(struct rows *rows)
{
    uint16_t root = add(rows, SPELL_ACT_NONE);
    uint16_t one = spell_out(rows, root, "HTTP/1");

    rows_lead(rows, one, '.', add_status(rows));
    set_slot(rows, SPELL_SLOT_ANSWER, root);
}

/* ---- how a direction begins ---- */

/* A copy of where a byte leads, to be led elsewhere than what else leads there. */
static uint16_t part(struct rows *rows, uint16_t from, uint8_t byte)
{
    uint16_t to = copy(rows, rows_leads(rows, from, byte), SPELL_ACT_NONE);

    rows_lead(rows, from, byte, to);
    return to;
}

/* HTTP/2's preface (RFC 9113 section 3.4), from behind its first two letters; until it is that, it
 * is a line that may be a request. */
static uint16_t add_preface(struct rows *rows, uint16_t from)
{
    uint16_t words = get(rows, SPELL_SLOT_WORDS);

    for (const char *at = "I * HTTP/2.0"; *at; at++) {
        uint16_t to;

        words = rows_leads(rows, words, (uint8_t)*at);
        to = copy(rows, words, SPELL_ACT_NONE);
        rows_lead(rows, from, (uint8_t)*at, to);
        from = to;
    }
    return spell_out(rows, from, "\r\n\r\nSM\r\n\r");
}

static void add_first(struct rows *rows)
{
    uint16_t root = copy(rows, get(rows, SPELL_SLOT_REQUEST), SPELL_ACT_NONE);
    uint16_t answer = get(rows, SPELL_SLOT_ANSWER), word = rows_leads(rows, root, '!');
    uint16_t preface = add_preface(rows, part(rows, part(rows, root, 'P'), 'R'));
    uint16_t record = spell_out(rows, root, "\x16");

    for (const char *at = "HTTP/"; *at; at++)
        answer = rows_leads(rows, answer, (uint8_t)*at);
    rows_lead(rows, rows_word(rows, part(rows, root, 'H'), "TTP", false, word), '/', answer);
    rows_lead(rows, preface, '\n', add(rows, SPELL_ACT_FRAMES));
    rows_lead(rows, record, 3, add(rows, SPELL_ACT_TLS));
    add_blank_lines(rows, root);
    add_blank_lines(rows, get(rows, SPELL_SLOT_REQUEST));
    set_slot(rows, SPELL_SLOT_FIRST, root);
}

static void add_last(struct rows *rows)
{
    uint16_t last = add(rows, SPELL_ACT_NONE);

    rows_lead_all(rows, last, "\r\n", last);
    set_slot(rows, SPELL_SLOT_LAST, last);
}

/* ---- chunks ---- */

/* No blanks around '=' and ';', which RFC 9112 section 7.1.1 calls bad. */
static void add_extensions(struct rows *rows, uint16_t size, uint16_t back)
{
    uint16_t extension = add(rows, SPELL_ACT_NONE), name, value, token, quoted, escaped, ends;

    ends = add(rows, SPELL_ACT_NONE);
    rows_lead(rows, ends, ';', extension);
    rows_lead(rows, ends, '\r', back);
    name = copy(rows, ends, SPELL_ACT_NONE);
    token = copy(rows, ends, SPELL_ACT_NONE);
    value = add(rows, SPELL_ACT_NONE);
    quoted = add(rows, SPELL_ACT_NONE);
    escaped = add(rows, SPELL_ACT_NONE);
    lead_token(rows, extension, name);
    lead_token(rows, name, name);
    rows_lead(rows, name, '=', value);
    lead_token(rows, value, token);
    rows_lead(rows, value, '"', quoted);
    lead_token(rows, token, token);
    lead_text(rows, quoted, quoted);
    rows_lead(rows, quoted, '"', ends);
    rows_lead(rows, quoted, '\\', escaped);
    lead_text(rows, escaped, quoted);
    rows_lead(rows, size, ';', extension);
}

static void add_chunks(struct rows *rows)
{
    uint16_t line = add(rows, SPELL_ACT_NONE), size = add(rows, SPELL_ACT_SIZE_DIGIT);
    uint16_t back = add(rows, SPELL_ACT_NONE), end = add(rows, SPELL_ACT_NONE), close;

    lead_hex(rows, line, size);
    lead_hex(rows, size, size);
    rows_lead(rows, size, '\r', back);
    rows_lead(rows, back, '\n', add(rows, SPELL_ACT_SIZE_ENDS));
    add_extensions(rows, size, back);
    close = spell_out(rows, end, "\r");
    rows_lead(rows, close, '\n', add(rows, SPELL_ACT_DATA_ENDS));
    set_slot(rows, SPELL_SLOT_CHUNK, line);
    set_slot(rows, SPELL_SLOT_CHUNK_END, end);
}

/* ---- the whole ---- */

bool grammar_make(struct rows *rows, uint64_t key)
{
    rows_add(rows, SPELL_ACT_NONE, 0, ENTRY);
    rows_add(rows, SPELL_ACT_ODD, 0, SELF);
    rows_about(rows, ENTRY)->fits = key;
    rows_about(rows, ENTRY)->made = 1;
    set_slot(rows, SPELL_SLOT_ODD, ODD);
    grammar_add_values(rows);
    add_words(rows);
    add_hosts(rows);
    add_port(rows);
    grammar_add_fields(rows);
    add_version(rows);
    add_targets(rows);
    add_methods(rows);
    add_answers(rows);
    add_first(rows);
    add_last(rows);
    add_chunks(rows);
    rows_mark(rows, rows);
    return !rows->failed;
}
