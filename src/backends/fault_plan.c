// SPDX-License-Identifier: Apache-2.0
// The plan of faults: reading it, and counting calls against it.
#include <ctype.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/fault.h"
#include "backends/fault_int.h"
#include "base/cleanup.h"
#include "base/clock.h"

enum action { FAIL, ABORT, KILL, SLEEP };
enum when { ALL, ONLY, FROM, EVERY };
enum { RULE_TEXT = 128, SLEEP_MAX_MS = 3600000 };

struct rule {
    const char *call; // in `calls`
    bool after;
    enum action action;
    enum error_code code;
    int sleep_ms;
    enum when when;
    uint64_t n;
    _Atomic uint64_t count;
};

static struct rule rules[FAULT_RULES_MAX];
static size_t rule_count;

static const struct {
    const char *name;
    bool fails;
} calls[] = {
#define CALL(port, call, ...) {#port "." #call, true},
#define VOID(port, call, ...) {#port "." #call, false},
#define ENDS CALL
#define ASYNC CALL
#include "backends/calls/all.def"
#undef CALL
#undef ENDS
#undef VOID
#undef ASYNC
};

static int parse_count(const char *text, uint64_t *n)
{
    char *end;
    if (!isdigit((unsigned char)*text))
        return -1;
    *n = strtoull(text, &end, 10);
    return *end || !*n ? -1 : 0;
}

// Reads what stands behind '@': "3", "3+", "%5".
static int parse_when(char *text, struct rule *r, struct error *err)
{
    size_t len = strlen(text);
    r->when = *text == '%' ? EVERY : len && text[len - 1] == '+' ? FROM : ONLY;
    if (r->when == FROM)
        text[len - 1] = 0;
    if (parse_count(text + (r->when == EVERY), &r->n) < 0)
        return error_set(err, ERR_CONFIG, "behind @ goes N, N+ or %%N, and N counts from 1");
    return 0;
}

static int parse_action(const char *text, bool can_fail, struct rule *r, struct error *err)
{
    uint64_t ms;
    r->action = strcmp(text, "abort") == 0        ? ABORT
                : strcmp(text, "kill") == 0       ? KILL
                : strncmp(text, "sleep=", 6) == 0 ? SLEEP
                                                  : FAIL;
    if (r->action == SLEEP) {
        if (parse_count(text + 6, &ms) < 0 || ms > SLEEP_MAX_MS)
            return error_set(err, ERR_CONFIG, "sleep= takes milliseconds, from 1 to %d", SLEEP_MAX_MS);
        r->sleep_ms = (int)ms;
    }
    if (r->action != FAIL)
        return 0;
    r->code = error_code_parse(text);
    if (!r->code)
        return error_set(err, ERR_CONFIG, "\"%s\" is no error code, nor abort, kill or sleep=MS", text);
    return can_fail ? 0 : error_set(err, ERR_CONFIG, "%s cannot fail", r->call);
}

static int parse_rule(char *text, struct rule *r, struct error *err)
{
    char *action = strchr(text, ':');
    if (!action)
        return error_set(err, ERR_CONFIG, "it is not PORT.FUNCTION:ACTION");
    *action++ = 0;
    bool can_fail = false;
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        if (strcmp(calls[i].name, text) == 0) {
            r->call = calls[i].name;
            can_fail = calls[i].fails;
        }
    }
    if (!r->call)
        return error_set(err, ERR_CONFIG, "there is no call \"%s\"", text);
    r->after = strncmp(action, "after:", 6) == 0;
    if (r->after)
        action += 6;
    char *when = strchr(action, '@');
    if (when) {
        *when++ = 0;
        if (parse_when(when, r, err) < 0)
            return -1;
    }
    return parse_action(action, can_fail, r, err);
}

int fault_setup(const char *plan, struct error *err)
{
    struct rule parsed[FAULT_RULES_MAX] = {0};
    size_t count = 0;
    for (const char *p = plan ? plan : ""; *p; count++) {
        size_t len = strcspn(p, ",");
        char text[RULE_TEXT];
        if (count == FAULT_RULES_MAX || len >= sizeof text)
            return error_set(err, ERR_CONFIG, "The plan of faults is too long: at most %d rules of %d bytes",
                             FAULT_RULES_MAX, RULE_TEXT - 1);
        memcpy(text, p, len);
        text[len] = 0;
        if (parse_rule(text, &parsed[count], err) < 0)
            return error_prefix(err, "The fault \"%.*s\" cannot be planned", (int)len, p);
        p += len + (p[len] == ',');
    }
    memcpy(rules, parsed, sizeof rules);
    rule_count = count;
    return 0;
}

bool fault_plans_port(const char *port)
{
    size_t len = strlen(port);
    for (size_t i = 0; i < rule_count; i++)
        if (strncmp(rules[i].call, port, len) == 0 && rules[i].call[len] == '.')
            return true;
    return false;
}

static bool applies(struct rule *r)
{
    uint64_t n = atomic_fetch_add(&r->count, 1) + 1;
    switch (r->when) {
    case ONLY:
        return n == r->n;
    case FROM:
        return n >= r->n;
    case EVERY:
        return n % r->n == 0;
    default:
        return true;
    }
}

// Applies a rule before the call, or remembers what it wants after it.
static void apply(const struct rule *r, struct fault_hits *hits)
{
    if (r->action == FAIL)
        *(r->after ? &hits->after : &hits->before) = r->code;
    else if (r->after && r->action == SLEEP)
        hits->sleep_after_ms += r->sleep_ms;
    else if (r->after)
        *(r->action == ABORT ? &hits->abort_after : &hits->kill_after) = true;
    else if (r->action == ABORT)
        abort();
    else if (r->action == KILL)
        raise(SIGKILL);
    else
        clock_sleep_ms(r->sleep_ms);
}

struct fault_hits fault_count(const char *call)
{
    struct fault_hits hits = {0};
    for (size_t i = 0; i < rule_count; i++)
        if (strcmp(rules[i].call, call) == 0 && applies(&rules[i]))
            apply(&rules[i], &hits);
    return hits;
}

enum error_code fault_after(const struct fault_hits *hits)
{
    if (hits->abort_after)
        abort();
    if (hits->kill_after)
        raise(SIGKILL);
    if (hits->sleep_after_ms)
        clock_sleep_ms(hits->sleep_after_ms);
    return hits->after;
}

int fault_report(const char *call, enum error_code code, struct error *err)
{
    return error_set(err, code, "A fault was injected into %s", call);
}
