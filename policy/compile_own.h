/* compile_own: what the files that compile policies share.
 *
 * A document is walked by tables: a shape says which keys a map may have, of which kind their
 * values are, and who reads each into which field. So that everything which is wrong is told in one
 * pass, readers add a fault and go on; what they leave behind is thrown away with it. */
#pragma once

#include "policy/compile.h"
#include "policy/document.h"

struct compile { /* one pass over one file */
    struct faults *faults;
    struct span bytes;
    const char *file;
    bool no_memory;
    bool cut;              /* not all of the file was read: what lacks may stand there */
    bool cilium;           /* the document is one of Cilium's */
    struct policy *policy; /* that is being made */
    char rule[160];        /* where we are: "egress[0].toPorts[0]" */
};

struct key {
    const char *name;
    enum node_kind kind;
    /* One of three: what reads the value, what reads an item of the list, or (neither) what to say
     * of a key that others know: why not, and what to do instead. */
    void (*read)(struct compile *c, const struct node *node, const struct key *key, void *into);
    void (*item)(struct compile *c, const struct node *node, size_t i, const struct key *key,
                 void *into);
    const char *why;
    size_t field; /* where in into; readers say of which type */
    enum node_kind items;
    const char *empty;        /* of a list: what to say of one without items; NULL: it may be */
    const char *const *words; /* of compile_word; closed by NULL, "" where an enum has no word */
    bool must;                /* it cannot be left out */
    bool ours;                /* Cilium does not know it */
};
struct shape {
    const char *what; /* "an egress rule" */
    const struct key *keys;
    size_t len;
};

/* ---- walking: compile_walk.c ---- */

void compile_map(struct compile *c, const struct node *map, const struct shape *shape, void *into);
/* NULL: the map has no such key. */
const struct node *compile_find(const struct node *map, const char *key);
/* ... NULL, too, when its value is no text. */
const struct node *compile_find_text(const struct node *map, const char *key);

/* Whether a list or map says nothing, and not because the file was cut there. */
bool compile_is_empty(const struct compile *c, const struct node *node);

/* Readers. */
void compile_word(struct compile *c, const struct node *node, const struct key *key,
                  void *into); /* field: an enum */
void compile_truth(struct compile *c, const struct node *node, const struct key *key,
                   void *into); /* field: a bool */
/* Of what is read elsewhere, or never: any kind of value; the second checks the kind. */
void compile_ignore(struct compile *c, const struct node *node, const struct key *key, void *into);
void compile_keep(struct compile *c, const struct node *node, const struct key *key, void *into);

/* Says that text is no word of what, and which one may be meant. */
void compile_unknown(struct compile *c, struct mark mark, const char *what, const char *text,
                     const char *const *words);

/* Where we are, one step further; returns what compile_leave takes. */
size_t compile_enter(struct compile *c, const char *format, ...) PRINTF_LIKE(2, 3);
void compile_leave(struct compile *c, size_t before);
void compile_place(struct compile *c, struct policy_place *place, struct mark mark);

/* A copy; NULL without memory, which is noted. */
char *compile_copy(struct compile *c, const char *text);
/* Room for one more at the end of list, zeroed; NULL without memory, which is noted. */
void *compile_grow(struct compile *c, void *list, size_t *len, size_t size);
/* Adds a copy to a list of texts. */
void compile_add_text(struct compile *c, const char *text, char ***list, size_t *len);

/* Where the byte at `at` of a text stands in the file; where the text begins, when that is hard to
 * say. compile_place_of.c */
struct mark compile_mark_in(const struct compile *c, const struct node *node, size_t at);

/* ---- what policies are made of ---- */

struct title { /* metadata; owned */
    char *name, *space;
    struct mark mark;
};
void title_fini(struct title *title);

/* compile.c. compile_metadata: into a struct title. compile_policy adds the one that spec says to
 * made; suffix tells it from others of the same document. */
void compile_metadata(struct compile *c, const struct node *node, const struct key *key,
                      void *into);
void compile_policy(struct compile *c, const struct title *title, const char *suffix,
                    const struct node *spec, struct policy_list *made);
/* compile_names.c: out is filled, or a fault added. */
bool compile_name(struct compile *c, const struct node *node, bool pattern,
                  struct policy_name *out);
bool compile_cidr(struct compile *c, const struct node *node, struct match_cidr *out);
/* compile_select.c */
extern const struct shape compile_selector; /* into a struct policy */
void compile_binaries(struct compile *c, const struct node *node, size_t i, const struct key *key,
                      void *into);
/* compile_egress.c: an item; into a struct policy, field the list, behind which its length is. */
void compile_egress(struct compile *c, const struct node *node, size_t i, const struct key *key,
                    void *into);
/* compile_ports.c */
void compile_to_ports(struct compile *c, const struct node *node, size_t i, const struct key *key,
                      void *into); /* a struct policy_egress */
/* compile_tls.c */
void compile_tls(struct compile *c, const struct node *node, const struct key *key,
                 void *into); /* a struct policy_to_ports */
/* compile_http.c: items; into a struct policy_to_ports */
void compile_http(struct compile *c, const struct node *node, size_t i, const struct key *key,
                  void *into);
void compile_dns(struct compile *c, const struct node *node, size_t i, const struct key *key,
                 void *into);
/* compile_inspect.c: into a struct policy */
void compile_inspect(struct compile *c, const struct node *node, const struct key *key, void *into);
/* compile_spec.c */
void compile_spec(struct compile *c, const struct node *node);
/* compile_check.c: what each part alone allows, but all together do not. */
void compile_check_rule(struct compile *c, const struct node *node,
                        const struct policy_egress *egress, bool deny);
void compile_check(struct compile *c, const struct node *spec);
/* cilium.c */
void cilium_compile(struct compile *c, const struct node *root, struct policy_list *made);
void cilium_spec(struct compile *c, const struct node *node);
