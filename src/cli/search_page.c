// SPDX-License-Identifier: Apache-2.0
// The page of hits.
#include "cli/search_page.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/js.h"
#include "cli/files.h"
#include "cli/page.h"
#include "media/image.h"

enum { QUERY_MAX = 256 << 20, THUMBNAIL_MAX = 8 << 20, QUERY_EDGE = 512, QUALITY = 80 };

// The picture that was searched with, made small here: whatever the file is, a browser can show it. The server has just
// decoded it, so failing to is an error.
static int put_query_file(struct buf *page, const struct search_query *query, struct error *err)
{
    _cleanup_buf_ struct buf bytes = BUF_INIT(QUERY_MAX);
    _cleanup_buf_ struct buf small = BUF_INIT(THUMBNAIL_MAX);
    struct image_decoded decoded;
    if (files_read(query->file, &bytes, err) < 0 || image_init(err) < 0)
        return -1;
    if (image_decode(bytes.data, bytes.len, QUERY_EDGE, query->max_pixels, &decoded, err) < 0)
        return -1;
    int rc = image_thumbnail(&decoded.pixels, QUERY_EDGE, QUALITY, &small, err);
    pixels_free(&decoded.pixels);
    if (rc == 0)
        page_image(page, "image/webp", &small, "the picture searched with");
    return rc;
}

static int put_header(struct buf *page, struct client *client, const struct search_query *query, const json_t *answer,
                      struct error *err)
{
    buf_puts(page, "<header>\n");
    if (query->file && put_query_file(page, query, err) < 0)
        return -1;
    if (query->id)
        page_thumbnail(page, client, "images", query->id, "the picture searched with");
    buf_puts(page, "<div>\n<h1>What looks alike</h1>\n<p class=\"soft\">");
    page_text(page, query->file ? query->file : query->id ? query->id : query->text ? query->text : "a vector");
    buf_printf(page, "</p>\n<p class=\"soft\">%zu hits by ", json_array_size(js_arr(answer, "results")));
    page_text(page, js_str(answer, "model", "?"));
    buf_printf(page, ", in %.1f ms</p>\n</div>\n</header>\n", js_num(answer, "tookMs", 0));
    return 0;
}

static void put_hit(struct buf *page, struct client *client, const json_t *hit, size_t rank)
{
    const char *name = js_str(hit, "fileName", js_str(hit, "imageId", "?"));
    double score = js_num(hit, "score", 0);
    double part = score < 0 ? 0 : score > 1 ? 1 : score;
    size_t i;
    json_t *tag;
    buf_puts(page, "<li>\n<div class=\"picture\">");
    page_thumbnail(page, client, "images", js_str(hit, "imageId", ""), name);
    buf_printf(page, "</div>\n<div class=\"text\">\n<p class=\"name\">%zu. ", rank);
    page_text(page, name);
    buf_printf(page,
               "</p>\n<p class=\"score\"><b>%.4f</b><span class=\"bar\"><i style=\"width:%.1f%%\"></i></span></p>\n",
               score, part * 100);
    buf_printf(page, "<p class=\"soft\">%" PRId64 " &times; %" PRId64 " &middot; ", js_int(hit, "width", 0),
               js_int(hit, "height", 0));
    page_text(page, js_str(hit, "uploadedAt", ""));
    buf_puts(page, "</p>\n<p class=\"soft\">");
    page_text(page, js_str(hit, "imageId", ""));
    buf_puts(page, "</p>\n");
    json_array_foreach(js_arr(hit, "tags"), i, tag) page_tag(page, json_string_value(tag));
    buf_puts(page, "</div>\n</li>\n");
}

int search_page_write(struct client *client, const struct search_query *query, const json_t *answer, const char *path,
                      struct error *err)
{
    _cleanup_buf_ struct buf page = PAGE_INIT;
    size_t i;
    json_t *hit;
    page_begin(&page);
    if (put_header(&page, client, query, answer, err) < 0)
        return -1;
    buf_puts(&page, "<ol class=\"grid\">\n");
    json_array_foreach(js_arr(answer, "results"), i, hit) put_hit(&page, client, hit, i + 1);
    buf_puts(&page, "</ol>\n");
    return page_write(&page, path, err);
}
