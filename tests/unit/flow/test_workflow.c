// SPDX-License-Identifier: Apache-2.0
// Rules for messages: what they may say, and which messages they match.
#include "rig.h"

#include <string.h>

#include "base/js.h"
#include "flow/workflow_int.h"

static json_t *rule_of(const char *text)
{
    json_t *rule = js_parse(text, strlen(text), NULL);
    assert_non_null(rule);
    return rule;
}

static void a_rule_says_what_is_known_and_no_more(void **state)
{
    static const char *const good[] = {
        "{'when':{},'do':[{'ingest':true}]}",
        ("{'name':'Shop','when':{'type':['image','video'],'chat':'a@s','sender':['b'],'text':'*x?','group':false,"
         "'fromMe':true},'do':[{'ingest':{'tags':['a','b']}},{'notify':{'webhook':'whk_1'}}]}"),
        "{'when':{'command':'/find'},'do':[{'ingest':false}]}",
    };
    static const char *const bad[] = {
        "[]",
        "{}",
        "{'when':{}}",
        "{'do':[{'ingest':true}]}",
        "{'when':[],'do':[{'ingest':true}]}",
        "{'when':{},'do':[]}",
        "{'when':{},'do':{'ingest':true}}",
        "{'when':{},'do':[{}]}",
        "{'when':{},'do':[true]}",
        "{'when':{},'do':[{'fly':true}]}",
        "{'when':{},'do':[{'ingest':true,'notify':{'webhook':'w'}}]}",
        "{'when':{},'do':[{'ingest':'yes'}]}",
        "{'when':{},'do':[{'ingest':{'tag':'a'}}]}",
        "{'when':{},'do':[{'ingest':{'tags':[]}}]}",
        "{'when':{},'do':[{'notify':{}}]}",
        "{'when':{},'do':[{'notify':{'webhook':''}}]}",
        "{'when':{},'do':[{'notify':{'pigeon':'x'}}]}",
        "{'when':{'typ':'image'},'do':[{'ingest':true}]}",
        "{'when':{'type':[]},'do':[{'ingest':true}]}",
        "{'when':{'type':5},'do':[{'ingest':true}]}",
        "{'when':{'chat':['a',1]},'do':[{'ingest':true}]}",
        "{'when':{'text':''},'do':[{'ingest':true}]}",
        "{'when':{'command':'find'},'do':[{'ingest':true}]}",
        "{'when':{'command':'/Find'},'do':[{'ingest':true}]}",
        "{'when':{'command':'/find it'},'do':[{'ingest':true}]}",
        "{'when':{'group':1},'do':[{'ingest':true}]}",
        "{'when':{},'do':[{'ingest':true}],'then':1}",
        "{'name':'','when':{},'do':[{'ingest':true}]}",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good) + ARRAY_LEN(bad); i++) {
        bool fine = i < ARRAY_LEN(good);
        char text[512];
        snprintf(text, sizeof text, "%s", fine ? good[i] : bad[i - ARRAY_LEN(good)]);
        for (char *p = text; *p; p++)
            *p = *p == '\'' ? '"' : *p;
        _cleanup_json_ json_t *rule = rule_of(text);
        struct error why = {0};
        if ((workflow_check(rule, &why) == 0) != fine)
            fail_msg("%s: %s", text, why.message);
        assert_int_equal(why.code, fine ? ERR_NONE : ERR_INVALID);
    }
}

