// SPDX-License-Identifier: Apache-2.0
// The summary of an upload.
#include "cli/upload_report.h"

#include <stdio.h>
#include <string.h>

#include "base/js.h"
#include "cli/text.h"

enum { SHOWN = 5 };

static const char *const outcome_names[UPLOAD_OUTCOMES] = {
    [UPLOAD_NOT_TRIED] = "notTried", [UPLOAD_NEW] = "uploaded",    [UPLOAD_DUPLICATE] = "duplicate",
    [UPLOAD_RESUMED] = "resumed",    [UPLOAD_REFUSED] = "refused",
};

static const char *const end_names[] = {
    [UPLOAD_UNKNOWN] = NULL, [UPLOAD_SEARCHABLE] = "completed", [UPLOAD_FAILED] = "failed", [UPLOAD_GONE] = "deleted"};

void upload_count(const struct upload *u, struct upload_totals *out)
{
    *out = (struct upload_totals){0};
    for (size_t i = 0; i < u->count; i++) {
        const struct upload_file *file = &u->files[i];
        out->outcomes[file->outcome]++;
        out->bytes += file->outcome == UPLOAD_NEW ? file->size : 0;
        out->searchable += file->end == UPLOAD_SEARCHABLE;
        out->failed += file->end == UPLOAD_FAILED;
        out->gone += file->end == UPLOAD_GONE;
        out->unsettled += file->end == UPLOAD_UNKNOWN && *file->id;
    }
}

static void line(uint64_t count, const char *text)
{
    char number[TEXT_SHORT];
    if (count)
        printf("  %8s  %s\n", text_count(count, number), text);
}

void upload_print(const struct upload *u, const struct upload_totals *t, const struct upload_passed_over *passed,
                  bool waited)
{
    char a[TEXT_SHORT], b[TEXT_SHORT], c[TEXT_SHORT], d[TEXT_SHORT];
    uint64_t fresh = t->outcomes[UPLOAD_NEW];
    double seconds = u->seconds > 0.001 ? u->seconds : 0.001;
    if (u->count)
        printf("Uploaded %s file%s, %s in %s (%.1f/s, %s/s)\n", text_count(fresh, a), fresh == 1 ? "" : "s",
               text_bytes(t->bytes, b), text_duration(u->seconds, c), (double)fresh / seconds,
               text_bytes((uint64_t)((double)t->bytes / seconds), d));
    else
        puts("There is nothing to upload here: no file looks like an image or a video by its name.");
    line(t->outcomes[UPLOAD_DUPLICATE], "there already: the same bytes");
    line(t->outcomes[UPLOAD_RESUMED], "uploaded before: passed over (--no-resume uploads them again)");
    line(passed->no_image, "passed over: do not look like images or videos by their names");
    line(passed->hidden, "passed over: hidden");
    line(t->outcomes[UPLOAD_REFUSED], "refused");
    line(t->outcomes[UPLOAD_NOT_TRIED], "not tried: run it again to go on");
    if (waited) {
        line(t->searchable, "searchable now");
        line(t->failed, "failed while they were processed");
        line(t->gone, "deleted meanwhile");
        line(t->unsettled, "still being processed");
    }
    fflush(stdout);
}

static void print_group(const struct upload *u, enum error_code code, uint64_t count)
{
    uint64_t shown = 0;
    char number[TEXT_SHORT];
    fprintf(stderr, "%s (%s): %s\n", error_code_name(code), text_count(count, number), error_code_title(code));
    for (size_t i = 0; i < u->count && shown < SHOWN; i++) {
        const struct upload_file *file = &u->files[i];
        if (!file->error || file->error->code != code)
            continue;
        _cleanup_buf_ struct buf text = BUF_INIT(8192);
        text_fit(&text, file->path, 0); // whole: somebody will look for it
        buf_puts(&text, ": ");
        text_fit(&text, file->error->message, 0);
        fprintf(stderr, "  %s\n", text.data);
        shown++;
    }
    if (count > shown)
        fprintf(stderr, "  and %s more\n", text_count(count - shown, number));
}

void upload_print_refusals(const struct upload *u)
{
    uint64_t counts[ERR_COUNT] = {0};
    for (size_t i = 0; i < u->count; i++)
        if (u->files[i].error)
            counts[u->files[i].error->code]++;
    for (int code = 0; code < ERR_COUNT; code++)
        if (counts[code])
            print_group(u, (enum error_code)code, counts[code]);
}

static json_t *file_json(const struct upload_file *file)
{
    _cleanup_free_ char *path = js_utf8(file->path, strlen(file->path));
    json_t *item = json_object();
    js_set_str(item, "path", path);
    js_set_str(item, "outcome", outcome_names[file->outcome]);
    js_set_str(item, strncmp(file->id, "vid_", 4) == 0 ? "videoId" : "imageId", *file->id ? file->id : NULL);
    js_set_str(item, "status", end_names[file->end]);
    if (file->error)
        json_object_set_new(
            item, "error",
            json_pack("{s:s, s:s*}", "code", error_code_name(file->error->code), "message", file->error->message));
    return item;
}

json_t *upload_json(const struct upload *u, const struct upload_totals *t, const struct upload_passed_over *passed,
                    bool waited)
{
    json_t *images = json_array();
    for (size_t i = 0; i < u->count; i++)
        json_array_append_new(images, file_json(&u->files[i]));
    json_t *document = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:{s:I, s:I}, s:I, s:f, s:b}", "uploaded", (json_int_t)t->outcomes[UPLOAD_NEW],
        "duplicates", (json_int_t)t->outcomes[UPLOAD_DUPLICATE], "resumed", (json_int_t)t->outcomes[UPLOAD_RESUMED],
        "refused", (json_int_t)t->outcomes[UPLOAD_REFUSED], "notTried", (json_int_t)t->outcomes[UPLOAD_NOT_TRIED],
        "passedOver", "hidden", (json_int_t)passed->hidden, "noImage", (json_int_t)passed->no_image, "bytes",
        (json_int_t)t->bytes, "seconds", u->seconds, "interrupted", (int)upload_interrupted());
    if (waited) {
        json_object_set_new(document, "searchable", json_integer((json_int_t)t->searchable));
        json_object_set_new(document, "failed", json_integer((json_int_t)t->failed));
        json_object_set_new(document, "unsettled", json_integer((json_int_t)t->unsettled));
    }
    json_object_set_new(document, "images", images);
    return document;
}
