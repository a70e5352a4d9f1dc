// SPDX-License-Identifier: Apache-2.0
// What of alerts (obs/alert.h) is kept in the records: silences, and the conditions that were told of and are not over,
// so that a restart neither tells of them anew nor forgets to say when they end.
#ifndef DEEPLENS_FLOW_ALERTS_H
#define DEEPLENS_FLOW_ALERTS_H

#include "flow/flow.h"

struct silence_wish {
    const char *alert;   // "consumer.lag"; NULL: all
    const char *subject; // NULL: all
    const char *comment; // NULL: none
    int64_t duration_ms;
};

// Gives flow->alerts what is kept. Then again now and then: others may have changed it; and keeps what is told of now.
int flow_alerts_open(struct flow *f, struct error *err);
int flow_alerts_look(struct flow *f, struct error *err);

// Any thread. Answers as the API gives them: new.
int flow_alerts_list(struct flow *f, json_t **out, struct error *err);
// Waits for each channel. ERR_CONFLICT: there is none.
int flow_alerts_test(struct flow *f, json_t **out, struct error *err);
// Durable. ERR_INVALID, ERR_CONFLICT when there are ALERT_SILENCES.
int flow_alerts_silence(struct flow *f, const struct silence_wish *wish, json_t **out, struct error *err);
int flow_alerts_unsilence(struct flow *f, const char *id, struct error *err); // ERR_NOT_FOUND

#endif
