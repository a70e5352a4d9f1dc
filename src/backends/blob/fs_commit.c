// SPDX-License-Identifier: Apache-2.0
// Committing puts, in groups.
//
// A put is durable after its file was synced, then renamed into place, then its folder synced. Each sync is a flush of
// the disk and mostly a commit of the file system's journal, which has room for many: so puts that end together go
// through these three stages together. Who comes when nobody is at it leads: it takes everybody who waits, takes them
// through the stages, hands the lead to the first of those who came meanwhile, and tells its group. A lone put is
// led by its own thread at once; nobody waits for company, and there is no thread beside the callers'.
//
//   1  every file is synced: all handed to the kernel at once, so that they share a commit of the journal
//   2  those that are whole on the disk are renamed into place
//   3  every folder that got a name is synced, once
//
// Each member gets its own outcome: what fails takes along nobody but, at stage 3, those of the same folder. Killed at
// any point: what is renamed is whole, what is not lies in tmp/.
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backends/blob/fs_int.h"

struct fs_member {
    struct fs_member *next;
    struct blob_put *put;
    const char *key, *leaf;
    int folder;
    bool replaced; // there was a blob of that key before
    bool in_place; // stage 3 was passed, well or not
    bool failed;
    struct error error;
    bool leads; // written before it is queued, and before `wake` by who hands the lead over
    sem_t wake;
};

struct batch {
    struct fs_member *members[FS_GROUP_MAX];
    size_t count;
};

void fs_group_init(struct fs_group *group)
{
    pthread_mutex_init(&group->lock, NULL);
    group->tail = &group->head;
    if (syscall(SYS_io_setup, FS_GROUP_MAX, &group->aio) < 0) // then files are synced one by one
        group->aio = 0;
}

void fs_group_free(struct fs_group *group)
{
    if (group->aio)
        syscall(SYS_io_destroy, group->aio);
    pthread_mutex_destroy(&group->lock);
}

// A rename that meets a folder where the file should be, or a file where a folder should be.
static enum error_code place_code(int saved)
{
    return saved == EISDIR || saved == ENOTDIR || saved == EEXIST || saved == ENOTEMPTY ? ERR_CONFLICT : ERR_IO;
}

// ---- Stage 1: the files.

static void synced(struct fs_member *m, int saved)
{
    m->failed = saved != 0;
    if (saved)
        error_errno(&m->error, ERR_IO, saved, "\"%s\" cannot be made durable", m->key);
}

static void sync_file(struct fs_member *m)
{
    synced(m, fsync(m->put->fd) < 0 ? errno : 0);
}

// Hands the files from `from` on to the kernel as far as it takes them. Returns how many it took.
static size_t submit_files(const struct fs_group *g, const struct batch *b, size_t from)
{
    struct iocb calls[FS_GROUP_MAX], *list[FS_GROUP_MAX];
    for (size_t i = from; i < b->count; i++) {
        calls[i] = (struct iocb){
            .aio_data = i, .aio_lio_opcode = IOCB_CMD_FSYNC, .aio_fildes = (uint32_t)b->members[i]->put->fd};
        list[i] = &calls[i];
    }
    long taken = syscall(SYS_io_submit, g->aio, (long)(b->count - from), list + from);
    return taken > 0 ? (size_t)taken : 0;
}

// The outcomes must come before the files are closed, whatever happens: there is no giving up.
static void await_files(const struct fs_group *g, const struct batch *b, size_t count)
{
    struct io_event events[FS_GROUP_MAX];
    while (count) {
        long got = syscall(SYS_io_getevents, g->aio, 1L, (long)count, events, NULL);
        for (long i = 0; i < got; i++)
            synced(b->members[events[i].data], (int)-events[i].res);
        count -= got > 0 ? (size_t)got : 0;
        if (got < 0 && errno != EINTR)
            abort();
    }
}

static void sync_files(const struct fs_group *g, const struct batch *b)
{
    size_t pending = 0;
    for (size_t i = 0; i < b->count;) {
        size_t taken = g->aio && b->count > 1 ? submit_files(g, b, i) : 0;
        if (!taken) // a lone one, or one that the kernel does not take: it is told why
            sync_file(b->members[i]);
        pending += taken;
        i += taken ? taken : 1;
    }
    await_files(g, b, pending);
}

