// SPDX-License-Identifier: Apache-2.0
// Help for people at a terminal. The man page, completion and Markdown are in help_pages.c.
#include "cli/help.h"

#include <string.h>

#include "cli/cli.h"
#include "cli/help_int.h"
#include "cli/text.h"

enum { COLUMNS = 78, OPTION_COLUMN = 30 };

void help_option_name(const struct option_def *option, char out[HELP_OPTION])
{
    const char *arg = option->arg ? option->arg : "";
    snprintf(out, HELP_OPTION, "--%s%s%s%s", option->kind == OPTION_SWITCH ? "[no-]" : "", option->name,
             *arg ? " " : "", arg);
}

void help_each(void (*visit)(const struct command *command, void *arg), void *arg)
{
    for (size_t i = 0; commands[i]; i++) {
        visit(commands[i], arg);
        for (size_t j = 0; commands[i]->subs && commands[i]->subs[j]; j++)
            visit(commands[i]->subs[j], arg);
    }
}

// Writes one paragraph, `indent` columns in, broken at spaces; the first line begins at column `at`.
static void put_wrapped(FILE *out, const char *text, int indent, int at)
{
    int used = at;
    if (used < indent)
        used += fprintf(out, "%*s", indent - used, "");
    while (*text) {
        size_t len = strcspn(text, " ");
        int width = (int)len; // bytes are good enough: help is written in ASCII
        if (used > indent && used + 1 + width > COLUMNS) {
            fprintf(out, "\n%*s", indent, "");
            used = indent;
        } else if (used > indent) {
            fputc(' ', out);
            used++;
        }
        fwrite(text, 1, len, out);
        used += width;
        text += len;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static void put_paragraphs(FILE *out, const char *text)
{
    while (text && *text) {
        char line[2048];
        size_t len = strcspn(text, "\n");
        snprintf(line, sizeof line, "%.*s", (int)len, text);
        fputc('\n', out);
        put_wrapped(out, line, 0, 0);
        text += len + (text[len] == '\n');
    }
}

static void put_options(FILE *out, const struct option_def *options)
{
    if (!options || !options->kind)
        return;
    fputs("\nOptions:\n", out);
    for (; options->kind; options++) {
        char name[HELP_OPTION];
        help_option_name(options, name);
        int at = fprintf(out, "  %s", name);
        if (at >= OPTION_COLUMN) {
            fputc('\n', out);
            at = 0;
        }
        put_wrapped(out, options->text, OPTION_COLUMN, at);
    }
}

static void put_examples(FILE *out, const char *examples)
{
    fputs("\nExamples:\n", out);
    while (*examples) {
        size_t len = strcspn(examples, "\n");
        fprintf(out, "  %.*s\n", (int)len, examples);
        examples += len + (examples[len] == '\n');
    }
}

void help_command(const struct command *command, FILE *out)
{
    fprintf(out, "deeplens %s %s\n\n%s.\n", command->name, command->usage, command->summary);
    put_paragraphs(out, command->details);
    for (size_t i = 0; command->subs && command->subs[i]; i++) {
        const struct command *sub = command->subs[i];
        fprintf(out, "%s  deeplens %s %s\n", i ? "" : "\n", sub->name, sub->usage);
        put_wrapped(out, sub->summary, 6, 0);
    }
    put_options(out, command->options);
    if (command->examples)
        put_examples(out, command->examples);
    fputs("\nOptions of the configuration (--server, --data-dir ...) work with every command: deeplens --help\n", out);
}

void help_overview(FILE *out)
{
    fputs("DeepLens finds images by what they look like.\n\ndeeplens COMMAND [OPTIONS]\n\nCommands:\n", out);
    for (size_t i = 0; commands[i]; i++)
        fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\n`deeplens COMMAND --help` tells more, with examples. `deeplens --version` says the version.\n"
          "Exit codes: 0 done, 1 failed, 2 the command was not understood.\n\n"
          "Start here:\n  deeplens serve &\n  deeplens upload --wait ~/Pictures\n  deeplens search photo.jpg\n\n",
          out);
    conf_print_help(out);
}
