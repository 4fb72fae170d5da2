/* Every function of the header, with its contract. */
#include <rnnoise.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                     \
  do {                                                                                                       \
    if (!(condition)) {                                                                                      \
      fprintf(stderr, "every_function: line %d: %s\n", __LINE__, #condition);                                \
      exit(1);                                                                                               \
    }                                                                                                        \
  } while (0)

enum { FRAME = 480, FRAMES = 100 };

/* An impulse through a state. Returns the sample at which it comes out. */
static long impulse_position(DenoiseState *st) {
  float input[FRAME], output[FRAME];
  long position = -1;
  float largest = 0.0f;
  for (int n = 0; n < FRAMES; n++) {
    memset(input, 0, sizeof input);
    if (n == 50)
      input[0] = 20000.0f;
    float speech = rnnoise_process_frame(st, output, input);
    CHECK(speech >= 0.0f && speech <= 1.0f);
    for (int at = 0; at < FRAME; at++) {
      CHECK(isfinite(output[at]) && fabsf(output[at]) <= 32768.0f);
      if (fabsf(output[at]) > largest) {
        largest = fabsf(output[at]);
        position = (long)(n - 50) * FRAME + at;
      }
    }
  }
  return position;
}

int main(void) {
  CHECK(rnnoise_get_frame_size() == FRAME);
  CHECK(rnnoise_get_size() > 0);

  DenoiseState *st = rnnoise_create(NULL);
  CHECK(st != NULL);
  long latency = impulse_position(st);
  CHECK(latency == FRAME);
  rnnoise_destroy(st);

  /* Memory of the program, twice in the same place. */
  st = malloc((size_t)rnnoise_get_size());
  CHECK(rnnoise_init(st, NULL) == 0);
  CHECK(rnnoise_init(st, NULL) == 0);
  CHECK(impulse_position(st) == latency);
  rnnoise_destroy(st);

  /* One buffer for both equals two. */
  DenoiseState *one = rnnoise_create(NULL), *two = rnnoise_create(NULL);
  for (int n = 0; n < FRAMES; n++) {
    float block[FRAME], copy[FRAME], output[FRAME];
    for (int at = 0; at < FRAME; at++)
      copy[at] = block[at] = (float)((n * FRAME + at) * 7919L % 2001 - 1000);
    CHECK(rnnoise_process_frame(one, block, block) == rnnoise_process_frame(two, output, copy));
    CHECK(memcmp(block, output, sizeof block) == 0);
  }
  rnnoise_destroy(one);
  rnnoise_destroy(two);

  /* Weights of RNNoise: NULL, and with it the default. */
  static const char weights[64];
  CHECK(rnnoise_model_from_buffer(weights, sizeof weights) == NULL);
  CHECK(rnnoise_model_from_filename("weights_blob.bin") == NULL);
  CHECK(rnnoise_model_from_file(stdin) == NULL);
  RNNModel *model = rnnoise_model_from_filename("tiny");
  CHECK(model != NULL);
  st = rnnoise_create(model);
  CHECK(st != NULL);
  rnnoise_model_free(model);
  CHECK(impulse_position(st) == latency);
  rnnoise_destroy(st);
  printf("latency: %ld samples\n", latency);
  return 0;
}
