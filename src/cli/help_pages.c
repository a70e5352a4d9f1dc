// SPDX-License-Identifier: Apache-2.0
// The man page, bash completion and docs/CLI.md, from the table of commands.
#include <string.h>

#include "cli/cli.h"
#include "cli/help.h"
#include "cli/help_int.h"

// troff: '\' and '-' are escaped; a line must not begin with '.' or '\''.
static void put_troff(FILE *out, const char *text)
{
    bool begin = true;
    for (; *text; text++) {
        if (begin && (*text == '.' || *text == '\''))
            fputs("\\&", out);
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
        begin = *text == '\n';
    }
}

static void man_option(FILE *out, const struct option_def *option)
{
    char name[HELP_OPTION];
    help_option_name(option, name);
    fputs(".TP\n.B ", out);
    put_troff(out, name);
    fputc('\n', out);
    put_troff(out, option->text);
    fputc('\n', out);
}

static void man_command(const struct command *command, void *arg)
{
    FILE *out = arg;
    fputs(".SS ", out);
    put_troff(out, command->name);
    fputc(' ', out);
    put_troff(out, command->usage);
    fputc('\n', out);
    put_troff(out, command->summary);
    fputs(".\n", out);
    for (const char *p = command->details; p && *p;) {
        size_t len = strcspn(p, "\n");
        char line[2048];
        snprintf(line, sizeof line, "%.*s", (int)len, p);
        fputs(".PP\n", out);
        put_troff(out, line);
        fputc('\n', out);
        p += len + (p[len] == '\n');
    }
    for (const struct option_def *o = command->options; o && o->kind; o++)
        man_option(out, o);
    if (!command->examples)
        return;
    fputs(".PP\n.nf\n.RS\n", out);
    put_troff(out, command->examples);
    fputs("\n.RE\n.fi\n", out);
}

void help_man(FILE *out)
{
    fputs(".TH DEEPLENS 1 \"\" \"deeplens " DEEPLENS_VERSION "\" \"User Commands\"\n"
          ".SH NAME\ndeeplens \\- finds images by what they look like\n"
          ".SH SYNOPSIS\n.B deeplens\n.I command\n[\\fIoptions\\fR]\n"
          ".SH DESCRIPTION\nA server takes pictures in, turns each into a vector, and finds the ones that look alike. "
          "The other commands talk to it over HTTP. Start with\n.PP\n.nf\n.RS\n"
          "deeplens serve &\ndeeplens upload \\-\\-wait ~/Pictures\ndeeplens search photo.jpg\n.RE\n.fi\n"
          ".SH COMMANDS\n",
          out);
    help_each(man_command, out);
    fputs(".SH OPTIONS OF THE CONFIGURATION\nThese work with every command. The option \\-\\-http\\-listen is "
          "DEEPLENS_HTTP_LISTEN in the environment and http.listen in the configuration file (\\-\\-config FILE, "
          "DEEPLENS_CONFIG, else /etc/deeplens.conf); flags win over the environment, which wins over the file.\n.nf\n",
          out);
    char *text = NULL;
    size_t len = 0;
    FILE *memory = open_memstream(&text, &len);
    if (memory) {
        conf_print_help(memory);
        fclose(memory);
        put_troff(out, text);
        free(text);
    }
    fputs(".fi\n.SH EXIT STATUS\n.TP\n0\ndone\n.TP\n1\nfailed\n.TP\n2\nthe command was not understood\n"
          ".TP\n130\ninterrupted\n"
          ".SH FILES\n.TP\n.I ~/.local/state/deeplens/uploads/\nwhat was uploaded before, so that an upload can go on "
          "after an interruption\n.TP\n.I ~/.local/share/deeplens/\nthe data directory, unless data.dir says "
          "otherwise\n",
          out);
}

static void put_option_words(FILE *out, const struct option_def *options)
{
    for (; options && options->kind; options++) {
        fprintf(out, " --%s", options->name);
        if (options->kind == OPTION_SWITCH)
            fprintf(out, " --no-%s", options->name);
    }
}

static void completion_command(const struct command *command, void *arg)
{
    FILE *out = arg;
    fprintf(out, "    \"%s\") words=\"--help", command->name);
    put_option_words(out, command->options);
    for (size_t i = 0; command->subs && command->subs[i]; i++)
        fprintf(out, " %s", strrchr(command->subs[i]->name, ' ') + 1);
    fputs("\" ;;\n", out);
}

