// SPDX-License-Identifier: Apache-2.0
// Task scrub: originals (and pictures of frames) are read and hashed, and compared with the hash that was made when
// they were stored. A run goes through a share of all of them, one part in `scrub.nights`, and remembers where it was,
// so that all are covered in turn; a run of one tenant, or a whole one, goes through all. What rotted is told: nothing
// is changed, so that it is the same with a dry run and without.
//
// An item that goes while it is looked at is none that rotted: its row is looked at once more first.
#include <string.h>

#include "base/clock.h"
#include "flow/near.h"
#include "flow/step.h"
#include "flow/upkeep.h"
#include "obs/alert.h"

enum { PIECE = 1 << 20 };

// --- How far

struct count_call {
    struct flow *flow;
    struct meta_ledger ledger;
};

static int count_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct count_call *call = arg;
    return call->flow->meta.ops->ledger(tx, NULL, &call->ledger, err);
}

static bool is_share(const struct upkeep_work *w)
{
    return !w->tenant && !w->whole;
}

// A share begins where the one before ended; its goal counts uploads.
static int begin(struct upkeep_work *w, struct error *err)
{
    struct count_call call = {.flow = w->flow};
    const int nights = w->flow->settings.upkeep.scrub_nights;
    if (!is_share(w)) {
        json_object_set_new(w->place, "seen", json_integer(0));
        return 0;
    }
    if (w->flow->meta.ops->read(w->flow->meta.state, count_tx, &call, err) < 0)
        return -1;
    uint64_t stored = call.ledger.accepted - call.ledger.deleted, parts = nights > 0 ? (uint64_t)nights : 1;
    if (json_is_object(w->kept))
        json_object_update(w->place, w->kept);
    json_object_set_new(w->place, "goal", json_integer((json_int_t)((stored + parts - 1) / parts)));
    json_object_set_new(w->place, "seen", json_integer(0));
    return 0;
}

// What the next share goes on from: the place in the walk alone.
static void keep_place(struct upkeep_work *w)
{
    static const char *const names[] = {"tenant", "beforeMs", "beforeId"};
    json_t *kept = json_object();
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (json_object_get(w->place, names[i]))
            json_object_set(kept, names[i], json_object_get(w->place, names[i]));
    json_decref(w->kept);
    w->kept = kept;
}

// Behind the last item comes the first; once, so that a walk ends whatever comes and goes.
static bool turn_round(struct upkeep_work *w)
{
    if (!is_share(w) || js_bool(w->place, "turned", false))
        return false;
    json_object_del(w->place, "tenant");
    json_object_del(w->place, "beforeMs");
    json_object_del(w->place, "beforeId");
    json_object_set_new(w->place, "turned", json_true());
    return true;
}

// --- One file

// 0, -1, or UPKEEP_CUT.
static int hash_file(struct upkeep_work *w, struct blob_reader *reader, char hex[HASH_HEX], struct error *err)
{
    const struct blob_ops *blob = w->flow->blob.ops;
    _cleanup_free_ char *piece = malloc(PIECE);
    struct hash_state hash;
    uint64_t size = blob->reader_size(reader);
    if (!piece)
        return error_set(err, ERR_NO_MEMORY, "No memory to read a file");
    hash_init(&hash);
    for (uint64_t at = 0; at < size; at += PIECE) {
        size_t len = size - at < PIECE ? (size_t)(size - at) : PIECE;
        int64_t began = clock_mono_us();
        if (!upkeep_wanted(w))
            return UPKEEP_CUT;
        if (blob->read(reader, at, piece, len, err) < 0)
            return -1;
        hash_update(&hash, piece, len);
        if (len == PIECE)
            upkeep_yield(w, clock_mono_us() - began);
    }
    hash_final(&hash, hex);
    return 0;
}

static int tell(struct upkeep_work *w, const struct media *media, const char *problem, const char *details,
                struct error *err)
{
    struct media now;
    bool there;
    if (upkeep_look(w, media, &now, &there, err) < 0)
        return -1;
    if (!there || near_rejected(&now) || strcmp(now.blob_key, media->blob_key) != 0)
        return 0;
    upkeep_count(w, problem, 1);
    upkeep_found(w, json_pack("{s:s,s:s,s:s,s:s,s:s}", "problem", problem, "tenantId", media->tenant, "itemId",
                              media->id, "fileName", media->file_name, "details", details));
    const struct alert_field fields[] = {
        {"tenantId", media->tenant}, {"itemId", media->id}, {"problem", problem}, {NULL, NULL}};
    alerts_raise(w->flow->alerts, ALERT_ORIGINAL_ROTTEN, media->tenant,
                 arena_printf(w->arena, "The file of %s is %s: %s", media->id, problem, details), fields);
    return 0;
}

// What a store says of one file is a finding; that it is away is an error.
static int tell_error(struct upkeep_work *w, const struct media *media, const struct error *why, struct error *err)
{
    if (why->outage || why->code == ERR_NO_MEMORY)
        return error_copy(err, why);
    return tell(w, media, why->code == ERR_NOT_FOUND ? "missing" : "unreadable", why->message, err);
}

static int scrub_one(struct upkeep_work *w, const struct media *media, struct error *err)
{
    const struct blob *blob = &w->flow->blob;
    struct blob_reader *reader;
    struct error why = {0};
    char hex[HASH_HEX];
    if (near_rejected(media)) // its file is gone
        return 0;
    if (blob->ops->open_read(blob->state, media->blob_key, &reader, &why) < 0)
        return tell_error(w, media, &why, err);
    uint64_t size = blob->ops->reader_size(reader);
    int rc = hash_file(w, reader, hex, &why);
    blob->ops->reader_close(reader);
    if (rc == UPKEEP_CUT)
        return UPKEEP_CUT;
    if (rc < 0)
        return tell_error(w, media, &why, err);
    upkeep_count(w, "bytes", (int64_t)size);
    if (strcmp(hex, media->hash) == 0)
        return 0;
    return tell(w, media, "changed",
                arena_printf(w->arena, "%llu bytes with the hash %s; stored were %llu with %s",
                             (unsigned long long)size, hex, (unsigned long long)media->size, media->hash),
                err);
}

// --- A page

// Of a share no more uploads than its goal; frames come beside.
static int scrub_rows(struct upkeep_work *w, const struct upkeep_items *found, struct error *err)
{
    for (size_t i = 0; i < found->count; i++) {
        int rc = scrub_one(w, &found->rows[i], err);
        if (rc != 0)
            return rc;
        upkeep_count(w, "read", 1);
        w->items++;
        if (!found->rows[i].parent)
            json_object_set_new(w->place, "seen", json_integer(js_int(w->place, "seen", 0) + 1));
    }
    return 0;
}

int upkeep_scrub(struct upkeep_work *w, struct error *err)
{
    struct upkeep_items found;
    bool over;
    if (!json_object_get(w->place, "seen") && begin(w, err) < 0)
        return -1;
    int64_t left = js_int(w->place, "goal", 0) - js_int(w->place, "seen", 0);
    if (is_share(w) && left <= 0)
        return UPKEEP_OVER;
    if (is_share(w) && (uint64_t)left < w->limit)
        w->limit = (size_t)left;
    if (upkeep_items_next(w, true, &found, &over, err) < 0)
        return -1;
    int rc = scrub_rows(w, &found, err);
    if (rc != 0)
        return rc;
    if (over && !turn_round(w))
        return UPKEEP_OVER;
    if (is_share(w))
        keep_place(w);
    return UPKEEP_MORE;
}
