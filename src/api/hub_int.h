// SPDX-License-Identifier: Apache-2.0
// What the hub's files share: hub.c keeps the connections, hub_transport.c carries their bytes, hub_protocol.c knows
// what the messages mean.
//
// A connection belongs to the registry until its transport ends (or no poll comes any more), and to each request that
// works on it meanwhile. Locks, in this order: live's, hub.lock, hub_conn.lock, the transport's.
#ifndef DEEPLENS_API_HUB_INT_H
#define DEEPLENS_API_HUB_INT_H

#include <pthread.h>

#include "api/api_int.h"

#define MARK "\x1e" // ends each message

enum {
    TOKEN_LEN = 32, // hexadecimal digits
    BUCKETS = 1024,
    CONNS_MAX = 20000,
    IDS_MAX = 10000,
    WAITING_MAX = 512 * 1024,
    UNUSED_US = 30000000,   // after negotiate, or the last poll
    POLL_US = 25000000,     // that a poll is held
    MESSAGE_ROOM = 4 << 20, // one message
};

enum transport { UNKNOWN, SOCKET, EVENTS, POLLING };

struct hub_conn {
    struct hub_conn *next; // of the same bucket; under hub.lock, as `used`
    struct hub *hub;
    char token[TOKEN_LEN + 1];
    char tenant[64];
    int users;
    bool listed;

    pthread_mutex_t receiving; // one message after the other; guards `in`
    struct buf in;             // a message that is not whole yet

    pthread_mutex_t lock; // guards what follows
    enum transport transport;
    struct http_socket *socket;
    struct http_stream *stream; // of events, or the poll that waits
    int64_t stream_since_us;
    int64_t seen_us;
    struct live_follower *follower;
    bool greeted, over;
    struct buf out; // of polling: what waits for the next poll
    bool all;
    char (*ids)[ID_MAX]; // sorted
    size_t id_count;
};

struct hub {
    struct live *live;
    pthread_mutex_t lock;
    struct hub_conn *buckets[BUCKETS];
    size_t count;
};

// --- The registry (hub.c)

// ERR_OVERLOADED. Listed, and the caller's until hub_conn_drop.
struct hub_conn *hub_conn_new(struct hub *hub, const char *tenant, struct error *err);
struct hub_conn *hub_conn_find(struct hub *hub, const char *token); // NULL: there is none; the caller's until …_drop
void hub_conn_drop(struct hub_conn *c);
void hub_conn_end(struct hub_conn *c); // nothing finds it any more; without locks
void hub_sweep(struct hub *hub);       // ends those whose client never came, or polls no more

// --- Transports (hub_transport.c); c->lock held

int hub_send(struct hub_conn *c, const char *text, size_t len); // messages with their marks. -1: there is no room
void hub_beat(struct hub_conn *c);

// --- The protocol (hub_protocol.c); without locks

void hub_received(struct hub_conn *c, const char *data, size_t len); // any piece of what the client sends

#endif
