// SPDX-License-Identifier: Apache-2.0
// The relay. An event's row is written with the state change that it tells; this thread brings it to the log.
//
// The commit that put rows wakes the thread. It reads on behind the last row that it read, hands the rows to the log
// one after the other, and does not wait: thousands may be on their way, and the log keeps the order of each partition.
// When the log says that rows are durable, they are removed, many at once. So an event may be published twice (killed
// in between: the inbox of whoever consumes it knows), but never lost, and never out of order.
//
//   window   the rows that were handed over and not removed yet, oldest first; bounded in number and bytes
//   refused  the log did not take a row (its topic is gone, it is shut): nothing more is handed over until all that is
//   on
//            its way is settled; what was delivered is removed, and reading begins at the oldest row again
//
// An outage fails nothing: rows wait in the log's client, then in the window, then in the outbox. How many wait is
// looked up every now and then while the window is not empty; above the limit uploads are refused (flow_check_outbox).
#include "flow/relay.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "obs/metrics.h"

enum {
    WINDOW_ROWS = 16384,
    WINDOW_BYTES = 64 << 20,
    READ_ROWS = 1000,
    READ_BYTES = 4 << 20,
    REMOVE_ROWS = 2000,      // delivered before they are removed at once…
    REMOVE_AFTER_US = 50000, // … or so long after the first
    COUNT_US = 1000000,      // how often what waits is counted
    AGAIN_US = 500000,       // after a refusal
    STOP_US = 3000000,       // that rows on their way have at the end
    FULL_US = 2000           // before a full log is asked again
};

enum state { SENT, DELIVERED, REFUSED };

struct slot {
    struct relay *relay;
    int64_t id;
    uint32_t bytes;
    _Atomic enum state state;
};

struct relay {
    struct flow *flow;
    pthread_t thread;
    atomic_ulong waiting;

    pthread_mutex_t lock; // guards what follows
    pthread_cond_t wake;
    bool put;       // rows were committed
    bool stopping;  //
    size_t on_way;  // rows that the log has not spoken of yet; each holds the relay
    size_t settled; // rows that it has, since the thread last looked
    bool refused;   //
    bool abandoned; // the thread is gone: whoever of `on_way` is last frees
    struct error why;

    // The thread's own.
    struct slot *slots; // a ring of WINDOW_ROWS
    size_t first, count, bytes;
    int64_t after;        // the last row read
    int64_t delivered_us; // when the oldest delivered row that is not removed was noticed; 0: none
    int64_t count_us;     // when what waits is counted next
    bool topics_known;
};

// ---- Into the outbox

static size_t headers_size(const struct elog_record *r)
{
    size_t size = 0;
    for (size_t i = 0; i < r->header_count; i++)
        size += strlen(r->headers[i].name) + strlen(r->headers[i].value) + 2;
    return size;
}

// name NUL value NUL …
static char *headers_join(const struct elog_record *r, size_t size)
{
    char *text = malloc(size + 1), *at = text;
    if (!text)
        abort();
    for (size_t i = 0; i < r->header_count; i++) {
        at = stpcpy(at, r->headers[i].name) + 1;
        at = stpcpy(at, r->headers[i].value) + 1;
    }
    return text;
}

static size_t headers_split(const struct meta_outbox *row, struct elog_header out[ELOG_HEADERS_MAX])
{
    const char *at = row->headers, *end = at + row->headers_len;
    size_t count = 0;
    for (; at < end && count < ELOG_HEADERS_MAX; count++) {
        out[count].name = at;
        out[count].value = at + strlen(at) + 1;
        at = out[count].value + strlen(out[count].value) + 1;
    }
    return count;
}

int outbox_put(struct flow *f, struct meta_tx *tx, const struct elog_record *record, struct error *err)
{
    size_t size = headers_size(record);
    _cleanup_free_ char *headers = headers_join(record, size);
    const struct meta_outbox row = {.timestamp_ms = record->timestamp_ms ? record->timestamp_ms : clock_now_ms(),
                                    .topic = record->topic,
                                    .key = record->key,
                                    .headers = headers,
                                    .headers_len = size,
                                    .value = record->value,
                                    .value_len = record->value_len};
    return f->meta.ops->outbox_put(tx, &row, err);
}

