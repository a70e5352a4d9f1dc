// SPDX-License-Identifier: Apache-2.0
// Pages in one HTML file: see page.h.
#include "cli/page.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "cli/files.h"

enum { THUMBNAIL_MAX = 8 << 20 };

static const char head[] =
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src "
    "'unsafe-inline'\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>DeepLens: what looks "
    "alike</title>\n"
    "<style>\n"
    ":root{color-scheme:light "
    "dark;--back:#f6f5f2;--card:#fff;--ink:#1c1b1a;--soft:#6b6862;--line:#e4e1da;--mark:#0b7a75}\n"
    "@media(prefers-color-scheme:dark){:root{--back:#151517;--card:#1f1f23;--ink:#ecebe8;--soft:#9c9a94;--line:#313137;"
    "--mark:#4fc3bb}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--back);color:var(--ink);font:16px/1.45 system-ui,sans-serif}\n"
    "main{max-width:1280px;margin:0 auto;padding:2rem 1.25rem 4rem}\n"
    "header{display:flex;gap:1.75rem;align-items:center;flex-wrap:wrap;margin-bottom:2rem}\n"
    "header img{max-width:min(100%,340px);max-height:300px;border-radius:14px;box-shadow:0 6px 28px #0003}\n"
    "h1{font-size:1.7rem;line-height:1.2;margin:0 0 .35rem}\n"
    "p{margin:.2rem 0}\n"
    ".soft{color:var(--soft);font-size:.9rem;overflow-wrap:anywhere}\n"
    ".grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(210px,1fr));gap:1.1rem;list-style:none;margin:0;"
    "padding:0}\n"
    ".grid li{background:var(--card);border:1px solid var(--line);border-radius:14px;overflow:hidden;display:flex;"
    "flex-direction:column}\n"
    ".picture{aspect-ratio:4/3;display:grid;place-items:center;background:color-mix(in srgb,var(--ink) 6%,var(--card));"
    "color:var(--soft);font-size:.85rem}\n"
    ".picture img{width:100%;height:100%;object-fit:contain;display:block}\n"
    ".text{padding:.75rem .9rem .9rem}\n"
    ".name{font-weight:600;overflow-wrap:anywhere}\n"
    ".score{display:flex;align-items:center;gap:.6rem;font-variant-numeric:tabular-nums;margin:.15rem 0 .35rem}\n"
    ".score b{color:var(--mark)}\n"
    ".bar{flex:1;height:6px;border-radius:3px;background:var(--line);overflow:hidden}\n"
    ".bar i{display:block;height:100%;background:var(--mark)}\n"
    ".tag{display:inline-block;border:1px solid var(--line);border-radius:99px;padding:0 .55rem;margin:.25rem .25rem 0 "
    "0;"
    "font-size:.8rem;overflow-wrap:anywhere}\n"
    "</style>\n</head>\n<body>\n<main>\n";

void page_text(struct buf *page, const char *text)
{
    for (; text && *text; text++) {
        switch (*text) {
        case '&':
            buf_puts(page, "&amp;");
            break;
        case '<':
            buf_puts(page, "&lt;");
            break;
        case '>':
            buf_puts(page, "&gt;");
            break;
        case '"':
            buf_puts(page, "&quot;");
            break;
        case '\'':
            buf_puts(page, "&#39;");
            break;
        default:
            buf_append(page, text, 1);
        }
    }
}

void page_image(struct buf *page, const char *type, const struct buf *bytes, const char *alt)
{
    size_t len = sodium_base64_ENCODED_LEN(bytes->len, sodium_base64_VARIANT_ORIGINAL);
    buf_puts(page, "<img src=\"data:");
    page_text(page, type);
    buf_puts(page, ";base64,");
    if (buf_reserve(page, len) == 0) {
        sodium_bin2base64(page->data + page->len, len, (const unsigned char *)bytes->data, bytes->len,
                          sodium_base64_VARIANT_ORIGINAL);
        page->len += len - 1;
    }
    buf_puts(page, "\" alt=\"");
    page_text(page, alt);
    buf_puts(page, "\">");
}

static bool is_image_type(const char *type)
{
    return strcmp(type, "image/webp") == 0 || strcmp(type, "image/jpeg") == 0 || strcmp(type, "image/png") == 0;
}

// The thumbnail of a stored image, or a few words where there is none.
void page_thumbnail(struct buf *page, struct client *client, const char *kind, const char *id, const char *alt)
{
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    _cleanup_buf_ struct buf bytes = BUF_INIT(THUMBNAIL_MAX);
    char type[CLIENT_TYPE];
    struct error err;
    buf_printf(&path, "/api/v1/%s/", kind);
    client_segment(&path, id);
    buf_puts(&path, "/thumbnail");
    if (client_fetch(client, path.data, &bytes, type, &err) == 0 && bytes.len && is_image_type(type))
        page_image(page, type, &bytes, alt);
    else
        buf_puts(page, "no thumbnail");
}

void page_tag(struct buf *page, const char *text)
{
    buf_puts(page, "<span class=\"tag\">");
    page_text(page, text);
    buf_puts(page, "</span>");
}

void page_begin(struct buf *page)
{
    buf_puts(page, head);
}

int page_write(struct buf *page, const char *path, struct error *err)
{
    buf_puts(page, "</main>\n</body>\n</html>\n");
    if (page->failed)
        return error_set(err, ERR_BODY_TOO_LARGE, "The page would be larger than %d MB; ask for less", PAGE_MAX >> 20);
    return files_write(path, page, err);
}
