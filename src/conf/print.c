// SPDX-License-Identifier: Apache-2.0
// The table of options as --help, as a page, as a configuration file, and for shell completion.
#include <string.h>

#include "base/cleanup.h"
#include "conf/conf_int.h"

enum { HELP_COLUMN = 30, HELP_WIDTH = 100 };

static const char *placeholder(const struct option *o)
{
    static const char *const words[] = {
        [OPT_PREFIX] = "TEXT", [OPT_STRING] = "TEXT", [OPT_CHOICE] = "WORD",
        [OPT_INT] = "N",       [OPT_SIZE] = "SIZE",   [OPT_TIME] = "TIME",
    };
    return o->kind == OPT_BOOL || o->kind == OPT_SECTION ? "" : words[o->kind];
}

static const char *default_text(const struct option *o, char out[OPTION_NUMBER_TEXT])
{
    return o->def ? o->def : conf_number_text(o, o->number, out);
}

// Writes words in lines of HELP_WIDTH, each line but the first behind HELP_COLUMN spaces.
static void print_wrapped(FILE *out, const char *text)
{
    size_t column = HELP_COLUMN;
    while (*text) {
        size_t len = strcspn(text, " ");
        if (column > HELP_COLUMN && column + 1 + len > HELP_WIDTH) {
            fprintf(out, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        } else if (column > HELP_COLUMN) {
            fputc(' ', out);
            column++;
        }
        fwrite(text, 1, len, out);
        column += len;
        text += len;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static void print_option_help(FILE *out, const struct option *o)
{
    char flag[OPTION_NAME_MAX + 16], number[OPTION_NUMBER_TEXT];
    conf_flag_name(o->name, flag);
    const char *word = placeholder(o), *def = default_text(o, number);
    int used = fprintf(out, "  %s%s%s%s", flag, o->kind == OPT_PREFIX ? "…" : "", *word ? " " : "", word);
    if (used >= HELP_COLUMN - 1)
        fprintf(out, "\n%*s", HELP_COLUMN, "");
    else
        fprintf(out, "%*s", HELP_COLUMN - used, "");
    _cleanup_buf_ struct buf text = BUF_INIT(4096);
    buf_puts(&text, o->text);
    if (o->kind == OPT_CHOICE)
        buf_printf(&text, " (%s; default %s)", o->choices, def);
    else if (*def)
        buf_printf(&text, " (default %s)", def);
    print_wrapped(out, text.data);
}

void conf_print_help(FILE *out)
{
    for (size_t i = 0; i < conf_option_count; i++) {
        if (conf_options[i].kind == OPT_SECTION)
            fprintf(out, "%s%s:\n", i ? "\n" : "", conf_options[i].name);
        else
            print_option_help(out, &conf_options[i]);
    }
    fprintf(out, "\n  --config FILE               Read options from FILE (one \"name = value\" a line)\n");
}

// Writes text for a cell of a Markdown table.
static void print_cell(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|' || *text == '<' || *text == '*')
            fputc('\\', out);
        fputc(*text, out);
    }
}

static void print_option_row(FILE *out, const struct option *o)
{
    char flag[OPTION_NAME_MAX + 16], env[OPTION_NAME_MAX + 16], number[OPTION_NUMBER_TEXT];
    conf_flag_name(o->name, flag);
    conf_env_name(o->name, env);
    _cleanup_buf_ struct buf allowed = BUF_INIT(1024);
    conf_allowed(o, &allowed);
    const char *def = default_text(o, number);
    const char *rest = o->kind == OPT_PREFIX ? "…" : "";
    fprintf(out, "| `%s%s`<br>`%s%s`<br>`%s%s` | %s%s%s | ", o->name, rest, flag, rest, env, rest, *def ? "`" : "", def,
            *def ? "`" : "");
    print_cell(out, allowed.data);
    fputs(" | ", out);
    print_cell(out, o->text);
    fputs(" |\n", out);
}

void conf_print_markdown(FILE *out)
{
    fputs(
        "<!-- Made from src/conf/options.def; edit that. -->\n"
        "# Configuration\n\n"
        "Every option can be given in four ways; later ones win: its default, a line `name = value` in the\n"
        "configuration file (`--config FILE`, else `DEEPLENS_CONFIG`, else `/etc/deeplens.conf` when it is there), a\n"
        "variable, a flag. An unknown name in the file or among the variables is refused. In the file, lines that\n"
        "start with `#` are comments, and a value may stand in double quotes. Sizes count in powers of 1024 (`64M`,\n"
        "`2GiB`) unless written as `kB`, `MB`, `GB`, `TB`; times need their unit (`500ms`, `2s`, `5m`, `1h`, `7d`).\n"
        "Booleans are also set by `--flag` and `--no-flag` alone. An empty text means the default.\n",
        out);
    for (size_t i = 0; i < conf_option_count; i++) {
        if (conf_options[i].kind == OPT_SECTION)
            fprintf(out, "\n## %s\n\n| Option | Default | Takes | What it does |\n|---|---|---|---|\n",
                    conf_options[i].name);
        else
            print_option_row(out, &conf_options[i]);
    }
}

// Prints a text without the password that it may carry ("scheme://user:password@host", "password=…").
static void print_text(FILE *out, const char *text)
{
    if (strcasestr(text, "password=")) {
        fputs("\"***\"", out);
        return;
    }
    const char *authority = strstr(text, "://");
    const char *from = authority ? authority + 3 : text;
    const char *colon = authority ? strpbrk(from, ":@/") : NULL;
    const char *at = colon && *colon == ':' ? strpbrk(colon, "@/") : NULL;
    if (at && *at == '@')
        fprintf(out, "\"%.*s***%s\"", (int)(colon + 1 - text), text, at);
    else
        fprintf(out, "\"%s\"", text);
}

// The options below a prefix, without what is secret.
static void print_properties(FILE *out, const struct option *o, const char *lines)
{
    static const char *const secrets[] = {"password", "secret", "key.pem", "jaas"};
    while (*lines) {
        size_t len = strcspn(lines, "\n"), name = strcspn(lines, "=");
        bool secret = false;
        for (size_t i = 0; i < ARRAY_LEN(secrets); i++)
            secret |= memmem(lines, name, secrets[i], strlen(secrets[i])) != NULL;
        fprintf(out, "%s%.*s = \"%.*s\"\n", o->name, (int)name, lines, secret ? 3 : (int)(len - name - 1),
                secret ? "***" : lines + name + 1);
        lines += len + 1;
    }
}

static bool is_secret(const struct option *o)
{
    static const char *const ends[] = {"_key", "_secret", "_token", "_password"};
    size_t len = strlen(o->name);
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        if (len > strlen(ends[i]) && strcmp(o->name + len - strlen(ends[i]), ends[i]) == 0)
            return true;
    return false;
}

void conf_print_effective(const struct conf *c, FILE *out)
{
    char number[OPTION_NUMBER_TEXT];
    for (size_t i = 0; i < conf_option_count; i++) {
        const struct option *o = &conf_options[i];
        const void *field = (const char *)c + o->offset;
        if (o->kind == OPT_SECTION) {
            fprintf(out, "%s# %s\n", i ? "\n" : "", o->name);
            continue;
        }
        if (o->kind == OPT_PREFIX) {
            print_properties(out, o, *(char *const *)field);
            continue;
        }
        fprintf(out, "%s = ", o->name);
        if (o->kind == OPT_STRING || o->kind == OPT_CHOICE)
            print_text(out, is_secret(o) && **(char *const *)field ? "***" : *(char *const *)field);
        else
            fputs(conf_number_text(o, o->kind == OPT_BOOL ? *(const bool *)field : *(const int64_t *)field, number),
                  out);
        fputc('\n', out);
    }
}

void conf_print_flags(FILE *out)
{
    char flag[OPTION_NAME_MAX + 16];
    fputs("--config\n", out);
    for (size_t i = 0; i < conf_option_count; i++) {
        if (conf_options[i].kind <= OPT_PREFIX)
            continue;
        conf_flag_name(conf_options[i].name, flag);
        fprintf(out, "%s\n", flag);
        if (conf_options[i].kind == OPT_BOOL)
            fprintf(out, "--no-%s\n", flag + 2);
    }
}
