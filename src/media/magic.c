// SPDX-License-Identifier: Apache-2.0
// Magic numbers: see magic.h. Strong signatures come first, guesses at text last.
#include "media/magic.h"

#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/js.h"

static const struct media_kind kinds[FORMAT_COUNT] = {
    [FORMAT_JPEG] = {FORMAT_JPEG, "JPEG", "image/jpeg", "jpg"},
    [FORMAT_PNG] = {FORMAT_PNG, "PNG", "image/png", "png"},
    [FORMAT_GIF] = {FORMAT_GIF, "GIF", "image/gif", "gif"},
    [FORMAT_WEBP] = {FORMAT_WEBP, "WEBP", "image/webp", "webp"},
    [FORMAT_AVIF] = {FORMAT_AVIF, "AVIF", "image/avif", "avif"},
    [FORMAT_HEIC] = {FORMAT_HEIC, "HEIC", "image/heic", "heic"},
};

#define TAKEN "DeepLens takes JPEG, PNG, GIF, WebP, AVIF and HEIC images"

// A signature at a fixed place.
struct signature {
    size_t offset;
    size_t len;
    const char *bytes;
    const char *what; // with its article
};

#define SIG(at, text, name)                                                                                            \
    {                                                                                                                  \
        (at), sizeof(text) - 1, (text), (name)                                                                         \
    }
