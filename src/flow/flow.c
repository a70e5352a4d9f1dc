// SPDX-License-Identifier: Apache-2.0
// Opening a flow: topics and the pixel cache; refusing when too much waits.
#include "flow/flow.h"

#include "flow/lag.h"
#include "flow/pixel_cache.h"
#include "flow/relay.h"
#include "flow/words.h"

struct elog_topic_config flow_topic_config(const struct flow *f, enum event_topic topic)
{
    return (struct elog_topic_config){.partitions = event_topic_partitions(topic),
                                      .retention_ms = event_topic_retention_ms(topic),
                                      .retention_bytes =
                                          f->log.ops->caps & ELOG_RETAINS ? f->settings.log_retention_bytes : -1,
                                      .cleanup = "delete"};
}

int flow_topics_ensure(struct flow *f, struct error *err)
{
    for (int t = 0; t < TOPIC_COUNT; t++) {
        enum event_topic topic = (enum event_topic)t;
        const struct elog_topic_config config = flow_topic_config(f, topic);
        struct error why = {0};
        if (f->log.ops->topic_create(f->log.state, event_topic_name(topic), &config, &why) < 0 &&
            why.code != ERR_EXISTS)
            return error_copy(err, &why);
    }
    return 0;
}

int flow_open(struct flow *f, struct error *err)
{
    if (flow_models_open(f, err) < 0)
        return -1;
    // A log elsewhere may be away just now: the relay makes the topics when it is there (G6).
    struct error why = {0};
    if (flow_topics_ensure(f, &why) < 0 && !(why.outage && !(f->log.ops->caps & ELOG_TRANSACTIONAL)))
        return error_copy(err, &why);
    f->cache = pixel_cache_new(f->settings.pixel_cache);
    f->lags = lag_history_new();
    words_open(f);
    return 0;
}

void flow_open_log(struct flow *f)
{
    f->lags = lag_history_new();
}

void flow_close(struct flow *f)
{
    pixel_cache_free(f->cache);
    lag_history_free(f->lags);
    words_close(f->words);
    f->words = NULL;
    f->cache = NULL;
    f->lags = NULL;
}

int flow_check_outbox(struct flow *f, struct error *err)
{
    if (!f->relay || relay_waiting(f->relay) < f->settings.outbox_max)
        return 0;
    struct error why = {0};
    relay_health(f->relay, NULL, &why);
    return error_set(err, ERR_OVERLOADED, "%llu events wait for the event log, as many as may: try again later. %s",
                     (unsigned long long)relay_waiting(f->relay), why.message);
}
