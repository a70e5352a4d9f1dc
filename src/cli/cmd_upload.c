// SPDX-License-Identifier: Apache-2.0
// deeplens upload PATH...
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/js.h"
#include "cli/cli.h"
#include "cli/follow.h"
#include "cli/journal.h"
#include "cli/upload_report.h"
#include "cli/uploader.h"
#include "cli/walk.h"

enum { METADATA_MAX = 8192, ROOTS_MAX = 4096, RETRIES = 10 };

struct upload_options {
    const char *tenant, *tags, *metadata, *models, *priority, *name, *duplicates;
    int64_t jobs, retries;
    bool no_thumbnail, skip_duplicate_check, wait, resume, json, quiet;
};

static const struct option_def options[] = {
    TEXT_OPTION(struct upload_options, tags, "tags", "A,B", "Tags, separated by commas"),
    TEXT_OPTION(struct upload_options, metadata, "metadata", "JSON", "A JSON object to keep with each image"),
    TEXT_OPTION(struct upload_options, models, "models", "A,B", "Models that turn the images into vectors"),
    CHOICE_OPTION(struct upload_options, priority, "priority", "high|normal|low", "What is processed first"),
    FLAG_OPTION(struct upload_options, no_thumbnail, "no-thumbnail", "Make no thumbnails"),
    FLAG_OPTION(struct upload_options, skip_duplicate_check, "skip-duplicate-check",
                "Take a file in even when the same bytes are there already"),
    CHOICE_OPTION(
        struct upload_options, duplicates, "duplicates", "keep|link|reject",
        "What becomes of a picture that looks like another: it stays, it stays and names the other, or it fails"),
    INT_OPTION(struct upload_options, jobs, "jobs", "N", 1, 64, "Files uploaded at once (4)"),
    FLAG_OPTION(struct upload_options, wait, "wait", "Wait until all are searchable or failed"),
    SWITCH_OPTION(struct upload_options, resume, "resume",
                  "Pass over what an earlier run uploaded and the server still has (on by default)"),
    INT_OPTION(struct upload_options, retries, "retries", "N", 0, 1000,
               "Tries after the first when the server is busy or away (10)"),
    TEXT_OPTION(struct upload_options, name, "name", "NAME", "The file's name, for -"),
    TEXT_OPTION(struct upload_options, tenant, "tenant", "NAME", "Whose images they become"),
    FLAG_OPTION(struct upload_options, json, "json", "Print one JSON document at the end"),
    FLAG_OPTION(struct upload_options, quiet, "quiet", "No progress and no summary; refusals are still told"),
    END_OPTION,
};

// Journals by their folder, opened as they are met.
struct journals {
    char folder[PATH_MAX];
    bool off;
    size_t count;
    const char *roots[ROOTS_MAX];
    struct journal *open[ROOTS_MAX];
};

static struct journal *journal_for(struct journals *all, const struct upload *u, const char *root)
{
    struct error err;
    for (size_t i = all->count; i-- > 0;)
        if (strcmp(all->roots[i], root) == 0)
            return all->open[i];
    if (all->off || all->count == ROOTS_MAX)
        return NULL;
    struct journal *journal = NULL;
    if (journal_open(all->folder, u->server, u->tenant, root, &journal, &err) < 0) {
        fprintf(stderr, "deeplens: This upload cannot be resumed: %s\n", err.message);
        all->off = true;
        return NULL;
    }
    all->roots[all->count] = root;
    all->open[all->count++] = journal;
    return journal;
}