static const struct signature refused[] = {
    SIG(0, "%PDF-", "a PDF document"),
    SIG(0, "%!PS", "a PostScript document"),
    SIG(0, "8BPS", "a Photoshop document (PSD)"),
    SIG(0, "CWS", "a Flash file"),
    SIG(0, "FWS", "a Flash file"),
    SIG(0, "FUJIFILMCCD-RAW", "a camera's RAW file"),
    SIG(0, "IIU\0", "a camera's RAW file"),
    SIG(0, "IIRO", "a camera's RAW file"),
    SIG(8, "CR\2\0", "a camera's RAW file"),
    SIG(0, "II*\0", "a TIFF file (or a camera's RAW file)"),
    SIG(0, "MM\0*", "a TIFF file (or a camera's RAW file)"),
    SIG(0, "II+\0", "a TIFF file"),
    SIG(0, "MM\0+", "a TIFF file"),
    SIG(0, "II\xbc\1", "a JPEG XR file"),
    SIG(0, "\0\0\0\x0cJXL ", "a JPEG XL file"),
    SIG(0, "\xff\x0a", "a JPEG XL file"),
    SIG(0, "\0\0\0\x0cjP  ", "a JPEG 2000 file"),
    SIG(0, "\xff\x4f\xff\x51", "a JPEG 2000 file"),
    SIG(0, "\0\0\1\0", "an icon (ICO)"),
    SIG(0, "\0\0\2\0", "a cursor (CUR)"),
    SIG(0, "icns", "an icon (ICNS)"),
    SIG(0, "qoif", "a QOI file"),
    SIG(0, "DDS ", "a DDS texture"),
    SIG(0, "gimp xcf", "a GIMP document (XCF)"),
    SIG(0, "AT&TFORM", "a DjVu document"),
    SIG(0, "#?RADIANCE", "a Radiance HDR file"),
    SIG(0, "v/1\1", "an OpenEXR file"),
    SIG(8, "AVI ", "an AVI video"),
    SIG(8, "WAVE", "a WAV sound file"),
    SIG(0, "\x1a\x45\xdf\xa3", "a WebM or Matroska video"),
    SIG(0, "\0\0\1\xba", "an MPEG video"),
    SIG(0, "\0\0\1\xb3", "an MPEG video"),
    SIG(0, "FLV\1", "an FLV video"),
    SIG(0, "\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media video"),
    SIG(4, "moov", "a QuickTime video (MOV)"),
    SIG(4, "mdat", "a QuickTime video (MOV)"),
    SIG(4, "wide", "a QuickTime video (MOV)"),
    SIG(0, "OggS", "an Ogg file"),
    SIG(0, "fLaC", "a FLAC sound file"),
    SIG(0, "ID3", "an MP3 sound file"),
    SIG(0, "#EXTM3U", "a playlist (M3U)"),
    SIG(0, "ffconcat", "a playlist (ffconcat)"),
    SIG(0, "PK\3\4", "a ZIP archive (or an office document)"),
    SIG(0, "PK\5\6", "an empty ZIP archive"),
    SIG(0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an office document"),
    SIG(0, "\x1f\x8b", "a gzip file"),
    SIG(0, "BZh", "a bzip2 file"),
    SIG(0,
        "\xfd"
        "7zXZ\0",
        "an xz file"),
    SIG(0, "\x28\xb5\x2f\xfd", "a Zstandard file"),
    SIG(0, "7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    SIG(0, "Rar!\x1a\7", "a RAR archive"),
    SIG(257, "ustar", "a tar archive"),
    SIG(0,
        "\x7f"
        "ELF",
        "an executable program"),
    SIG(0, "\xca\xfe\xba\xbe", "an executable program"),
    SIG(0, "\xcf\xfa\xed\xfe", "an executable program"),
    SIG(0, "\0asm", "a WebAssembly program"),
    SIG(0, "#!", "a script"),
    SIG(0, "SQLite format 3", "an SQLite database"),
    SIG(0, "{\\rtf", "an RTF document"),
};

static bool has(const uint8_t *data, size_t len, size_t at, const char *bytes, size_t count)
{
    return len >= at + count && memcmp(data + at, bytes, count) == 0;
}
#define HAS(at, text) has(data, len, (at), (text), sizeof(text) - 1)

// The brands of ISO-BMFF files that we take; a video's brands decide over the compatible ones behind them.
static bool brand_is(const uint8_t *brand, const char *list)
{
    for (; *list; list += 4)
        if (memcmp(brand, list, 4) == 0)
            return true;
    return false;
}

#define BRANDS_AVIF "avifavis"
#define BRANDS_HEIC "heicheixheimheishevcheim"
#define BRANDS_NEUTRAL "mif1msf1mif2"

// Reads the `ftyp` box: its major brand, and for the neutral ones the compatible brands.
static const struct media_kind *find_bmff(const uint8_t *data, size_t len)
{
    if (!HAS(4, "ftyp") || len < 12)
        return NULL;
    size_t size = (size_t)data[0] << 24 | (size_t)data[1] << 16 | (size_t)data[2] << 8 | data[3];
    size_t end = size < len ? size : len;
    const uint8_t *major = data + 8;
    if (brand_is(major, BRANDS_AVIF))
        return &kinds[FORMAT_AVIF];
    if (brand_is(major, BRANDS_HEIC))
        return &kinds[FORMAT_HEIC];
    if (!brand_is(major, BRANDS_NEUTRAL))
        return NULL;
    for (size_t at = 16; at + 4 <= end && at + 4 <= MAGIC_BYTES; at += 4) {
        if (brand_is(data + at, BRANDS_AVIF))
            return &kinds[FORMAT_AVIF];
        if (brand_is(data + at, BRANDS_HEIC))
            return &kinds[FORMAT_HEIC];
    }
    return &kinds[FORMAT_HEIC];
}

const struct media_kind *magic_find(const uint8_t *data, size_t len)
{
    if (HAS(0, "\xff\xd8\xff"))
        return &kinds[FORMAT_JPEG];
    if (HAS(0, "\x89PNG\r\n\x1a\n"))
        return &kinds[FORMAT_PNG];
    if (HAS(0, "GIF87a") || HAS(0, "GIF89a"))
        return &kinds[FORMAT_GIF];
    if (HAS(0, "RIFF") && HAS(8, "WEBP"))
        return &kinds[FORMAT_WEBP];
    return find_bmff(data, len);
}

// Videos and other things in an ISO-BMFF container, by their major brand.
static const char *refused_bmff(const uint8_t *data, size_t len)
{
    if (!HAS(4, "ftyp") || len < 12)
        return NULL;
    if (HAS(8, "qt  "))
        return "a QuickTime video (MOV)";
    if (HAS(8, "M4A"))
        return "an MPEG-4 sound file";
    if (HAS(8, "crx "))
        return "a camera's RAW file";
    if (HAS(8, "jp2 ") || HAS(8, "j2ki") || HAS(8, "jpx "))
        return "a JPEG 2000 file";
    if (HAS(8, "3gp") || HAS(8, "3g2"))
        return "a 3GP video";
    return "an MP4 video";
}

// UTF-8 (the last character may be cut off) without control characters other than those of texts.
static bool is_text(const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (data[i] == 0 || data[i] == 0x7f || (data[i] < 0x20 && !strchr("\t\n\v\f\r\x1b", data[i])))
            return false;
    for (size_t cut = 0; cut < 4 && cut < len; cut++)
        if (js_utf8_valid((const char *)data, len - cut))
            return true;
    return false;
}

static const char *refused_text(const uint8_t *data, size_t len)
{
    if (HAS(0, "\xff\xfe") || HAS(0, "\xfe\xff"))
        return "a text file";
    size_t skip = HAS(0, "\xef\xbb\xbf") ? 3 : 0;
    if (!is_text(data, len < MAGIC_BYTES ? len : MAGIC_BYTES))
        return NULL;
    char head[MAGIC_BYTES + 1];
    size_t count = len - skip < MAGIC_BYTES ? len - skip : MAGIC_BYTES;
    memcpy(head, data + skip, count);
    head[count] = '\0';
    const char *start = head + strspn(head, " \t\r\n\v\f");
    if (*start == '<') {
        if (strcasestr(start, "<svg"))
            return "an SVG file";
        if (strncasecmp(start, "<!doctype html", 14) == 0 || strcasestr(start, "<html") || strcasestr(start, "<head"))
            return "an HTML page";
        return strncmp(start, "<?xml", 5) == 0 ? "an XML file" : "a text file";
    }
    if (*start == '{' || *start == '[')
        return "a JSON file";
    return "a text file";
}

const char *magic_name(const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        if (has(data, len, refused[i].offset, refused[i].bytes, refused[i].len))
            return refused[i].what;
    // Two letters are a weak signature: BMP needs its reserved zeros, a DOS program its zero bytes among binary ones.
    if (HAS(0, "BM") && HAS(6, "\0\0\0\0"))
        return "a BMP file";
    const char *what = refused_bmff(data, len);
    if (!what)
        what = refused_text(data, len);
    if (!what && HAS(0, "MZ"))
        what = "an executable program";
    return what;
}

int magic_refuse(const uint8_t *data, size_t len, struct error *err)
{
    const char *what = magic_name(data, len);
    if (!what)
        return error_set(err, ERR_UNSUPPORTED_MEDIA, "This is not a file of a known kind; " TAKEN ".");
    return error_set(err, ERR_UNSUPPORTED_MEDIA, "This is %s; " TAKEN ".", what);
}
