// SPDX-License-Identifier: Apache-2.0
// What an answer says. It is worked out when its turn has come: look-alikes once the picture is searchable.
#include <math.h>
#include <string.h>

#include "base/js.h"
#include "flow/reply_int.h"

enum { HITS = 5, LABEL_MAX = 200, LOOK_BACK = 200 };

static const char *link_of(const struct flow *f, struct arena *arena, const char *id)
{
    const char *pattern = f->settings.whatsapp.link_url, *at = strstr(pattern, "{id}");
    return at ? arena_printf(arena, "%.*s%s%s", (int)(at - pattern), pattern, id, at + 4) : NULL;
}

// What people know it by: what was said with it, else its file's name.
static const char *label_of(struct arena *arena, const struct media *media)
{
    _cleanup_json_ json_t *metadata = js_parse(media->metadata, strlen(media->metadata), NULL);
    const char *caption = js_str(metadata, "caption", NULL);
    const char *label = caption && *caption ? caption : media->file_name;
    size_t len = label ? strlen(label) : 0;
    if (len > LABEL_MAX)
        for (len = LABEL_MAX; len && !js_utf8_valid(label, len);) // in the middle of a character
            len--;
    return len ? arena_printf(arena, "%.*s", (int)len, label) : media->id;
}

static const char *write_hits(struct flow *f, struct arena *arena, const char *title, const struct search_result *found)
{
    _cleanup_buf_ struct buf text = BUF_INIT(REPLY_TEXT_MAX);
    buf_puts(&text, title);
    for (size_t i = 0; i < found->count; i++) {
        const struct search_hit *hit = &found->hits[i];
        const char *link = link_of(f, arena, hit->media.id);
        const char *line = arena_printf(arena, "\n%zu. %s (%ld %%)%s%s", i + 1, label_of(arena, &hit->media),
                                        lroundf(100 * hit->score), link ? "\n" : "", link ? link : "");
        if (text.len + strlen(line) >= REPLY_TEXT_MAX)
            break;
        buf_puts(&text, line);
    }
    return arena_memdup(arena, text.data, text.len);
}

static int search(struct flow *f, struct arena *arena, struct search_query *query, const json_t *how,
                  struct search_result *out, struct error *err)
{
    query->k = (size_t)js_int(how, "limit", HITS);
    query->min_score = (float)js_num(how, "minScore", -1);
    return search_run(f, query, arena, out, err);
}

static int say_alike(struct flow *f, struct arena *arena, const struct meta_reply *row, const json_t *how,
                     const char **text, struct error *err)
{
    struct item item;
    struct search_result found;
    struct search_query query = {.tenant = row->tenant, .id = row->item};
    if (item_get(f, arena, row->tenant, row->item, &item, err) < 0)
        return -1;
    if (item.media.status != MEDIA_COMPLETED)
        return error_set(err, ERR_CONFLICT, "Its picture could not be made searchable: %.200s",
                         item.media.error_message ? item.media.error_message : "no more is known");
    if (search(f, arena, &query, how, &found, err) < 0)
        return -1;
    *text = found.count ? write_hits(f, arena, "What looks like it:", &found) : "Nothing looks like it yet.";
    return 0;
}

static int say_found(struct flow *f, struct arena *arena, const struct meta_reply *row, const json_t *what,
                     const json_t *how, const char **text, struct error *err)
{
    struct search_result found;
    struct error why = {0};
    struct search_query query = {.tenant = row->tenant, .text = js_str(what, "query", "")};
    if (!*query.text) {
        *text = "Say what to look for, such as: /find red shoes";
        return 0;
    }
    if (search(f, arena, &query, how, &found, &why) == 0) {
        *text = found.count ? write_hits(f, arena, "This was found:", &found) : "Nothing was found.";
        return 0;
    }
    if (why.code != ERR_MODEL_UNKNOWN && why.code != ERR_INVALID)
        return error_copy(err, &why);
    *text = why.code == ERR_INVALID ? "That cannot be looked for." : "Pictures cannot be looked for by words here.";
    return 0;
}

struct tally {
    struct flow *flow;
    struct arena *arena;
    const struct meta_reply *row;
    int searchable, failed, waiting;
};

// Of the chat's last messages.
static int tally_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct tally *t = arg;
    size_t count;
    struct meta_message *rows;
    const struct meta_ops *meta = t->flow->meta.ops;
    const struct message_query query = {
        .tenant = t->row->tenant, .chat = t->row->chat, .state = -1, .limit = LOOK_BACK};
    t->searchable = t->failed = t->waiting = 0;
    if (meta->message_list(tx, t->arena, &query, &rows, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        struct media media;
        struct error why = {0};
        if (!rows[i].media_id)
            continue;
        if (meta->media_get(tx, t->arena, t->row->tenant, rows[i].media_id, &media, &why) < 0) {
            if (why.code != ERR_NOT_FOUND) // it was deleted
                return error_copy(err, &why);
            continue;
        }
        t->searchable += media.status == MEDIA_COMPLETED;
        t->failed += media.status == MEDIA_FAILED;
        t->waiting += media.status < MEDIA_FAILED;
    }
    return 0;
}

static int say_status(struct flow *f, struct arena *arena, const struct meta_reply *row, const char **text,
                      struct error *err)
{
    struct tally t = {.flow = f, .arena = arena, .row = row};
    if (f->meta.ops->read(f->meta.state, tally_tx, &t, err) < 0)
        return -1;
    *text = arena_printf(arena, "Pictures and videos of this chat: %d searchable, %d being worked on, %d failed.",
                         t.searchable, t.waiting, t.failed);
    return 0;
}

int reply_compose(struct flow *f, struct arena *arena, const struct meta_reply *row, const json_t *what,
                  const char **text, struct error *err)
{
    const json_t *answer = json_object_get(what, "answer"), *alike = js_obj(answer, "alike"),
                 *find = js_obj(answer, "find");
    const char *word = json_string_value(answer), *said = js_str(answer, "text", NULL);
    if (said)
        *text = arena_strdup(arena, said);
    else if (alike || (word && strcmp(word, "alike") == 0))
        return say_alike(f, arena, row, alike, text, err);
    else if (find || (word && strcmp(word, "find") == 0))
        return say_found(f, arena, row, what, find, text, err);
    else
        return say_status(f, arena, row, text, err);
    return 0;
}
