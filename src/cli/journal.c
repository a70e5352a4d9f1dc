// SPDX-License-Identifier: Apache-2.0
// The journal of uploads. It is not synced: what a crash of the machine takes from its end is uploaded again, and the
// server says that it is there already.
#include "cli/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/id.h"
#include "cli/client.h"
#include "cli/files.h"

enum { NAME_HEX = 32, LINE_BYTES = PATH_MAX * 3 + 256, ENTRIES_MAX = 20000000 };

struct entry {
    const char *inside; // percent-encoded; NULL: a free slot
    const char *id;
    uint64_t size;
    int64_t mtime_ns;
};

struct journal {
    int fd;
    struct entry *slots; // open addressing, at most half full
    size_t cap, count;
    struct arena arena;
};

int journal_folder(char *out, size_t size, struct error *err)
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    int len;
    if (state && state[0] == '/')
        len = snprintf(out, size, "%s/deeplens/uploads", state);
    else if (home && home[0] == '/')
        len = snprintf(out, size, "%s/.local/state/deeplens/uploads", home);
    else
        return error_set(err, ERR_IO, "Neither XDG_STATE_HOME nor HOME says where to remember uploads");
    return len > 0 && (size_t)len < size ? 0 : error_set(err, ERR_IO, "The name of the state folder is too long");
}

static struct entry *slot_of(struct entry *slots, size_t cap, const char *inside)
{
    size_t at = hash64(inside, strlen(inside)) & (cap - 1);
    while (slots[at].inside && strcmp(slots[at].inside, inside) != 0)
        at = (at + 1) & (cap - 1);
    return &slots[at];
}

static int grow(struct journal *j)
{
    size_t cap = j->cap ? j->cap * 2 : 1024;
    struct entry *slots = calloc(cap, sizeof *slots);
    if (!slots)
        return -1;
    for (size_t i = 0; i < j->cap; i++)
        if (j->slots[i].inside)
            *slot_of(slots, cap, j->slots[i].inside) = j->slots[i];
    free(j->slots);
    j->slots = slots;
    j->cap = cap;
    return 0;
}

// Remembers one line; a line that is none is passed over.
static void load_line(struct journal *j, char *line)
{
    char id[ID_MAX], inside[LINE_BYTES];
    uint64_t size;
    int64_t mtime_ns;
    if (sscanf(line, "%63s %" SCNu64 " %" SCNd64 " %12543s", id, &size, &mtime_ns, inside) != 4)
        return;
    if (j->count >= ENTRIES_MAX || (j->count * 2 >= j->cap && grow(j) < 0))
        return;
    struct entry *slot = slot_of(j->slots, j->cap, inside);
    if (!slot->inside)
        j->count++;
    *slot = (struct entry){
        .inside = slot->inside ? slot->inside : arena_strdup(&j->arena, inside),
        .id = arena_strdup(&j->arena, id),
        .size = size,
        .mtime_ns = mtime_ns,
    };
}

// Reads all whole lines; `*torn` when the last one has no end.
static int load(struct journal *j, const char *path, bool *torn, struct error *err)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return error_errno(err, ERR_IO, errno, "%.200s cannot be read", path);
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    while ((len = getline(&line, &room, file)) > 0) {
        *torn = line[len - 1] != '\n';
        if (!*torn && len < LINE_BYTES && strlen(line) == (size_t)len)
            load_line(j, line);
    }
    free(line);
    bool failed = ferror(file);
    fclose(file);
    return failed ? error_set(err, ERR_IO, "%.200s cannot be read", path) : 0;
}

static void make_path(const char *folder, const char *server, const char *tenant, const char *root, char *out,
                      size_t size)
{
    struct hash_state h;
    char hex[HASH_HEX];
    hash_init(&h);
    hash_update(&h, server, strlen(server) + 1);
    hash_update(&h, tenant ? tenant : "", tenant ? strlen(tenant) + 1 : 1);
    hash_update(&h, root, strlen(root) + 1);
    hash_final(&h, hex);
    snprintf(out, size, "%s/%.*s.log", folder, NAME_HEX, hex);
}

int journal_open(const char *folder, const char *server, const char *tenant, const char *root, struct journal **out,
                 struct error *err)
{
    char path[PATH_MAX];
    bool torn = false;
    if (files_make_folders(folder, err) < 0)
        return -1;
    make_path(folder, server, tenant, root, path, sizeof path);
    struct journal *j = calloc(1, sizeof *j);
    if (!j)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    j->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (j->fd < 0)
        error_errno(err, ERR_IO, errno, "%.200s cannot be written", path);
    if (j->fd < 0 || grow(j) < 0 || load(j, path, &torn, err) < 0) {
        journal_close(j);
        return -1;
    }
    if (torn && write(j->fd, "\n", 1) != 1) {
        journal_close(j);
        return error_errno(err, ERR_IO, errno, "%.200s cannot be written", path);
    }
    *out = j;
    return 0;
}

void journal_close(struct journal *j)
{
    if (!j)
        return;
    if (j->fd >= 0)
        close(j->fd);
    free(j->slots);
    arena_free(&j->arena);
    free(j);
}

const char *journal_find(const struct journal *j, const char *inside, uint64_t size, int64_t mtime_ns)
{
    _cleanup_buf_ struct buf coded = BUF_INIT(LINE_BYTES);
    client_segment(&coded, inside);
    if (coded.failed || !coded.data)
        return NULL;
    const struct entry *entry = slot_of(j->slots, j->cap, coded.data);
    return entry->inside && entry->size == size && entry->mtime_ns == mtime_ns ? entry->id : NULL;
}

int journal_add(struct journal *j, const char *inside, uint64_t size, int64_t mtime_ns, const char *id,
                struct error *err)
{
    _cleanup_buf_ struct buf line = BUF_INIT(LINE_BYTES);
    buf_printf(&line, "%s %" PRIu64 " %" PRId64 " ", id, size, mtime_ns);
    client_segment(&line, inside);
    buf_puts(&line, "\n");
    if (line.failed)
        return error_set(err, ERR_IO, "The path is too long to be remembered");
    ssize_t wrote = write(j->fd, line.data, line.len);
    if (wrote != (ssize_t)line.len)
        return error_errno(err, ERR_IO, wrote < 0 ? errno : ENOSPC, "What was uploaded cannot be remembered");
    return 0;
}
