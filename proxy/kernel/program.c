#include "proxy/kernel/program.h"

#include <string.h>

/* ---- whether it bypasses ---- */

unsigned program_needs(const struct program_use *use)
{
    return use->need ? use->need : 1;
}

static bool demote(struct program_use *use)
{
    unsigned need = program_needs(use);

    use->need = (uint16_t)(need < PROGRAM_NEED_MAX ? 2 * need : need);
    use->seen = use->blind = 0;
    use->bypasses = false;
    return true;
}

bool program_saw(struct program_use *use, enum program_sight sight)
{
    switch (sight) {
    case PROGRAM_HANDS_KEYS:
        if (use->bypasses || ++use->seen < use->need)
            return false;
        use->blind = 0;
        use->bypasses = true;
        return true;
    case PROGRAM_IS_BLIND:
        return use->bypasses && ++use->blind >= PROGRAM_BLIND_MAX && demote(use);
    case PROGRAM_IS_REFUSED:
        return use->bypasses && demote(use);
    }
    return false;
}

/* ---- why not ---- */

enum { TLS12 = 0x0303, TLS13 = 0x0304 };

/* What OpenSSL hands to the kernel (3.0 and later, on Linux 6.1 and later). */
static const char *why_not_this_suite(const struct program_facts *facts)
{
    const char *cipher = facts->cipher;

    if (facts->version && facts->version < TLS12)
        return "TLS is older than 1.2";
    if (cipher && strstr(cipher, "_CBC_"))
        return "the kernel has no CBC cipher suites";
    if (cipher && strstr(cipher, "_CCM") &&
        (facts->version == TLS13 || strstr(cipher, "_256_") || strstr(cipher, "_CCM_8")))
        return "the kernel, or OpenSSL, has not this CCM cipher suite";
    return NULL;
}

static const char *why_it_cannot(const struct program_facts *facts)
{
    if (!facts->host)
        return "no tls module in this kernel";
    if (facts->openssl == PROGRAM_NO)
        return "not OpenSSL as a shared library";
    if (facts->own_bio)
        return facts->own_bio;
    return why_not_this_suite(facts);
}

static const char *why_not_at_all(const struct program_facts *facts)
{
    const char *why = why_it_cannot(facts);

    if (why || facts->openssl != PROGRAM_YES)
        return why ? why : "never seen to";
    return facts->asked ? "asked for, but not done: the program has a BIO, or options, of its own, "
                          "or an OpenSSL without kTLS"
                        : "not asked for, as far as is known: Options = KTLS in openssl.cnf, or "
                          "--ktls, if the program has no BIO of its own";
}

bool program_is_capable(const struct program_facts *facts)
{
    return facts->tx || facts->rx ||
           (facts->openssl == PROGRAM_YES && !facts->asked && !why_it_cannot(facts));
}

const char *program_why_not_sent(const struct program_facts *facts)
{
    return facts->tx ? NULL : why_not_at_all(facts);
}

const char *program_why_not_received(const struct program_facts *facts)
{
    if (facts->rx)
        return NULL;
    if (facts->tx && facts->version == TLS13)
        return "TLS 1.3 is received by the kernel only with OpenSSL 3.2 or later";
    return facts->tx ? "never seen to" : why_not_at_all(facts);
}

/* ---- which route ---- */

static const char by_policies[] = "policies say so", by_setting[] = "by setting of the pod";

/* Why what it does by itself (`route: auto`) keeps it on the proxy; NULL: it does not. */
static const char *why_it_stays(const struct program_facts *facts, const struct program_use *use,
                                const struct program_way *way)
{
    if (!facts->tx)
        return "it encrypts by itself";
    if (!way->ktls)
        return "the kernel's kTLS cannot be both read and denied here";
    if (!use->bypasses)
        return "connections of it in the kernel were not read, or not decided";
    if (way->policies == POLICY_WAY_NEEDS_PROXY)
        return "the kernel encrypts for it, but policies want of it what only the proxy can keep";
    if (way->policies == POLICY_WAY_SURE && !way->sure)
        return "the kernel encrypts for it, but policies judge what it says, and a denial of kTLS "
               "can be raced in this kernel";
    if (way->policies == POLICY_WAY_SURE && way->http2)
        return "the kernel encrypts for it, but policies judge what it says, and it speaks HTTP/2";
    return NULL;
}

static bool takes_kernel_route(const struct program_facts *facts, const struct program_use *use,
                               const struct program_way *way, const char **why)
{
    *why = by_policies;
    if (way->policies == POLICY_WAY_PROXY)
        return false;
    if (way->policies != POLICY_WAY_KERNEL && way->pod != POLICY_ROUTE_AUTO)
        *why = by_setting;
    if (way->policies == POLICY_WAY_KERNEL || way->pod == POLICY_ROUTE_KERNEL) {
        if (!way->plain)
            *why = "nothing can be read in this kernel";
        return way->plain;
    }
    if (way->pod != POLICY_ROUTE_AUTO)
        return false;
    *why = why_it_stays(facts, use, way);
    if (*why)
        return false;
    *why = "the kernel encrypts for it";
    return true;
}

enum policy_route program_route(const struct program_facts *facts, const struct program_use *use,
                                const struct program_way *way, const char **why)
{
    if (takes_kernel_route(facts, use, way, why))
        return POLICY_ROUTE_KERNEL;
    if (way->pod == POLICY_ROUTE_PASSTHROUGH && *why == by_setting && !way->passes)
        *why = "policies want to see what it says";
    return way->passes ? POLICY_ROUTE_PASSTHROUGH : POLICY_ROUTE_PROXY;
}
