// SPDX-License-Identifier: Apache-2.0
// Models in folders: what is read of them, what is refused and how, and what happens when their process dies. The
// program is its own worker here: a fake one without OpenVINO, which dies of some pictures.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "../../onnx.h"
#include "backends/extractor/batcher.h"
#include "backends/extractor/extractor_openvino.h"
#include "backends/extractor/model_trial.h"
#include "backends/extractor/picture.h"
#include "backends/extractor/worker.h"
#include "backends/extractor/worker_wire.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "cli/folders.h"
#include "conf/conf.h"

enum { EDGE = 8, DEADLY = 66, FAILING = 77, STREAMS = 2, BATCH = 4, THREADS = 6 };

static char folder[] = "/tmp/deeplens-models-XXXXXX";

// --- The fake worker: gives a vector (first byte, count of the batch), fails or dies of certain first bytes.

static void *fake_stream(void *arg)
{
    const struct worker_order *order = arg;
    static _Atomic int next;
    int number = next++;
    size_t room = worker_room_bytes(&order->spec, &order->config);
    uint8_t *memory = mmap(NULL, room * STREAMS, PROT_READ | PROT_WRITE, MAP_SHARED, WORKER_MEMORY, 0);
    uint8_t *pictures = memory + room * (size_t)number;
    float *vectors = (float *)(void *)(pictures + worker_vectors_at(&order->spec, &order->config));
    struct worker_request request;
    while (recv(WORKER_STREAMS + number, &request, sizeof request, 0) == sizeof request) {
        struct worker_answer answer = {0};
        for (size_t i = 0; i < request.count; i++) {
            uint8_t first = pictures[i * EDGE * EDGE * 3];
            if (first == DEADLY)
                raise(SIGKILL);
            if (first == FAILING)
                answer.rc = error_set(&answer.error, ERR_EXTRACTION_FAILED, "no");
            vectors[2 * i] = first;
            vectors[2 * i + 1] = (float)request.count;
        }
        send(WORKER_STREAMS + number, &answer, sizeof answer, MSG_NOSIGNAL);
    }
    return NULL;
}

static int fake_worker(void)
{
    static struct worker_order order;
    struct worker_report report = {.dimension = 2};
    pthread_t thread;
    if (recv(WORKER_CONTROL, &order, sizeof order, 0) != sizeof order)
        return 1;
    for (int i = 0; i < STREAMS; i++)
        if (pthread_create(&thread, NULL, fake_stream, &order) == 0)
            pthread_detach(thread);
    send(WORKER_CONTROL, &report, sizeof report, MSG_NOSIGNAL);
    recv(WORKER_CONTROL, &order, 1, 0);
    _exit(0);
}

static struct worker *start_program(const char *program)
{
    const struct model_spec spec = {.name = "fake", .width = EDGE, .height = EDGE, .dimension = 2};
    const struct net_config config = {.streams = STREAMS, .batch_max = BATCH};
    struct worker *w = NULL;
    struct error err = {0};
    if (worker_start(&spec, &config, program, &w, &err) < 0 || worker_ready(w, &err) < 0)
        fail_msg("%s", err.message);
    return w;
}

static struct worker *start_fake(void)
{
    return start_program("/proc/self/exe");
}

// --- A worker that dies

static void a_picture_that_kills_fails_and_the_next_one_works(void **state)
{
    struct worker *w = start_fake();
    struct error err = {0};
    int first = worker_pid(w);
    memset(worker_pictures(w, 0), DEADLY, EDGE * EDGE * 3);
    assert_int_equal(worker_run(w, 0, 1, &err), -1);
    assert_int_equal(err.code, ERR_EXTRACTION_FAILED);
    assert_non_null(strstr(err.message, "fake"));
    assert_non_null(strstr(err.message, "signal 9"));
    memset(worker_pictures(w, 0), 5, EDGE * EDGE * 3);
    assert_int_equal(worker_run(w, 0, 1, &err), 0);
    assert_true(worker_vectors(w, 0)[0] == 5);
    assert_int_not_equal(worker_pid(w), first);
    worker_stop(w);
}