static void patterns_cover_the_whole_text(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool like;
    } cases[] = {
        {"*", "", true},
        {"*", "anything\nelse", true},
        {"red", "Red", true},
        {"red", "red shoes", false},
        {"*red*", "ONE RED", true},
        {"r?d", "rod", true},
        {"r?d", "rd", false},
        {"a*b*c", "aXbYbZc", true},
        {"a*b*c", "aXbYbZ", false},
        {"**", "x", true},
        {"?", "", false},
        {"*caf\xc3\xa9", "un caf\xc3\xa9", true},
        {"[a]", "a", false},
        {"a\\*", "a*", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (workflow_like(cases[i].pattern, cases[i].text) != cases[i].like)
            fail_msg("\"%s\" and \"%s\"", cases[i].pattern, cases[i].text);
}

static void commands_are_words_at_the_beginning(void **state)
{
    const char *rest = NULL;
    (void)state;
    assert_true(workflow_command("/find  red shoes", "/find", &rest));
    assert_string_equal(rest, "red shoes");
    assert_true(workflow_command("/FIND", "/find", &rest));
    assert_string_equal(rest, "");
    assert_true(workflow_command("/find\nred", "/find", &rest));
    assert_string_equal(rest, "red");
    assert_false(workflow_command("/finder", "/find", &rest));
    assert_false(workflow_command("/fin", "/find", &rest));
    assert_false(workflow_command("please /find", "/find", &rest));
    assert_false(workflow_command("", "/find", &rest));
}

static void g8_no_pattern_takes_long(void **state)
{
    char pattern[260] = "*", text[WORKFLOW_SEEN_MAX + 1];
    (void)state;
    memset(pattern + 1, 'a', 250);
    strcpy(pattern + 251, "b*");
    memset(text, 'a', WORKFLOW_SEEN_MAX);
    text[WORKFLOW_SEEN_MAX] = 0;
    assert_false(workflow_like(pattern, text));
    strcpy(text + WORKFLOW_SEEN_MAX - 1, "b");
    assert_false(workflow_like(pattern, text)); // it would match, at four million steps
    assert_true(workflow_like("*aab*", text));
}

static bool matches(const char *when, struct workflow_subject s)
{
    char text[256];
    snprintf(text, sizeof text, "{\"when\":%s,\"do\":[{\"ingest\":true}]}", when);
    _cleanup_json_ json_t *rule = rule_of(text);
    must(workflow_check(rule, err));
    return workflow_matches(rule, &s);
}

static void all_that_a_rule_says_must_hold(void **state)
{
    const struct workflow_subject picture = {.type = "image", .chat = "1@s", .sender = "1@s", .text = "The sea"},
                                  words = {
                                      .type = "text", .chat = "9@g", .sender = "1@s", .text = "/find x", .group = true};
    struct workflow_subject other = picture;
    (void)state;
    assert_true(matches("{}", picture));
    assert_true(matches("{\"type\":\"image\"}", picture));
    assert_true(matches("{\"type\":[\"video\",\"image\"]}", picture));
    assert_false(matches("{\"type\":\"video\"}", picture));
    assert_true(matches("{\"chat\":\"1@s\",\"sender\":\"1@s\",\"text\":\"*SEA\",\"group\":false}", picture));
    assert_false(matches("{\"chat\":\"1@s\",\"group\":true}", picture));
    assert_false(matches("{\"chat\":[\"2@s\",\"3@s\"]}", picture));
    assert_true(matches("{\"command\":\"/find\",\"group\":true}", words));
    assert_false(matches("{\"command\":\"/find\"}", picture));
    other.text = NULL;
    assert_false(matches("{\"text\":\"*\"}", other));
    assert_false(matches("{\"command\":\"/find\"}", other));
    other.from_me = true; // what we sent matches where a rule says so
    assert_false(matches("{}", other));
    assert_true(matches("{\"fromMe\":true}", other));
    assert_false(matches("{\"fromMe\":true}", picture));
    other = picture, other.type = "reaction"; // what changes another one, too
    assert_false(matches("{}", other));
    assert_true(matches("{\"type\":\"reaction\"}", other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rule_says_what_is_known_and_no_more), cmocka_unit_test(patterns_cover_the_whole_text),
        cmocka_unit_test(commands_are_words_at_the_beginning),   cmocka_unit_test(g8_no_pattern_takes_long),
        cmocka_unit_test(all_that_a_rule_says_must_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