// ---- Stages 2 and 3: the names.

static void place(struct fs_member *m)
{
    struct blob_put *put = m->put;
    m->replaced = faccessat(m->folder, m->leaf, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    m->failed = renameat(put->fs->tmp, put->name, m->folder, m->leaf) < 0;
    if (m->failed)
        error_errno(&m->error, place_code(errno), errno, "\"%s\" cannot be put in its place", m->key);
    else
        put->name[0] = 0;
}

static bool same_folder(const struct fs_member *a, const struct fs_member *b)
{
    size_t len = (size_t)(a->leaf - a->key);
    return len == (size_t)(b->leaf - b->key) && memcmp(a->key, b->key, len) == 0;
}

static void sync_folder(struct batch *b, size_t first)
{
    const struct fs_member *one = b->members[first];
    int saved = fsync(one->folder) < 0 ? errno : 0;
    for (size_t i = first; i < b->count; i++) {
        struct fs_member *m = b->members[i];
        if (m->failed || m->in_place || !same_folder(m, one))
            continue;
        m->in_place = true;
        m->failed = saved != 0;
        if (!saved)
            continue;
        error_errno(&m->error, ERR_IO, saved, "The name \"%s\" cannot be made durable", m->key);
        if (!m->replaced) // what was there before is gone; then the new bytes are better than none
            unlinkat(m->folder, m->leaf, 0);
    }
}

static void commit_batch(const struct fs_group *g, struct batch *b)
{
    sync_files(g, b);
    for (size_t i = 0; i < b->count; i++)
        if (!b->members[i]->failed)
            place(b->members[i]);
    for (size_t i = 0; i < b->count; i++)
        if (!b->members[i]->failed && !b->members[i]->in_place)
            sync_folder(b, i);
}

// ---- Who leads.

static void take_batch(struct fs_group *g, struct batch *out)
{
    pthread_mutex_lock(&g->lock);
    for (out->count = 0; g->head && out->count < FS_GROUP_MAX; g->head = g->head->next)
        out->members[out->count++] = g->head;
    if (!g->head)
        g->tail = &g->head;
    pthread_mutex_unlock(&g->lock);
}

static void hand_over(struct fs_group *g)
{
    pthread_mutex_lock(&g->lock);
    struct fs_member *next = g->head; // stays the first: only a leader takes
    g->led = next != NULL;
    pthread_mutex_unlock(&g->lock);
    if (!next)
        return;
    next->leads = true; // its thread sleeps until it is woken
    sem_post(&next->wake);
}

// The leader is the first of its own batch. A member is gone once it was woken.
static void lead(struct fs_group *g, const struct fs_member *leader)
{
    struct batch b;
    take_batch(g, &b);
    commit_batch(g, &b);
    hand_over(g);
    for (size_t i = 0; i < b.count; i++)
        if (b.members[i] != leader)
            sem_post(&b.members[i]->wake);
}

// Queues `m`; true when its thread is to lead, at once. Otherwise `m` is the leader's until it is woken.
static bool enqueue(struct fs_group *g, struct fs_member *m)
{
    pthread_mutex_lock(&g->lock);
    bool leads = m->leads = !g->led;
    g->led = true;
    *g->tail = m;
    g->tail = &m->next;
    pthread_mutex_unlock(&g->lock);
    return leads;
}

static void join(struct fs_group *g, struct fs_member *m)
{
    sem_init(&m->wake, 0, 0);
    if (!enqueue(g, m))
        while (sem_wait(&m->wake) < 0) // EINTR
            ;
    if (m->leads)
        lead(g, m);
    sem_destroy(&m->wake);
}

int fs_put_commit(struct blob_put *ended, const char *key, struct error *err)
{
    _cleanup_put_ struct blob_put *put = ended;
    struct fs_member m = {.put = put, .key = key};
    if (put->broken)
        return error_set(err, ERR_IO, "A blob cannot be stored: a write of it failed");
    if (fs_key_check(key, err) < 0)
        return -1;
    _cleanup_close_ int folder = fs_open_folder(put->fs, key, true, &m.leaf);
    if (folder < 0)
        return error_errno(err, place_code(errno), errno, "The folder of \"%s\" cannot be made", key);
    m.folder = folder;
    join(&put->fs->group, &m);
    return m.failed ? error_copy(err, &m.error) : 0;
}