static void a_worker_killed_from_outside_costs_nothing(void **state)
{
    struct worker *w = start_fake();
    for (int i = 0; i < 3; i++) {
        kill(worker_pid(w), SIGKILL);
        memset(worker_pictures(w, 1), i, EDGE * EDGE * 3);
        assert_int_equal(worker_run(w, 1, 1, NULL), 0);
        assert_true(worker_vectors(w, 1)[0] == (float)i);
    }
    worker_stop(w);
}

static void a_worker_that_cannot_be_had_now_may_be_had_later(void **state)
{
    char program[256];
    struct error err = {0};
    snprintf(program, sizeof program, "%s/program", folder);
    assert_int_equal(symlink("/proc/self/exe", program), 0);
    struct worker *w = start_program(program);
    unlink(program);
    kill(worker_pid(w), SIGKILL);
    memset(worker_pictures(w, 0), 5, EDGE * EDGE * 3);
    assert_int_equal(worker_run(w, 0, 1, &err), -1);
    assert_int_equal(err.code, ERR_EXTRACTION_FAILED);
    assert_true(err.retryable);
    assert_int_equal(symlink("/proc/self/exe", program), 0);
    assert_int_equal(worker_run(w, 0, 1, &err), 0);
    assert_true(worker_vectors(w, 0)[0] == 5);
    worker_stop(w);
    unlink(program);
}

static void what_a_worker_refuses_is_no_death(void **state)
{
    struct worker *w = start_fake();
    struct error err = {0};
    int pid = worker_pid(w);
    memset(worker_pictures(w, 0), FAILING, EDGE * EDGE * 3);
    assert_int_equal(worker_run(w, 0, 1, &err), -1);
    assert_string_equal(err.message, "no");
    assert_int_equal(worker_pid(w), pid);
    worker_stop(w);
}

static void a_program_that_is_no_worker_is_an_error(void **state)
{
    const struct model_spec spec = {.name = "fake", .width = EDGE, .height = EDGE};
    const struct net_config config = {.streams = 1, .batch_max = 1};
    struct worker *w = NULL;
    struct error err = {0};
    assert_int_equal(worker_start(&spec, &config, "/nonexistent/program", &w, &err), -1);
    assert_null(w);
    assert_int_equal(worker_start(&spec, &config, "/bin/false", &w, &err), 0);
    assert_int_equal(worker_ready(w, &err), -1);
    assert_non_null(strstr(err.message, "ended with code 1"));
    worker_stop(w);
}

// --- The queue

static uint8_t *room_of(void *model, int stream)
{
    return worker_pictures(model, stream);
}

static int run_of(void *model, int stream, size_t count, struct error *err)
{
    return worker_run(model, stream, count, err);
}

static const float *vectors_of(void *model, int stream)
{
    return worker_vectors(model, stream);
}

struct caller {
    struct batcher *queue;
    uint8_t first;
    int wrong;
};

static void *call(void *arg)
{
    struct caller *c = arg;
    uint8_t pictures[2 * EDGE * EDGE * 3];
    float vectors[4];
    memset(pictures, c->first, sizeof pictures);
    for (int i = 0; i < 25; i++) {
        size_t count = (size_t)i % 2 + 1;
        int rc = batcher_run(c->queue, pictures, count, vectors, NULL);
        bool bad = c->first == DEADLY || c->first == FAILING;
        c->wrong += bad ? rc == 0 : rc != 0 || vectors[0] != c->first || vectors[2 * (count - 1)] != c->first;
        if (c->first == DEADLY)
            break;
    }
    return NULL;
}

static void nobody_fails_for_anothers_picture(void **state)
{
    static const uint8_t firsts[THREADS] = {1, 2, FAILING, 4, DEADLY, 6};
    struct worker *w = start_fake();
    const struct batcher_config config = {.streams = STREAMS,
                                          .batch_max = BATCH,
                                          .picture = EDGE * EDGE * 3,
                                          .dimension = 2,
                                          .model = w,
                                          .pictures = room_of,
                                          .run = run_of,
                                          .vectors = vectors_of};
    struct batcher *queue = batcher_new(&config);
    struct caller callers[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){.queue = queue, .first = firsts[i]};
        assert_int_equal(pthread_create(&threads[i], NULL, call, &callers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].wrong, 0);
    }
    batcher_free(queue);
    worker_stop(w);
}

