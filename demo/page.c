// SPDX-License-Identifier: Apache-2.0
// The page: one file without script, that asks nobody for anything. Titles come from file names, so they are escaped.
#include <sodium.h>
#include <string.h>

#include "base/buf.h"
#include "cli/files.h"
#include "report.h"

enum { PAGE_MAX = 64 << 20, THUMB_QUALITY = 68 };

static const char head[] =
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src "
    "'unsafe-inline'\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>DeepLens: the "
    "demonstration</title>\n"
    "<style>\n"
    ":root{color-scheme:light "
    "dark;--back:#f6f5f2;--card:#fff;--ink:#1c1b1a;--soft:#6b6862;--line:#e4e1da;--good:#0b7a75;"
    "--bad:#b3432b}\n"
    "@media(prefers-color-scheme:dark){:root{--back:#151517;--card:#1f1f23;--ink:#ecebe8;--soft:#9c9a94;--line:#313137;"
    "--good:#4fc3bb;--bad:#f08a70}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--back);color:var(--ink);font:16px/1.45 system-ui,sans-serif}\n"
    "main{max-width:1240px;margin:0 auto;padding:3rem 1.25rem 4rem}\n"
    "h1{font-size:2.1rem;line-height:1.15;letter-spacing:-.02em;margin:0 0 .6rem}\n"
    "h2{font-size:1.2rem;margin:2.6rem 0 .9rem;display:flex;align-items:baseline;gap:.7rem}\n"
    "h2 small{font-weight:400;font-size:.88rem;color:var(--soft)}\n"
    "p{margin:0;max-width:62ch}\n"
    ".soft{color:var(--soft)}\n"
    ".numbers{display:flex;flex-wrap:wrap;gap:.6rem 2.4rem;margin:1.6rem 0 0;padding:0;list-style:none}\n"
    ".numbers b{display:block;font-size:1.7rem;line-height:1.2;font-variant-numeric:tabular-nums}\n"
    ".numbers span{color:var(--soft);font-size:.88rem}\n"
    ".row{display:grid;grid-template-columns:1.15fr 5fr;gap:1.4rem;background:var(--card);border:1px solid var(--line);"
    "border-radius:16px;padding:1rem;margin:0 0 .9rem}\n"
    ".hits{display:grid;grid-template-columns:repeat(5,1fr);gap:.8rem;margin:0;padding:0;list-style:none}\n"
    "figure{margin:0;min-width:0}\n"
    ".box{aspect-ratio:3/2;border-radius:10px;overflow:hidden;display:block;background:color-mix(in srgb,var(--ink) "
    "7%,var(--card))}\n"
    ".box img{width:100%;height:100%;object-fit:cover;display:block}\n"
    ".query .box img{object-fit:contain}\n"
    ".right .box{outline:3px solid var(--good);outline-offset:-1px}\n"
    "figcaption{font-size:.8rem;line-height:1.35;margin-top:.45rem;overflow-wrap:anywhere}\n"
    "figcaption b{font-variant-numeric:tabular-nums;font-size:.9rem}\n"
    ".query figcaption b{font-size:.95rem}\n"
    "figcaption span{display:block;color:var(--soft)}\n"
    ".right b{color:var(--good)}\n"
    ".missed{border-color:var(--bad)}.missed .verdict{color:var(--bad);font-weight:600}\n"
    "@media(max-width:760px){main{padding-top:1.75rem}.row{grid-template-columns:1fr;gap:.9rem}.query{display:grid;"
    "grid-template-columns:1fr 1fr;gap:.9rem;align-items:center}.hits{grid-template-columns:repeat(3,1fr)}}\n"
    "</style>\n</head>\n<body>\n<main>\n";

static void put_text(struct buf *page, const char *text)
{
    char *escaped = g_markup_escape_text(text, -1);
    buf_puts(page, escaped);
    g_free(escaped);
}

