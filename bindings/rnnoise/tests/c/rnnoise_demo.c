/* The usual program for RNNoise, written from its header: raw 16-bit samples, one channel, 48 kHz. As the
 * program of the same name it drops the first frame of the output, which is the latency.
 *
 *     rnnoise_demo INPUT.raw OUTPUT.raw
 */
#include <rnnoise.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static int16_t to_i16(float sample) {
  if (sample > 32767.0f)
    return 32767;
  if (sample < -32768.0f)
    return -32768;
  return (int16_t)(sample < 0.0f ? sample - 0.5f : sample + 0.5f);
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: rnnoise_demo INPUT.raw OUTPUT.raw\n");
    return 2;
  }
  FILE *input = fopen(argv[1], "rb"), *output = fopen(argv[2], "wb");
  int size = rnnoise_get_frame_size();
  float *frame = malloc((size_t)size * sizeof *frame);
  int16_t *samples = malloc((size_t)size * sizeof *samples);
  DenoiseState *st = rnnoise_create(NULL);
  if (input == NULL || output == NULL || frame == NULL || samples == NULL || st == NULL) {
    fprintf(stderr, "rnnoise_demo: cannot start\n");
    return 1;
  }
  int first = 1, frames = 0;
  double speech = 0.0;
  while (fread(samples, sizeof *samples, (size_t)size, input) == (size_t)size) {
    for (int at = 0; at < size; at++)
      frame[at] = samples[at];
    speech += rnnoise_process_frame(st, frame, frame);
    frames++;
    for (int at = 0; at < size; at++)
      samples[at] = to_i16(frame[at]);
    if (!first && fwrite(samples, sizeof *samples, (size_t)size, output) != (size_t)size)
      return 1;
    first = 0;
  }
  printf("%d frames, mean probability of speech %.2f\n", frames, frames > 0 ? speech / frames : 0.0);
  rnnoise_destroy(st);
  free(samples);
  free(frame);
  fclose(input);
  return fclose(output) == 0 ? 0 : 1;
}
