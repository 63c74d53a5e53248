#include "proxy/flow/refusal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proxy/flow/steps.h"

/* It must read and judge a certificate; who takes longer had other reasons. */
#define AT_SIGHT_NS UINT64_C(2000000000)

static const struct {
    int alert;
    const char *word;
} alerts[] = {
    {SSL_AD_BAD_CERTIFICATE, "bad_certificate"},
    {SSL_AD_UNSUPPORTED_CERTIFICATE, "unsupported_certificate"},
    {SSL_AD_CERTIFICATE_REVOKED, "certificate_revoked"},
    {SSL_AD_CERTIFICATE_EXPIRED, "certificate_expired"},
    {SSL_AD_CERTIFICATE_UNKNOWN, "certificate_unknown"},
    {SSL_AD_UNKNOWN_CA, "unknown_ca"},
    {SSL_AD_ACCESS_DENIED, "access_denied"},
    {SSL_AD_BAD_CERTIFICATE_STATUS_RESPONSE, "bad_certificate_status_response"},
    {121, "ech_required"}, /* it had hidden whom it asks for, and whoever answers cannot know */
    /* of programs that judge it by themselves: OpenSSL's word for a callback that says no */
    {SSL_AD_HANDSHAKE_FAILURE, "handshake_failure"},
};

static const char *const endings[] = {"closed", "silent"}; /* its handshake was done? */

const char *refusal_word(const struct refusal *refusal)
{
    if (!refusal->shown || refusal->said)
        return NULL;
    for (size_t i = 0; refusal->alert && i < ARRAY_SIZE(alerts); i++)
        if (alerts[i].alert == refusal->alert)
            return alerts[i].word;
    if (refusal->alert || refusal->after_ns > AT_SIGHT_NS)
        return NULL;
    return endings[refusal->done];
}

const char *refusal_find(const char *text)
{
    for (size_t i = 0; text && i < ARRAY_SIZE(alerts); i++)
        if (strcmp(text, alerts[i].word) == 0)
            return alerts[i].word;
    for (size_t i = 0; text && i < ARRAY_SIZE(endings); i++)
        if (strcmp(text, endings[i]) == 0)
            return endings[i];
    return NULL;
}

void refusal_sentence(const char *word, char *out, unsigned size)
{
    if (strcmp(word, "silent") == 0)
        snprintf(out, size, "client left without a word after it saw our certificate");
    else if (strcmp(word, "closed") == 0)
        snprintf(out, size, "client refused our certificate: closed without an alert");
    else
        snprintf(out, size, "client refused our certificate: %s", word);
    for (; *out; out++)
        if (*out == '_')
            *out = ' ';
}

bool refusal_note(struct flow *flow)
{
    const struct leg *pod = &flow->pod;
    const struct refusal refusal = {
        .shown = pod->shown_ns,
        .done = pod->secured,
        .said = flow->relay.said,
        .alert = pod->alert,
        .after_ns = clock_ns() - pod->shown_ns,
    };
    char sentence[128];

    if (flow->refused || flow->upstream.ended || flow->upstream.lost)
        return flow->refused; /* a server that has gone is left by everybody */
    flow->refused = refusal_word(&refusal);
    if (!flow->refused)
        return false;
    refusal_sentence(flow->refused, sentence, sizeof(sentence));
    err_set(&flow->why, -EPROTO, "%s", sentence);
    return true;
}
