// SPDX-License-Identifier: Apache-2.0
// HTTP over one kept-alive connection, in blocking steps, with next to no cost of its own.
#ifndef DEEPLENS_BENCH_WIRE_H
#define DEEPLENS_BENCH_WIRE_H

#include <stddef.h>

#include "bench.h"

struct wire {
    int fd;
    char *buf; // what was received, and is not yet used
    size_t len, room;
    size_t used; // of `buf`, by the last answer
    int status;
    char *body; // of the last answer; NUL-terminated, until the next
    size_t body_len;
};

int wire_connect(const char *address, bool nonblocking); // a socket with TCP_NODELAY, or -1
void wire_open(struct wire *w, const char *address);
void wire_close(struct wire *w);

void wire_send(struct wire *w, const void *data, size_t len);
int wire_receive(struct wire *w); // one answer; its status
int wire_get(struct wire *w, const char *path);
// Sends `data` and, right behind it as part of the body, `tail` (may be "").
int wire_post(struct wire *w, const char *path, const char *type, const void *data, size_t len, const char *tail);
// Fails unless the last answer had this status.
void wire_expect(const struct wire *w, int status, const char *what);
// A member of the last answer, by a search for its name: for the flat answers that we ask for. "" when it is not there
// or null.
void wire_member(const struct wire *w, const char *name, char *out, size_t room);

// The length of a whole answer at the start of `data` (NUL-terminated), 0 while it is not whole; -1: unreadable.
// Sets what it knows of `status`, `head_len`.
long wire_answer_len(const char *data, size_t len, int *status, size_t *head_len);

#endif