// Copies stdin to an unlinked file, so that it can be sent again after a lost connection.
static int spool_stdin(uint64_t most, int *out, uint64_t *size, struct error *err)
{
    const char *folder = getenv("TMPDIR");
    char piece[65536];
    ssize_t got;
    _cleanup_close_ int fd = open(folder && *folder ? folder : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(err, ERR_IO, errno, "A temporary file for stdin cannot be made");
    *size = 0;
    while ((got = read(STDIN_FILENO, piece, sizeof piece)) != 0) {
        if (got < 0 && errno == EINTR && !upload_interrupted())
            continue;
        if (got < 0)
            return error_errno(err, ERR_IO, errno, "stdin cannot be read");
        *size += (uint64_t)got;
        if (*size > most)
            return error_set(err, ERR_BODY_TOO_LARGE, "stdin is larger than %llu bytes", (unsigned long long)most);
        if (write(fd, piece, (size_t)got) != got)
            return error_errno(err, ERR_IO, errno, "A temporary file for stdin cannot be written");
    }
    *out = take_fd(fd);
    return 0;
}

static int make_processing_options(const struct upload_options *o, struct buf *query)
{
    _cleanup_json_ json_t *value = json_object();
    if (o->models) {
        json_t *models = json_array();
        for (const char *p = o->models; *p; p += strspn(p, ",")) {
            size_t len = strcspn(p, ",");
            if (len)
                json_array_append_new(models, json_stringn(p, len));
            p += len;
        }
        json_object_set_new(value, "models", models);
    }
    js_set_str(value, "priority", o->priority);
    if (o->no_thumbnail)
        json_object_set_new(value, "generateThumbnail", json_false());
    js_set_str(value, "duplicatePolicy", o->duplicates);
    if (o->skip_duplicate_check)
        json_object_set_new(value, "skipDuplicateCheck", json_true());
    _cleanup_free_ char *text = json_object_size(value) ? js_dumps(value) : NULL;
    client_query(query, "processingOptions", text);
    return 0;
}

// What every upload says, as the end of its query.
static int make_query(const struct upload_options *o, struct buf *query, struct error *err)
{
    if (o->metadata) {
        _cleanup_json_ json_t *metadata = js_parse(o->metadata, strlen(o->metadata), err);
        if (!metadata) {
            err->code = ERR_USAGE;
            return error_prefix(err, "--metadata");
        }
        if (!json_is_object(metadata))
            return error_set(err, ERR_USAGE, "--metadata takes a JSON object, such as {\"category\": \"shoes\"}");
        if (strlen(o->metadata) > METADATA_MAX)
            return error_set(err, ERR_USAGE, "--metadata takes at most %d bytes", METADATA_MAX);
    }
    buf_puts(query, "?"); // gives way to the file's name, which begins the query
    client_query(query, "tags", o->tags);
    client_query(query, "metadata", o->metadata);
    make_processing_options(o, query);
    if (query->failed)
        return error_set(err, ERR_USAGE, "--tags, --metadata and --models are too long together");
    return 0;
}

static int find_files(const struct upload_options *o, int argc, char **argv, struct walk *walk, struct error *err)
{
    for (int i = 1; i < argc; i++) {
        bool is_stdin = strcmp(argv[i], "-") == 0;
        if (is_stdin && !o->name)
            return error_set(err, ERR_USAGE, "- (stdin) needs a name for the file: --name photo.jpg");
        if (is_stdin && argc > 2)
            return error_set(err, ERR_USAGE, "- (stdin) stands alone");
        if (!is_stdin && walk_add(walk, argv[i], err) < 0)
            return -1;
    }
    if (o->name && strcmp(argv[1], "-") != 0)
        return error_set(err, ERR_USAGE, "--name is for - (stdin)");
    return 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int make_files(struct upload *u, const struct walk *walk, struct journals *journals, struct arena *arena,
                      struct error *err)
{
    u->files = calloc(walk->count ? walk->count : 1, sizeof *u->files);
    if (!u->files)
        return error_set(err, ERR_NO_MEMORY, "Out of memory for the list of files");
    u->count = walk->count;
    u->bytes = walk->bytes;
    for (size_t i = 0; i < walk->count; i++) {
        const struct walk_file *found = &walk->files[i];
        const char *name = base_name(found->path);
        _cleanup_free_ char *clean = js_utf8(name, strlen(name));
        u->files[i] = (struct upload_file){.path = found->path,
                                           .name = arena_strdup(arena, clean),
                                           .inside = found->inside,
                                           .fd = -1,
                                           .size = found->size};
        if (!found->problem) {
            u->files[i].journal = journal_for(journals, u, found->root);
            continue;
        }
        u->files[i].outcome = UPLOAD_REFUSED;
        u->files[i].error = malloc(sizeof *u->files[i].error);
        error_set(u->files[i].error, ERR_IO, "%s", found->problem);
    }
    return 0;
}

static int add_stdin(struct upload *u, const char *name, struct error *err)
{
    int fd;
    uint64_t size;
    if (spool_stdin((uint64_t)16 << 30, &fd, &size, err) < 0)
        return -1;
    free(u->files);
    u->files = calloc(1, sizeof *u->files);
    if (!u->files) {
        close(fd);
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    }
    u->files[0] = (struct upload_file){.path = "-", .name = name, .inside = "", .fd = fd, .size = size};
    u->count = 1;
    u->bytes = size;
    return 0;
}

static void release(struct upload *u, struct journals *journals)
{
    for (size_t i = 0; i < u->count; i++) {
        free(u->files[i].error);
        if (u->files[i].fd >= 0)
            close(u->files[i].fd);
    }
    free(u->files);
    for (size_t i = 0; i < journals->count; i++)
        journal_close(journals->open[i]);
}

static int report(struct cli *cli, const struct upload_options *o, const struct upload *u, const struct walk *walk,
                  const struct error *lost)
{
    struct upload_totals totals;
    struct upload_passed_over passed = {.hidden = walk->hidden, .no_image = walk->no_image};
    upload_count(u, &totals);
    if (o->json) {
        _cleanup_json_ json_t *document = upload_json(u, &totals, &passed, o->wait);
        cli_print_json(document);
    } else if (!o->quiet) {
        upload_print(u, &totals, &passed, o->wait);
    }
    upload_print_refusals(u);
    if (u->journal_lost)
        fputs("deeplens: Not everything that was uploaded could be remembered for a later --resume\n", stderr);
    if (lost)
        fprintf(stderr, "deeplens: %s (%s)\n", lost->message, error_code_name(lost->code));
    if (upload_interrupted())
        return EXIT_INTERRUPTED;
    bool all = !totals.outcomes[UPLOAD_REFUSED] && !totals.outcomes[UPLOAD_NOT_TRIED] && !totals.failed && !lost;
    return all ? EXIT_DONE : EXIT_FAILED;
}

static int upload_all(struct cli *cli, const struct upload_options *o, struct client *client, struct upload *u,
                      const struct walk *walk)
{
    struct error err;
    struct error *lost = NULL;
    upload_catch_signals();
    if (o->wait && follow_now(client, &u->since, &err) < 0)
        return cli_fail(cli, &err);
    if (upload_run(u, &err) < 0)
        return cli_fail(cli, &err);
    if (o->wait && !u->gave_up && !upload_interrupted() && upload_wait(u, &err) < 0)
        lost = &err;
    return report(cli, o, u, walk, lost);
}

static int run(struct cli *cli, int argc, char **argv)
{
    struct upload_options o = {.jobs = 4, .resume = true, .retries = RETRIES};
    int code;
    if (cli_parse(cli, &command_upload, &o, &argc, argv, 1, -1, &code) < 0)
        return code;
    static struct journals journals; // large: not for the stack
    _cleanup_buf_ struct buf query = CLIENT_PATH;
    _cleanup_arena_ struct arena arena = {0};
    struct walk walk = {0};
    struct upload u = {.server = cli->conf->server,
                       .tenant = o.tenant,
                       .jobs = (unsigned)o.jobs,
                       .retries = (unsigned)o.retries,
                       .quiet = o.quiet,
                       .since = -1};
    struct error err;
    if (make_query(&o, &query, &err) < 0 || find_files(&o, argc, argv, &walk, &err) < 0) {
        walk_free(&walk);
        return err.code == ERR_USAGE ? cli_misused(cli, &command_upload, &err) : cli_fail(cli, &err);
    }
    u.query = query.data + 1;
    journals.off = !o.resume;
    if (o.resume && journal_folder(journals.folder, sizeof journals.folder, &err) < 0) {
        fprintf(stderr, "deeplens: This upload cannot be resumed: %s\n", err.message);
        journals.off = true;
    }
    // One question first: without a server it fails at once, with one sentence.
    _cleanup_client_ struct client *client = NULL;
    int rc = cli_connect(cli, false, o.tenant, &client, &err);
    if (rc == 0)
        rc = o.name ? add_stdin(&u, o.name, &err) : make_files(&u, &walk, &journals, &arena, &err);
    code = rc < 0 ? cli_fail(cli, &err) : upload_all(cli, &o, client, &u, &walk);
    release(&u, &journals);
    walk_free(&walk);
    return code;
}

const struct command command_upload = {
    .name = "upload",
    .usage = "PATH... [OPTIONS]",
    .summary = "Upload images and videos: files, folders with all that is in them, or - for stdin",
    .details = "In folders, hidden files and files whose names do not end like an image's or a video's (.jpg .png .gif "
               ".webp .avif .heic .mp4 .mov .webm .mkv ...) are passed over.\n"
               "When it is interrupted, the same command goes on where it was: what was acknowledged is remembered in "
               "$XDG_STATE_HOME/deeplens/uploads, by path, size and time of the last change.\n"
               "Fails when anything was refused, or, with --wait, when anything failed.",
    .examples = "deeplens upload ~/Pictures --wait\n"
                "deeplens upload --tenant shop --tags summer,sale --metadata '{\"category\": \"shoes\"}' shoes/\n"
                "curl -s https://example.com/a.jpg | deeplens upload - --name a.jpg",
    .options = options,
    .run = run,
};
