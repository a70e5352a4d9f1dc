// SPDX-License-Identifier: Apache-2.0
// Near-duplicates: pictures that look so much alike that one was made from the other.
//
// Which they are, a model says: its description names the score (cosine) from which two pictures count. Every vector
// that is indexed is compared with its collection, after it was put there: of two that come in at once, at least one
// sees the other. What is found is recorded in the index step's transaction, and so exactly once however often the
// event is delivered: both are in one group from then on (ports/meta.h: alike_join), each model has groups of its own,
// and `models use` shows the other model's from the moment that it switches. A frame stands for its video; frames of
// one video do not make a group.
//
// What becomes of an item that looks like another says its duplicatePolicy, once: under the first of its models, before
// it is completed.
//   keep    it is in the group, and that is all
//   link    … and names the other as what it is a near-duplicate of (duplicateOf)
//   reject  it fails, with NEAR_DUPLICATE; its file and vectors go the way of a deletion, its record stays
// Of several that it looks like, the first upload counts; of two that come in at once, the first that is recorded goes.
//
// A reindex makes the groups anew: what was joined before it began is left when an item's turn comes.
#ifndef DEEPLENS_FLOW_NEAR_H
#define DEEPLENS_FLOW_NEAR_H

#include "flow/flow.h"
#include "flow/step.h"

enum near_policy { NEAR_KEEP, NEAR_LINK, NEAR_REJECT };

const char *near_policy_name(enum near_policy policy);          // "keep" "link" "reject"
int near_policy_parse(const char *name, enum near_policy *out); // -1 when unknown
enum near_policy near_policy_of(const struct media *media);     // what its options say
bool near_rejected(const struct media *media);                  // its file is gone, its record says why

// --- In the index step (near.c)

enum { NEAR_MAX = 32 }; // that are looked at

struct near {
    const char *id; // of an image or a frame
    float score;
};

struct near_found { // by work, in the job's arena
    const struct near *at;
    size_t count;
};

// Looks for what is like the job's vector in a collection that holds it. Nothing where the model has no score.
int near_look(struct flow *f, struct job *job, const struct media *media, const struct flow_model *model,
              const char *collection, struct near_found *out, struct error *err);

enum near_outcome { NEAR_NONE, NEAR_LINKED, NEAR_OUT };

// Records it. NEAR_LINKED: media->alike_id says to what. NEAR_OUT: the item is rejected, that is recorded and its
// events are emitted, and nothing else is to be done with it.
int near_record_tx(struct flow *f, struct meta_tx *tx, struct job *job, struct media *media,
                   const struct near_found *found, enum near_outcome *out, struct error *err);

// --- Policies of tenants, and groups for readers (near_groups.c)

// A tenant's policy for uploads that name none: its own, else the configuration's.
int near_policy_for(struct flow *f, const char *tenant, enum near_policy *out, struct error *err);
// Its own, in the arena; NULL: it has none. And setting it (NULL takes it back): durable. ERR_INVALID,
// ERR_TENANT_UNKNOWN.
int near_policy_own_tx(struct flow *f, struct meta_tx *tx, struct arena *arena, const char *tenant, const char **out,
                       struct error *err);
int near_policy_forget_tx(struct flow *f, struct meta_tx *tx, const char *tenant, struct error *err);
int near_policy_set(struct flow *f, const char *tenant, const char *name, struct error *err);

// The score of a model from which pictures count as near-duplicates; 0: none.
double near_score(const struct flow *f, const struct flow_model *model);

struct near_query {
    const char *tenant;
    const char *model; // NULL: the tenant's default
    const char *id;    // the group of this item alone; NULL: all
    int64_t before;    // continue behind this group; 0: from the start
    size_t limit;      // groups
    size_t members;    // that are shown of each
};

struct near_group {
    int64_t group;
    size_t count;
    struct meta_alike_item *items; // the first upload at the front
    size_t shown;
};

struct near_groups { // in the arena
    const char *model;
    double score;
    struct near_group *at;
    size_t count;
    int64_t next; // before: of the next page; 0: there is none
};

// ERR_CONFLICT when the model has no score; ERR_NOT_FOUND for an item that is in no group.
int near_groups(struct flow *f, const struct near_query *query, struct arena *arena, struct near_groups *out,
                struct error *err);

// Forgets the groups by a model, of which the vectors go.
int near_drop(struct flow *f, const char *tenant, const char *model, struct error *err);

#endif
