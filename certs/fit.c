#include "certs/fit.h"

#include <arpa/inet.h>
#include <openssl/x509v3.h>

#include "base/span.h"

/* RFC 6125 section 6.4.3 at its strictest: a wildcard is the whole leftmost label, stands for one
 * label of a name, and two more follow it. */
static bool pattern_fits(struct span pattern, const char *name, bool is_ip)
{
    struct span rest = pattern;
    const char *behind = strchr(name, '.');

    if (rest.len && rest.data[rest.len - 1] == '.')
        rest.len--;
    if (rest.len < 3 || memcmp(rest.data, "*.", 2) != 0)
        return span_equal_nocase(rest, name);
    rest = span_of(rest.data + 1, rest.len - 1);
    return !is_ip && behind && memchr(rest.data + 1, '.', rest.len - 1) &&
           span_equal_nocase(rest, behind);
}

static struct span bytes_of(const ASN1_STRING *string)
{
    return span_of(ASN1_STRING_get0_data(string), (size_t)ASN1_STRING_length(string));
}

static bool last_common_name_fits(const X509 *cert, const char *name, bool is_ip)
{
    const X509_NAME *subject = X509_get_subject_name(cert);
    unsigned char *text;
    int last = -1, len;
    bool fits;

    for (int i; (i = X509_NAME_get_index_by_NID(subject, NID_commonName, last)) >= 0;)
        last = i;
    if (last < 0)
        return false;
    len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, last)));
    if (len < 0)
        return false;
    fits = pattern_fits(span_of(text, (size_t)len), name, is_ip);
    OPENSSL_free(text);
    return fits;
}

enum fit fit_name(const X509 *cert, const char *name)
{
    uint8_t ip[16];
    size_t ip_len =
        inet_pton(AF_INET, name, ip) == 1 ? 4 : (inet_pton(AF_INET6, name, ip) == 1 ? 16 : 0);
    int found;
    GENERAL_NAMES *alts = X509_get_ext_d2i(cert, NID_subject_alt_name, &found, NULL);
    bool fits = false, named = false;

    if (!alts && found != -1)
        return FIT_NOT; /* it has some, which cannot be read, or not now: memory is short */

    for (int i = 0; i < sk_GENERAL_NAME_num(alts); i++) {
        const GENERAL_NAME *alt = sk_GENERAL_NAME_value(alts, i);

        if (alt->type == GEN_DNS)
            fits = fits || (!ip_len && pattern_fits(bytes_of(alt->d.dNSName), name, false));
        else if (alt->type == GEN_IPADD)
            fits = fits || (ip_len && span_equal(bytes_of(alt->d.iPAddress), span_of(ip, ip_len)));
        named = named || alt->type == GEN_DNS || alt->type == GEN_IPADD;
    }
    GENERAL_NAMES_free(alts);
    if (named)
        return fits ? FIT_ALT_NAME : FIT_NOT;
    return last_common_name_fits(cert, name, ip_len) ? FIT_COMMON_NAME : FIT_NOT;
}