// ---- What the log and the store say

static void relay_free(struct relay *r)
{
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->wake);
    free(r->slots);
    free(r);
}

static void settled(void *arg, const struct error *err) // on the log's thread
{
    struct slot *slot = arg;
    struct relay *r = slot->relay;
    pthread_mutex_lock(&r->lock);
    slot->state = err ? REFUSED : DELIVERED;
    if (err) {
        r->refused = true;
        r->why = *err;
    }
    r->settled++;
    r->on_way--;
    if (r->settled == 1 || !r->on_way || err)
        pthread_cond_signal(&r->wake);
    bool last = r->abandoned && !r->on_way;
    pthread_mutex_unlock(&r->lock);
    if (last)
        relay_free(r);
}

static void rows_put(void *arg) // on the store's thread
{
    struct relay *r = arg;
    pthread_mutex_lock(&r->lock);
    r->put = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
}

static void fail(struct relay *r, const struct error *why)
{
    pthread_mutex_lock(&r->lock);
    bool news = !r->refused && strcmp(r->why.message, why->message) != 0;
    r->refused = true;
    r->why = *why;
    pthread_mutex_unlock(&r->lock);
    if (news)
        log_warn("relay", "events wait in the outbox: %s", why->message);
}

// ---- Removing

static struct slot *slot_at(struct relay *r, size_t i)
{
    return &r->slots[(r->first + i) % WINDOW_ROWS];
}

struct removal {
    struct relay *relay;
    size_t count; // rows at the front of the window, of which those that were delivered go
};

static int remove_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    const struct removal *removal = arg;
    struct relay *r = removal->relay;
    for (size_t i = 0, n; i < removal->count; i += n ? n : 1) {
        for (n = 0; i + n < removal->count && slot_at(r, i + n)->state == DELIVERED;)
            n++;
        if (n && r->flow->meta.ops->outbox_remove(tx, slot_at(r, i)->id, slot_at(r, i + n - 1)->id, err) < 0)
            return -1;
    }
    return 0;
}

static int remove_front(struct relay *r, size_t count)
{
    const struct meta *meta = &r->flow->meta;
    struct removal removal = {r, count};
    struct error why = {0};
    if (meta->ops->write(meta->state, META_RELAXED, remove_tx, &removal, &why) < 0) {
        fail(r, &why);
        return -1;
    }
    for (; count; count--) {
        r->bytes -= slot_at(r, 0)->bytes;
        r->first = (r->first + 1) % WINDOW_ROWS;
        r->count--;
    }
    r->delivered_us = 0;
    return 0;
}

// Removes the delivered rows at the front, when there are enough of them or they are old enough.
static void remove_delivered(struct relay *r, bool now)
{
    size_t n = 0;
    while (n < r->count && slot_at(r, n)->state == DELIVERED)
        n++;
    if (n && !r->delivered_us)
        r->delivered_us = clock_mono_us();
    if (n && (now || n >= REMOVE_ROWS || clock_mono_us() - r->delivered_us >= REMOVE_AFTER_US))
        remove_front(r, n);
}

// ---- Reading and handing over

struct reading {
    struct relay *relay;
    struct arena arena;
    size_t limit, bytes;
    struct meta_outbox *rows;
    size_t count;
};

static int read_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct reading *reading = arg;
    return reading->relay->flow->meta.ops->outbox_read(tx, &reading->arena, reading->relay->after, reading->limit,
                                                       reading->bytes, &reading->rows, &reading->count, err);
}