static int put_picture(struct buf *page, VipsImage *thumb, const char *alt, struct error *err)
{
    void *bytes = NULL;
    size_t count = 0;
    if (vips_webpsave_buffer(thumb, &bytes, &count, "Q", THUMB_QUALITY, "strip", TRUE, NULL) < 0)
        return picture_error(err, alt);
    size_t room = sodium_base64_ENCODED_LEN(count, sodium_base64_VARIANT_ORIGINAL);
    buf_puts(page, "<span class=\"box\"><img src=\"data:image/webp;base64,");
    if (buf_reserve(page, room) == 0) {
        sodium_bin2base64(page->data + page->len, room, bytes, count, sodium_base64_VARIANT_ORIGINAL);
        page->len += room - 1;
    }
    g_free(bytes);
    buf_puts(page, "\" alt=\"");
    put_text(page, alt);
    buf_puts(page, "\"></span>");
    return 0;
}

static int put_hit(struct buf *page, const struct hit *hit, struct error *err)
{
    buf_printf(page, "<li><figure%s>", hit->right ? " class=\"right\"" : "");
    if (put_picture(page, hit->thumb, hit->title, err) < 0)
        return -1;
    buf_printf(page, "<figcaption><b>%s%.3f</b><span>", hit->right ? "✓ " : "", hit->score);
    put_text(page, hit->right ? hit->form : hit->title);
    buf_puts(page, "</span></figcaption></figure></li>\n");
    return 0;
}

static int put_answer(struct buf *page, const struct answer *a, struct error *err)
{
    bool found = answer_found(a);
    buf_printf(page, "<section class=\"row%s\">\n<figure class=\"query\">", found ? "" : " missed");
    if (put_picture(page, a->thumb, a->label, err) < 0)
        return -1;
    buf_puts(page, "<figcaption><b>");
    put_text(page, a->label);
    buf_puts(page, "</b><span>");
    put_text(page, a->title);
    buf_printf(page, "</span><span class=\"verdict\">%s, %.0f ms</span></figcaption></figure>\n<ol class=\"hits\">\n",
               found ? "found" : "not found first", a->ms);
    for (size_t i = 0; i < a->hit_count; i++)
        if (put_hit(page, &a->hits[i], err) < 0)
            return -1;
    buf_puts(page, "</ol>\n</section>\n");
    return 0;
}

static void put_header(struct buf *page, const struct answers *a)
{
    buf_printf(
        page,
        "<header>\n<h1>DeepLens finds what looks alike</h1>\n"
        "<p>On the left of each row stands a picture that was <em>not</em> uploaded: a photo after something was "
        "done to it. On the right are the five best hits among %zu items. Those with a green edge are the same "
        "photo, a copy of it or a part of it; all others only look like it.</p>\n<ul class=\"numbers\">\n"
        "<li><b>%zu of %zu</b><span>found first</span></li>\n<li><b>%zu</b><span>photos</span></li>\n"
        "<li><b>%zu</b><span>items, %.0f MB</span></li>\n<li><b>%.0f/s</b><span>uploads acknowledged</span></li>\n"
        "<li><b>%.0f/s</b><span>made searchable</span></li>\n<li><b>%.0f ms</b><span>median search</span></li>\n"
        "</ul>\n</header>\n",
        a->items, a->found, a->count, a->photos, a->items, a->megabytes, a->acks, a->rate, a->ms);
}

static void put_kind(struct buf *page, const struct answers *a, const char *kind)
{
    size_t found = 0, all = 0;
    for (size_t i = 0; i < a->count; i++) {
        bool same = strcmp(a->list[i].kind, kind) == 0;
        all += same;
        found += same && answer_found(&a->list[i]);
    }
    buf_puts(page, "<h2>");
    put_text(page, kind);
    buf_printf(page, " <small>%zu of %zu found first</small></h2>\n", found, all);
}

int page_write(const struct answers *a, const char *path, struct error *err)
{
    _cleanup_buf_ struct buf page = BUF_INIT(PAGE_MAX);
    buf_puts(&page, head);
    put_header(&page, a);
    for (size_t i = 0; i < a->count; i++) {
        if (i == 0 || strcmp(a->list[i].kind, a->list[i - 1].kind) != 0)
            put_kind(&page, a, a->list[i].kind);
        if (put_answer(&page, &a->list[i], err) < 0)
            return -1;
    }
    buf_puts(&page, "</main>\n</body>\n</html>\n");
    if (page.failed)
        return error_set(err, ERR_NO_MEMORY, "The page would be larger than %d MB", PAGE_MAX >> 20);
    return files_write(path, &page, err);
}
