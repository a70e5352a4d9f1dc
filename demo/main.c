// SPDX-License-Identifier: Apache-2.0
// The two ends of the demonstration; tools/demo.sh runs the server, the upload and the searches between them.
//
//   demo_photos prepare FOLDER           reads paths of photos, one a line, from stdin
//   demo_photos report FOLDER SECONDS    SECONDS is what the upload took; exits 1 when too little was found
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prepare.h"
#include "report.h"

static const double FOUND_LEAST = 0.75;

static int report(const char *folder, double seconds, struct error *err)
{
    _cleanup_answers_ struct answers *answers = NULL;
    char page[PATH_LENGTH], sheet[PATH_LENGTH];
    g_snprintf(page, sizeof page, "%s/index.html", folder);
    g_snprintf(sheet, sizeof sheet, "%s/contact.png", folder);
    if (answers_read(folder, seconds, &answers, err) < 0)
        return -1;
    table_print(answers);
    if (page_write(answers, page, err) < 0 || sheet_write(answers, sheet, err) < 0)
        return -1;
    if ((double)answers->found < FOUND_LEAST * (double)answers->count)
        return error_set(err, ERR_NOT_FOUND, "Only %zu of %zu queries found their photo first; %.0f %% was expected",
                         answers->found, answers->count, FOUND_LEAST * 100);
    return 0;
}

// Photos carry odd metadata, which libvips warns about; whether one could be read shows in the result.
static void ignore_warning(const char *domain, GLogLevelFlags level, const char *message, void *context)
{
}

int main(int argc, char **argv)
{
    struct error err = {0};
    bool preparing = argc == 3 && strcmp(argv[1], "prepare") == 0,
         reporting = argc == 4 && strcmp(argv[1], "report") == 0;
    if (!preparing && !reporting) {
        fputs("usage: demo_photos prepare FOLDER | report FOLDER SECONDS\n", stderr);
        return 2;
    }
    g_log_set_handler("VIPS", G_LOG_LEVEL_WARNING, ignore_warning, NULL);
    if (VIPS_INIT(argv[0]) != 0) {
        fputs("demo: libvips does not start\n", stderr);
        return 1;
    }
    vips_concurrency_set(1); // the jobs are what runs at once
    vips_cache_set_max(0);
    int rc = preparing ? prepare_pictures(stdin, argv[2], &err) : report(argv[2], strtod(argv[3], NULL), &err);
    if (rc < 0)
        fprintf(stderr, "demo: %s\n", err.message);
    vips_shutdown();
    return rc < 0;
}
