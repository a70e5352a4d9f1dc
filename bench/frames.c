// SPDX-License-Identifier: Apache-2.0
// What choosing a video's frames costs by itself, for video.py: frames PROGRAM FILE THREADS prints how many came, the
// seconds that it took, and the most memory that the decoder had, in KiB.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "media/video/video.h"

static int fail(const char *what)
{
    fprintf(stderr, "frames: %s\n", what);
    return 1;
}

int main(int argc, char **argv)
{
    struct error err = {0};
    struct video *video;
    struct video_message m = {0};
    int frames = 0;
    if (argc != 4)
        return fail("usage: frames PROGRAM FILE THREADS");
    const struct video_limits limits = {.max_pixels = 35651584,
                                        .max_edge = 16384,
                                        .frame_edge = 512,
                                        .threads = (int)strtol(argv[3], NULL, 10),
                                        .memory = 1 << 30,
                                        .time_ms = 7200000,
                                        .silence_ms = 60000,
                                        .rules = {.interval_ms = 2000, .per_minute = 60, .max_frames = 2000}};
    _cleanup_close_ int fd = open(argv[2], O_RDONLY | O_CLOEXEC);
    video_set_worker(argv[1]);
    int64_t start = clock_mono_us();
    if (fd < 0 || video_open(fd, &limits, NULL, &video, &err) < 0)
        return fail(fd < 0 ? "the file cannot be opened" : err.message);
    while (m.step != VIDEO_END) {
        if (video_next(video, &m, &err) < 0)
            return fail(err.message);
        frames += m.step == VIDEO_FRAME;
    }
    int64_t took = clock_mono_us() - start;
    video_close(video);
    struct rusage used;
    getrusage(RUSAGE_CHILDREN, &used);
    printf("%d %.6f %ld\n", frames, (double)took / 1e6, used.ru_maxrss);
    return 0;
}