// --- Descriptions

static void write_text(const char *dir, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static const char *model_dir(char path[256], const char *name)
{
    snprintf(path, 256, "%s/%s", folder, name);
    mkdir(path, 0755);
    return path;
}

static void published_layout_is_read_as_it_is(void **state)
{
    char dir[256], visual[300];
    struct model_spec s;
    struct error err = {0};
    snprintf(visual, sizeof visual, "%s/visual", model_dir(dir, "ViT-B-32__openai"));
    mkdir(visual, 0755);
    write_text(dir, "config.json", "{\"embed_dim\": 512, \"vision_cfg\": {\"image_size\": 224}}");
    write_text(visual, "preprocess_cfg.json",
               "{\"size\": [224, 224], \"mode\": \"RGB\", \"mean\": [0.48, 0.45, 0.4], \"std\": [0.26, 0.26, 0.27], "
               "\"interpolation\": \"bicubic\", \"resize_mode\": \"shortest\", \"fill_color\": 0}");
    if (model_spec_read(dir, "auto", &s, &err) < 0)
        fail_msg("%s", err.message);
    assert_string_equal(s.name, "vit-b-32__openai");
    assert_int_equal(s.dimension, 512);
    assert_int_equal(s.width, 224);
    assert_int_equal(s.fit, FIT_CROP);
    assert_true(s.std[2] == 0.27F);
    assert_non_null(strstr(s.file, "/visual/model.onnx"));
}

static void what_makes_no_sense_is_refused_by_name(void **state)
{
    static const struct {
        const char *json, *said;
    } bad[] = {
        {"{", "model.json"},
        {"[]", "model.json"},
        {"{\"name\":\"../x\"}", "name"},
        {"{\"name\":\"a\",\"dimension\":70000}", "dimension"},
        {"{\"name\":\"a\",\"input\":{\"width\":0,\"mean\":[0,0,0],\"std\":[1,1,1]},\"files\":{\"f32\":{\"path\":\"m\"}}"
         "}",
         "2048"},
        {"{\"name\":\"a\",\"input\":{\"width\":8,\"mean\":[0,0],\"std\":[1,1,1]}}", "mean"},
        {"{\"name\":\"a\",\"input\":{\"width\":8,\"mean\":[0,0,0],\"std\":[1,0,1]},\"files\":{\"f32\":{\"path\":\"m\"}}"
         "}",
         "std"},
        {"{\"name\":\"a\",\"input\":{\"width\":8,\"mean\":[0,0,0],\"std\":[1,1,1]},\"files\":{\"f32\":{\"path\":\"../"
         "../m\"}}}",
         "inside"},
        {"{\"name\":\"a\",\"input\":{\"width\":8,\"fit\":\"stretch\"}}", "fit"},
        {"{\"name\":\"a\",\"input\":{\"width\":8,\"mean\":[0,0,0],\"std\":[1,1,1]},\"files\":{}}", "path"},
    };
    char dir[256];
    model_dir(dir, "bad");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct model_spec s = {.width = 12345};
        struct error err = {0};
        write_text(dir, "model.json", bad[i].json);
        assert_int_equal(model_spec_read(dir, "auto", &s, &err), -1);
        assert_int_equal(err.code, ERR_CONFIG);
        if (!strstr(err.message, bad[i].said))
            fail_msg("\"%s\" does not name %s", err.message, bad[i].said);
        assert_int_equal(s.width, 12345);
    }
    folders_remove(dir, NULL);
}

// --- The real thing

static struct openvino_config real_config(struct conf *conf)
{
    conf_init(conf);
    return (struct openvino_config){
        .models = folder, .library = conf->openvino_dir, .program = getenv("DEEPLENS_TEST_BINARY")};
}