static void completion_choices(const struct command *command, void *arg)
{
    FILE *out = arg;
    for (const struct option_def *o = command->options; o && o->kind; o++) {
        if (o->kind != OPTION_CHOICE)
            continue;
        fprintf(out, "    \"%s --%s\") words=\"", command->name, o->name);
        for (const char *p = o->arg; *p; p++)
            fputc(*p == '|' ? ' ' : *p, out);
        fputs("\" ;;\n", out);
    }
}

void help_completion(FILE *out)
{
    fputs("# bash completion for deeplens; made by `deeplens help --completion`\n"
          "_deeplens()\n{\n"
          "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
          "    local command= sub= words= i\n"
          "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
          "        [[ ${COMP_WORDS[i]} == -* ]] && continue\n"
          "        if [[ -z $command ]]; then command=${COMP_WORDS[i]}; elif [[ -z $sub ]]; then sub=${COMP_WORDS[i]}; "
          "fi\n"
          "    done\n"
          "    case \"$command\" in\n"
          "    \"\") words=\"--help --version",
          out);
    for (size_t i = 0; commands[i]; i++)
        fprintf(out, " %s", commands[i]->name);
    fputs("\" ;;\n    esac\n    case \"$command\" in\n", out);
    for (size_t i = 0; commands[i]; i++)
        if (commands[i]->subs)
            fprintf(out, "    %s) [[ -n $sub ]] && command=\"$command $sub\" ;;\n", commands[i]->name);
    fputs("    esac\n    case \"$command\" in\n", out);
    help_each(completion_command, out);
    fputs("    esac\n    case \"$command $previous\" in\n", out);
    help_each(completion_choices, out);
    fputs("    esac\n    if [[ $current == -* ]]; then\n        words+=\"", out);
    conf_print_flags(out);
    fputs("\"\n    fi\n"
          "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
          "    [[ $current == -* || ${#COMPREPLY[@]} -gt 0 ]] || mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
          "}\n"
          "complete -o filenames -F _deeplens deeplens\n",
          out);
}

static void put_markdown_cell(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            fputc('\\', out);
        fputc(*text, out);
    }
}

static void markdown_command(const struct command *command, void *arg)
{
    FILE *out = arg;
    fprintf(out, "\n## deeplens %s\n\n```\ndeeplens %s %s\n```\n\n%s.\n", command->name, command->name, command->usage,
            command->summary);
    for (const char *p = command->details; p && *p;) {
        size_t len = strcspn(p, "\n");
        fprintf(out, "\n%.*s\n", (int)len, p);
        p += len + (p[len] == '\n');
    }
    if (command->options && command->options->kind)
        fputs("\n| option | what it does |\n|---|---|\n", out);
    for (const struct option_def *o = command->options; o && o->kind; o++) {
        char name[HELP_OPTION];
        help_option_name(o, name);
        fputs("| `", out);
        put_markdown_cell(out, name);
        fputs("` | ", out);
        put_markdown_cell(out, o->text);
        fputs(" |\n", out);
    }
    if (command->examples)
        fprintf(out, "\n```sh\n%s\n```\n", command->examples);
}

void help_markdown(FILE *out)
{
    fputs("<!-- Made by `deeplens help --markdown`; do not edit. -->\n# The command line\n\n"
          "`deeplens COMMAND [OPTIONS]`. Exit codes: 0 done, 1 failed, 2 the command was not understood, 130 "
          "interrupted. Results go to stdout, everything else to stderr; with `--json`, a failure is "
          "`{\"error\": {\"code\", \"message\"}}`. The options in [CONFIGURATION.md](CONFIGURATION.md) work with every "
          "command.\n",
          out);
    help_each(markdown_command, out);
}

void help_errors(FILE *out)
{
    fputs("<!-- Made by `deeplens help --errors`; do not edit. -->\n# Errors\n\n"
          "Every refusal is a problem document (RFC 9457) with one of these as its `code`, and a `detail` that says "
          "what is wrong; the command line prints both. A code never changes its meaning. *Try again* says whether the "
          "same request can succeed later.\n\n"
          "| code | HTTP status | try again | what it means |\n|---|---|---|---|\n",
          out);
    for (int code = ERR_NONE + 1; code < ERR_COUNT; code++)
        fprintf(out, "| `%s` | %d | %s | %s |\n", error_code_name((enum error_code)code),
                error_http_status((enum error_code)code), error_code_retryable((enum error_code)code) ? "yes" : "no",
                error_code_title((enum error_code)code));
}
