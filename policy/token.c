#include "policy/token.h"

#include <string.h>

#include "policy/jwt.h"

static const char SUBJECT[] = "system:serviceaccount:";

/* As Kubernetes names namespaces, accounts and pods (RFC 1123): what is told of them is no surprise
 * to any reader. */
static bool is_name(struct span text, size_t most)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '.')
            return false;
    }
    return text.len && text.len <= most;
}

static bool name_of(const json_t *value, char *out, size_t size)
{
    struct span text = span_of(json_string_value(value), json_string_length(value));

    return json_is_string(value) && is_name(text, size - 1) && span_to_text(text, out, size);
}

/* "system:serviceaccount:NAMESPACE:NAME" */
static bool read_subject(const json_t *subject, struct token *out)
{
    const char *text = json_string_value(subject), *space, *account;

    if (!text || strncmp(text, SUBJECT, sizeof(SUBJECT) - 1) != 0)
        return false;
    space = text + sizeof(SUBJECT) - 1;
    account = strchr(space, ':');
    if (!account || !is_name(span_of(space, (size_t)(account - space)), TOKEN_LABEL - 1) ||
        !is_name(span_of_text(account + 1), TOKEN_NAME - 1))
        return false;
    return span_to_text(span_of(space, (size_t)(account - space)), out->space, TOKEN_LABEL) &&
           span_to_text(span_of_text(account + 1), out->account, TOKEN_NAME);
}

/* Those that live in a Secret say it in claims of their own. */
static bool read_legacy(const json_t *claims, struct token *out)
{
    return name_of(json_object_get(claims, "kubernetes.io/serviceaccount/namespace"), out->space,
                   sizeof(out->space)) &&
           name_of(json_object_get(claims, "kubernetes.io/serviceaccount/service-account.name"),
                   out->account, sizeof(out->account));
}

static bool read_claims(const json_t *claims, struct token *out)
{
    const json_t *bound = json_object_get(claims, "kubernetes.io");
    const json_t *account = json_object_get(json_object_get(bound, "serviceaccount"), "name");

    if (!read_subject(json_object_get(claims, "sub"), out) && !read_legacy(claims, out) &&
        !(name_of(json_object_get(bound, "namespace"), out->space, sizeof(out->space)) &&
          name_of(account, out->account, sizeof(out->account))))
        return false;
    name_of(json_object_get(json_object_get(bound, "pod"), "name"), out->pod, sizeof(out->pod));
    return true;
}

bool token_read(struct span jwt, struct token *out)
{
    struct token token = {0};
    json_t *claims = jwt_claims(jwt);
    bool read = claims && read_claims(claims, &token);

    json_decref(claims);
    if (read)
        *out = token;
    return read;
}

bool token_is_of(const struct token *token, const char *space, const char *name)
{
    if (!space[0] || !name[0])
        return !token->pod[0];
    return strcmp(token->space, space) == 0 && (!token->pod[0] || strcmp(token->pod, name) == 0);
}