static void refused(const char *dir, const char *said)
{
    struct conf conf;
    struct openvino_config config = real_config(&conf);
    struct extractor_trial trial;
    struct error err = {0};
    assert_int_equal(model_trial(&config, dir, false, &trial, &err), -1);
    if (!strstr(err.message, said) || !strstr(err.message, "hostile"))
        fail_msg("\"%s\" says nothing of %s", err.message, said);
    conf_free(&conf);
}

static void hostile_models_are_refused_by_name(void **state)
{
    char dir[256], path[300];
    model_dir(dir, "hostile");
    onnx_write(dir, "hostile", ONNX_ZERO, EDGE, 0, 0, NULL);
    refused(dir, "zero");
    onnx_write(dir, "hostile", ONNX_NAN, EDGE, 0, 0, NULL);
    refused(dir, "no numbers");
    onnx_write(dir, "hostile", ONNX_TWO_INPUTS, EDGE, 0, 0, NULL);
    refused(dir, "one input");
    onnx_write(dir, "hostile", ONNX_NO_ROW, EDGE, 0, 0, NULL);
    refused(dir, "row");
    onnx_write(dir, "hostile", ONNX_POOL, EDGE, 0, 13, NULL);
    refused(dir, "13");
    onnx_write(dir, "hostile", ONNX_POOL, EDGE, 0, 0,
               "0000000000000000000000000000000000000000000000000000000000000000");
    refused(dir, "SHA-256");
    onnx_write(dir, "hostile", ONNX_POOL, EDGE, 0, 0, NULL);
    snprintf(path, sizeof path, "%s/model.onnx", dir);
    for (off_t size = 300; size >= 0; size -= 60) { // a truncated one, down to nothing
        onnx_write(dir, "hostile", ONNX_POOL, EDGE, 0, 0, NULL);
        assert_int_equal(truncate(path, size), 0);
        refused(dir, size ? "read" : "empty");
    }
    unlink(path);
    refused(dir, "read");
    folders_remove(dir, NULL);
}

static void a_zero_vector_never_leaves(void **state)
{
    char dir[256];
    struct conf conf;
    struct openvino_config config = real_config(&conf);
    struct error err = {0};
    void *x;
    size_t count;
    onnx_write(model_dir(dir, "pool"), "pool", ONNX_POOL, EDGE, 0, 0, NULL);
    assert_int_equal(extractor_openvino_open(&config, &x, NULL), 0);
    const struct extractor_model *models = extractor_openvino.models(x, &count);
    if (count != 1)
        fail_msg("the model cannot be run: `make models` gets what these tests need");
    uint8_t data[EDGE * EDGE * 3];
    const struct pixels mean = {EDGE, EDGE, data};
    float vector[3 * (EDGE / 2) * (EDGE / 2)] = {42};
    memset(data, 102, sizeof data); // exactly the mean that onnx_write describes
    assert_int_equal(extractor_openvino.extract(x, models, &mean, 1, vector, NULL, &err), -1);
    assert_int_equal(err.code, ERR_EXTRACTION_FAILED);
    assert_non_null(strstr(err.message, "pool"));
    assert_true(vector[0] == 42);
    memset(data, 103, sizeof data);
    assert_int_equal(extractor_openvino.extract(x, models, &mean, 1, vector, NULL, &err), 0);
    extractor_openvino.close(x);
    conf_free(&conf);
    folders_remove(dir, NULL);
}

static void without_openvino_the_reason_says_what_to_do(void **state)
{
    char dir[256];
    struct extractor_trial trial;
    struct error err = {0};
    onnx_write(model_dir(dir, "pool"), "pool", ONNX_POOL, EDGE, 0, 0, NULL);
    const struct openvino_config config = {.library = "/nonexistent", .program = getenv("DEEPLENS_TEST_BINARY")};
    assert_int_equal(model_trial(&config, dir, false, &trial, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "make models"));
    folders_remove(dir, NULL);
}

// --- Fitting, against the plainest way to say it

