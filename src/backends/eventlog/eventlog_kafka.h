// SPDX-License-Identifier: Apache-2.0
// The event log on Apache Kafka, by librdkafka (2.0.2 and later). `location` of `open` is lines of "name=value":
// librdkafka's own properties ("bootstrap.servers=…", "security.protocol=…") and
//   deeplens.instance     a stable name of this process in its groups (group.instance.id): when it comes back it gets
//                         its partitions back at once, and nobody else's move. Empty: none
//   deeplens.replication  copies of topics that are made; 0: the brokers' default
// Properties that the port's contract rests on are refused, with a sentence. `meta` is not used.
//
// The brokers keep records by their topic's retention, read or not. Nothing is asked of the brokers in `open`: they may
// be down.
#ifndef DEEPLENS_BACKENDS_EVENTLOG_KAFKA_H
#define DEEPLENS_BACKENDS_EVENTLOG_KAFKA_H

#include "ports/eventlog.h"

extern const struct elog_ops elog_kafka;

#endif