static int hand_over(struct relay *r, const struct meta_outbox *row, struct error *err)
{
    struct slot *slot = slot_at(r, r->count);
    struct elog_header headers[ELOG_HEADERS_MAX];
    const struct elog_record record = {.topic = row->topic,
                                       .timestamp_ms = row->timestamp_ms,
                                       .key = row->key,
                                       .value = row->value,
                                       .value_len = row->value_len,
                                       .headers = headers,
                                       .header_count = headers_split(row, headers)};
    const struct eventlog *log = &r->flow->log;
    slot->relay = r;
    slot->id = row->id;
    slot->bytes = (uint32_t)row->value_len;
    slot->state = SENT;
    pthread_mutex_lock(&r->lock);
    r->on_way++;
    pthread_mutex_unlock(&r->lock);
    if (log->ops->publish_async(log->state, &record, settled, slot, err) < 0) {
        pthread_mutex_lock(&r->lock);
        r->on_way--;
        pthread_mutex_unlock(&r->lock);
        return -1;
    }
    r->count++;
    r->bytes += slot->bytes;
    r->after = row->id;
    return 0;
}

enum more { NO_MORE, MORE, FULL };

// Hands the next rows over. FULL: the log or the window holds as much as it may.
static enum more hand_over_more(struct relay *r)
{
    if (r->count == WINDOW_ROWS || r->bytes >= WINDOW_BYTES)
        return FULL;
    size_t room = WINDOW_ROWS - r->count, bytes = WINDOW_BYTES - r->bytes;
    struct reading reading = {
        .relay = r, .limit = room < READ_ROWS ? room : READ_ROWS, .bytes = bytes < READ_BYTES ? bytes : READ_BYTES};
    const struct meta *meta = &r->flow->meta;
    struct error why = {0};
    enum more more = NO_MORE;
    if (meta->ops->read(meta->state, read_tx, &reading, &why) < 0) {
        fail(r, &why);
    } else {
        more = reading.count ? MORE : NO_MORE;
        for (size_t i = 0; i < reading.count && more == MORE; i++)
            if (hand_over(r, &reading.rows[i], &why) < 0) {
                more = FULL;
                if (why.code != ERR_OVERLOADED)
                    fail(r, &why);
            }
    }
    arena_free(&reading.arena);
    return more;
}

// ---- What waits

struct depth {
    struct flow *flow;
    uint64_t count;
};

static int depth_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct depth *depth = arg;
    return depth->flow->meta.ops->outbox_depth(tx, &depth->count, err);
}

static void count_waiting(struct relay *r)
{
    struct depth depth = {.flow = r->flow};
    if (r->flow->meta.ops->read(r->flow->meta.state, depth_tx, &depth, NULL) == 0)
        r->waiting = depth.count;
    metric_set(M_OUTBOX, NULL, (int64_t)r->waiting);
}

static void count_when_due(struct relay *r)
{
    if (clock_mono_us() < r->count_us)
        return;
    count_waiting(r);
    r->count_us = clock_mono_us() + COUNT_US;
}

uint64_t relay_waiting(struct relay *r)
{
    return r->waiting;
}

int relay_health(struct relay *r, uint64_t *waiting, struct error *err)
{
    const struct eventlog *log = &r->flow->log;
    if (waiting)
        *waiting = r->waiting;
    if (log->ops->health(log->state, err) < 0)
        return -1;
    pthread_mutex_lock(&r->lock);
    int rc = r->why.code ? error_set(err, ERR_UNAVAILABLE, "events wait in the outbox: %s", r->why.message) : 0;
    pthread_mutex_unlock(&r->lock);
    return rc;
}

// ---- The thread

static void await(struct relay *r, int64_t until_us)
{
    struct timespec until = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
    pthread_cond_clockwait(&r->wake, &r->lock, CLOCK_MONOTONIC, &until);
}

static bool know_topics(struct relay *r)
{
    struct error why = {0};
    if (r->topics_known)
        return true;
    if (flow_topics_ensure(r->flow, &why) < 0) {
        fail(r, &why);
        return false;
    }
    r->topics_known = true;
    return true;
}