static void fitting_equals_its_reference(void **state)
{
    enum { W = 40, H = 24 };
    uint8_t data[W * H * 3], fitted[EDGE * EDGE * 3];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 37 % 251);
    const struct pixels in = {W, H, data};
    struct model_spec s = {
        .width = EDGE, .height = EDGE, .resize = EDGE, .std = {0.5F, 0.25F, 1}, .mean = {0.1F, 0.2F, 0.3F}};
    for (int fit = FIT_SQUASH; fit <= FIT_CROP; fit++) {
        s.fit = (enum model_fit)fit;
        picture_fit(&in, &s, fitted);
        int width = fit == FIT_SQUASH ? W : H, left = (W - width) / 2; // a crop's source is H x H, in the middle
        for (int y = 0; y < EDGE; y++)
            for (int x = 0; x < EDGE; x++)
                for (int c = 0; c < 3; c++) {
                    int sum = 0, cell_w = width / EDGE, cell_h = H / EDGE;
                    for (int v = 0; v < cell_h; v++)
                        for (int u = 0; u < cell_w; u++)
                            sum += data[((y * cell_h + v) * W + left + x * cell_w + u) * 3 + c];
                    int mean = (2 * sum + cell_w * cell_h) / (2 * cell_w * cell_h);
                    assert_int_equal(fitted[(y * EDGE + x) * 3 + c], mean);
                }
    }
}

static void floats_equal_their_reference(void **state)
{
    uint8_t fitted[EDGE * EDGE * 3];
    float out[EDGE * EDGE * 3];
    for (size_t i = 0; i < sizeof fitted; i++)
        fitted[i] = (uint8_t)(i * 91 % 256);
    for (int way = 0; way < 4; way++) {
        struct model_spec s = {.width = EDGE,
                               .height = EDGE,
                               .nhwc = way & 1,
                               .bgr = way & 2,
                               .mean = {0.1F, 0.2F, 0.3F},
                               .std = {0.5F, 0.25F, 1}};
        picture_floats(fitted, &s, out);
        for (size_t i = 0; i < EDGE * EDGE; i++)
            for (size_t c = 0; c < 3; c++) {
                float value = (float)fitted[i * 3 + (s.bgr ? 2 - c : c)] / 255;
                float got = out[s.nhwc ? i * 3 + c : c * EDGE * EDGE + i];
                assert_true(fabsf(got - (value - s.mean[c]) / s.std[c]) < 1e-5F);
            }
    }
}

static void padding_keeps_the_shape(void **state)
{
    uint8_t data[EDGE * 2 * EDGE * 3], fitted[EDGE * EDGE * 3];
    memset(data, 200, sizeof data);
    const struct pixels wide = {2 * EDGE, EDGE, data};
    struct model_spec s = {.width = EDGE, .height = EDGE, .fit = FIT_PAD, .mean = {0, 0, 0}, .std = {1, 1, 1}};
    picture_fit(&wide, &s, fitted);
    for (int y = 0; y < EDGE; y++)
        assert_int_equal(fitted[y * EDGE * 3], y >= EDGE / 4 && y < EDGE * 3 / 4 ? 200 : 0);
}

static int make_folder(void **state)
{
    assert_non_null(getenv("DEEPLENS_TEST_BINARY"));
    log_setup(LOG_ERROR, false);
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    return folders_remove(folder, NULL);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "worker-extract") == 0)
        return fake_worker();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_picture_that_kills_fails_and_the_next_one_works),
        cmocka_unit_test(a_worker_killed_from_outside_costs_nothing),
        cmocka_unit_test(a_worker_that_cannot_be_had_now_may_be_had_later),
        cmocka_unit_test(what_a_worker_refuses_is_no_death),
        cmocka_unit_test(a_program_that_is_no_worker_is_an_error),
        cmocka_unit_test(nobody_fails_for_anothers_picture),
        cmocka_unit_test(published_layout_is_read_as_it_is),
        cmocka_unit_test(what_makes_no_sense_is_refused_by_name),
        cmocka_unit_test(hostile_models_are_refused_by_name),
        cmocka_unit_test(a_zero_vector_never_leaves),
        cmocka_unit_test(without_openvino_the_reason_says_what_to_do),
        cmocka_unit_test(fitting_equals_its_reference),
        cmocka_unit_test(floats_equal_their_reference),
        cmocka_unit_test(padding_keeps_the_shape),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
