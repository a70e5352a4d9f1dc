// SPDX-License-Identifier: Apache-2.0
// What the files of administration share.
#ifndef DEEPLENS_FLOW_ADMIN_INT_H
#define DEEPLENS_FLOW_ADMIN_INT_H

#include "base/cleanup.h"
#include "base/js.h"
#include "flow/admin.h"

json_t *admin_record_json(const struct elog_record *r);
json_t *admin_text_json(const char *text); // keys and headers are any bytes; NULL stays NULL

// Puts the items back that are on their way (of the maintenance topic: those that are being deleted; of the messages':
// messages), as if the topic
// were empty; with `untouched_ms` only those that nobody touched since then. `dry_run`: only counts them.
int admin_put_back(struct flow *f, enum event_topic topic, int64_t untouched_ms, bool dry_run, uint64_t *items,
                   struct error *err);

// ERR_CONFLICT names a group that has members and reads the topic.
int admin_check_unread(struct flow *f, const char *topic, struct error *err);

#endif