// After a refusal: waits until nothing is on its way, removes what was delivered, and begins at the oldest row again.
static void begin_again(struct relay *r)
{
    pthread_mutex_lock(&r->lock);
    while (r->on_way && !r->stopping) { // for as long as an outage lasts
        await(r, clock_mono_us() + AGAIN_US);
        pthread_mutex_unlock(&r->lock);
        count_when_due(r);
        pthread_mutex_lock(&r->lock);
    }
    bool quiet = !r->on_way;
    pthread_mutex_unlock(&r->lock);
    if (!quiet || remove_front(r, r->count) < 0)
        return;
    r->after = 0;
    r->topics_known = false;
    pthread_mutex_lock(&r->lock);
    r->refused = false;
    if (!r->stopping)
        await(r, clock_mono_us() + AGAIN_US);
    pthread_mutex_unlock(&r->lock);
}

// Whether there is anything to do; waits otherwise, or until something is due.
static bool await_work(struct relay *r, enum more more)
{
    int64_t now = clock_mono_us(), until = r->count_us;
    pthread_mutex_lock(&r->lock);
    if (r->delivered_us && r->delivered_us + REMOVE_AFTER_US < until)
        until = r->delivered_us + REMOVE_AFTER_US;
    if (more == FULL && !r->settled && now + FULL_US < until)
        until = now + FULL_US;
    if (!r->put && !r->settled && !r->refused && !r->stopping && more != MORE && until > now)
        await(r, until);
    bool read = r->put || more != NO_MORE;
    r->put = false;
    r->settled = 0;
    pthread_mutex_unlock(&r->lock);
    return read;
}

static bool is_stopping(struct relay *r, bool *refused)
{
    pthread_mutex_lock(&r->lock);
    bool stopping = r->stopping;
    *refused = r->refused;
    pthread_mutex_unlock(&r->lock);
    return stopping;
}

static void end_well(struct relay *r)
{
    int64_t until = clock_mono_us() + STOP_US;
    pthread_mutex_lock(&r->lock);
    while (r->on_way && clock_mono_us() < until && r->flow->log.ops->health(r->flow->log.state, NULL) == 0)
        await(r, clock_mono_us() + 50000);
    pthread_mutex_unlock(&r->lock);
    remove_delivered(r, true);
}

static void clear_trouble(struct relay *r)
{
    pthread_mutex_lock(&r->lock);
    bool over = r->why.code && !r->refused;
    if (over)
        r->why = (struct error){0};
    pthread_mutex_unlock(&r->lock);
    if (over)
        log_info("relay", "events go out again");
}

static void *run(void *arg)
{
    struct relay *r = arg;
    enum more more = MORE; // what the last process left
    bool refused, read = true;
    pthread_setname_np(pthread_self(), "relay");
    while (!is_stopping(r, &refused)) {
        count_when_due(r); // whatever state the log is in: the limit holds then too (G8)
        if (refused || !know_topics(r)) {
            begin_again(r);
            more = MORE;
            continue;
        }
        if (read)
            more = hand_over_more(r);
        size_t before = r->count;
        remove_delivered(r, false);
        if (r->count < before)
            clear_trouble(r);
        read = await_work(r, more);
    }
    end_well(r);
    return NULL;
}

int relay_start(struct flow *f, struct relay **out, struct error *err)
{
    struct relay *r = calloc(1, sizeof *r);
    if (!r || !(r->slots = calloc(WINDOW_ROWS, sizeof *r->slots)))
        abort();
    r->flow = f;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->wake, NULL);
    f->meta.ops->outbox_watch(f->meta.state, rows_put, r);
    count_waiting(r);
    if (pthread_create(&r->thread, NULL, run, r) != 0) {
        f->meta.ops->outbox_watch(f->meta.state, NULL, NULL);
        relay_free(r);
        return error_set(err, ERR_NO_MEMORY, "The relay's thread cannot be started");
    }
    *out = r;
    return 0;
}

void relay_stop(struct relay *r)
{
    if (!r)
        return;
    r->flow->meta.ops->outbox_watch(r->flow->meta.state, NULL, NULL);
    pthread_mutex_lock(&r->lock);
    r->stopping = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    pthread_mutex_lock(&r->lock);
    r->abandoned = true;
    bool last = !r->on_way;
    pthread_mutex_unlock(&r->lock);
    if (last)
        relay_free(r);
}
