// SPDX-License-Identifier: Apache-2.0
// Ordinary JPEGs by libjpeg: see jpeg.h. libjpeg leaves by longjmp when it fails, so everything that must be freed
// hangs on one struct which outlives the jump.
#include "media/jpeg.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include "base/cleanup.h"
#include "media/exif.h"

// Each scan of a progressive picture goes over all of it; honest ones have about ten.
enum { MAX_SCANS = 200, ROWS = 16, APP1 = JPEG_APP0 + 1, APP2 = JPEG_APP0 + 2 };

struct reader {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf failed;
    enum error_code code;
    const char *why; // NULL: libjpeg's own message
    JOCTET *profile;
    uint8_t *rows;
    unsigned width, height; // as the caller has checked them
};

static void reader_free(struct reader *r)
{
    jpeg_destroy_decompress(&r->jpeg);
    free(r->profile);
    free(r->rows);
    free(r);
}
DEFINE_CLEANUP(struct reader *, reader, reader_free)
#define _cleanup_reader_ _cleanup_(cleanup_reader)

static _Noreturn void leave(j_common_ptr jpeg)
{
    struct reader *r = jpeg->client_data;
    longjmp(r->failed, 1);
}

static _Noreturn void leave_because(struct reader *r, enum error_code code, const char *why)
{
    r->code = code;
    r->why = why;
    longjmp(r->failed, 1);
}

// Warnings are for pictures with small flaws, which are shown all the same; but what ends too early is refused.
static void on_message(j_common_ptr jpeg, int level)
{
    if (level < 0 && jpeg->err->msg_code == JWRN_JPEG_EOF)
        leave_because(jpeg->client_data, ERR_IMAGE_TRUNCATED, "it ends too early");
}

static void on_progress(j_common_ptr jpeg)
{
    if (((j_decompress_ptr)jpeg)->input_scan_number > MAX_SCANS)
        leave_because(jpeg->client_data, ERR_IMAGE_CORRUPT, "it has too many scans");
}

static void swallow_output(j_common_ptr jpeg)
{
}

static int fail(struct reader *r, struct error *err)
{
    char text[JMSG_LENGTH_MAX];
    if (!r->why) {
        r->errors.format_message((j_common_ptr)&r->jpeg, text);
        r->why = text;
    }
    return error_set(err, r->code, "This JPEG cannot be decoded: %s.", r->why);
}

static int read_orientation(const struct reader *r)
{
    for (jpeg_saved_marker_ptr m = r->jpeg.marker_list; m; m = m->next) {
        int orientation = m->marker == APP1 ? exif_orientation(m->data, m->data_length) : 0;
        if (orientation)
            return orientation;
    }
    return 1;
}

static enum icc_kind read_profile(struct reader *r, struct icc *icc)
{
    unsigned len;
    if (!jpeg_read_icc_profile(&r->jpeg, &r->profile, &len))
        return ICC_SRGB;
    return icc_read(r->profile, len, r->jpeg.num_components, icc);
}

static bool is_ordinary(const struct reader *r)
{
    J_COLOR_SPACE space = r->jpeg.jpeg_color_space;
    return space == JCS_YCbCr || space == JCS_RGB || space == JCS_GRAYSCALE;
}

static void set_scale(struct reader *r, int max_edge)
{
    unsigned width = r->jpeg.image_width, height = r->jpeg.image_height, longer = width > height ? width : height;
    unsigned shrink = 1;
    while (shrink < 8 && longer / (shrink * 2) >= (unsigned)max_edge)
        shrink *= 2;
    r->jpeg.scale_num = 1;
    r->jpeg.scale_denom = shrink;
    r->jpeg.out_color_space = JCS_RGB;
}

// Everything that may jump: 0, or JPEG_NOT_MINE. The pixels are left in `rows`.
static int read_pixels(struct reader *r, const void *data, size_t len, int max_edge, struct jpeg_decoded *out)
{
    jpeg_mem_src(&r->jpeg, data, len);
    jpeg_save_markers(&r->jpeg, APP1, 0xffff);
    jpeg_save_markers(&r->jpeg, APP2, 0xffff);
    jpeg_read_header(&r->jpeg, TRUE);
    if (r->jpeg.image_width != r->width || r->jpeg.image_height != r->height)
        leave_because(r, ERR_IMAGE_CORRUPT, "it states two sizes");
    out->kind = read_profile(r, &out->icc);
    if (!is_ordinary(r) || out->kind == ICC_OTHER)
        return JPEG_NOT_MINE;
    out->orientation = read_orientation(r);
    set_scale(r, max_edge);
    jpeg_start_decompress(&r->jpeg);
    size_t row = (size_t)r->jpeg.output_width * 3;
    if (!(r->rows = malloc(row * r->jpeg.output_height)))
        leave_because(r, ERR_NO_MEMORY, "there is no memory for it");
    while (r->jpeg.output_scanline < r->jpeg.output_height) {
        JSAMPROW rows[ROWS];
        unsigned first = r->jpeg.output_scanline, count = r->jpeg.output_height - first;
        for (unsigned i = 0; i < ROWS; i++)
            rows[i] = r->rows + row * (first + (i < count ? i : 0));
        jpeg_read_scanlines(&r->jpeg, rows, count < ROWS ? count : ROWS);
    }
    jpeg_finish_decompress(&r->jpeg);
    return 0;
}

int jpeg_decode(const void *data, size_t len, int width, int height, int max_edge, struct jpeg_decoded *out,
                struct error *err)
{
    _cleanup_reader_ struct reader *r = calloc(1, sizeof(*r));
    if (!r)
        abort();
    r->code = ERR_IMAGE_CORRUPT;
    r->width = (unsigned)width;
    r->height = (unsigned)height;
    r->jpeg.err = jpeg_std_error(&r->errors);
    r->errors.error_exit = leave;
    r->errors.emit_message = on_message;
    r->errors.output_message = swallow_output;
    r->jpeg.client_data = r;
    struct jpeg_decoded made;
    if (setjmp(r->failed))
        return fail(r, err);
    jpeg_create_decompress(&r->jpeg);
    r->progress.progress_monitor = on_progress;
    r->jpeg.progress = &r->progress;
    int rc = read_pixels(r, data, len, max_edge, &made);
    if (rc)
        return rc;
    made.pixels = (struct pixels){(int)r->jpeg.output_width, (int)r->jpeg.output_height, take_ptr(r->rows)};
    *out = made;
    return 0;
}
