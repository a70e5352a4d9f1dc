// SPDX-License-Identifier: Apache-2.0
// A network that breaks at a chosen place: a proxy on 127.0.0.1 in front of a PostgreSQL server, which counts the
// messages of its protocol (without TLS) and ends a connection at one of them.
#ifndef DEEPLENS_TESTS_CONTRACT_CUTTER_H
#define DEEPLENS_TESTS_CONTRACT_CUTTER_H

#include <stdbool.h>

struct cutter;

enum cutter_side { CUT_TO_SERVER, CUT_TO_CLIENT };

struct cutter *cutter_start(int target_port, int *port); // NULL: it cannot
void cutter_stop(struct cutter *c);
void cutter_close(struct cutter *c); // ends all connections, and takes no more

// Some connection ends when `after` more messages have gone to that side, before the one behind
// them; what went before arrives.
void cutter_arm(struct cutter *c, enum cutter_side side, int after);
bool cutter_disarm(struct cutter *c); // true: it has cut since it was armed

#endif
