/* The work of an audio callback, and of the thread that controls it: settings and meters without a lock.
 *
 * A thread stands for the audio device here. It calls back with blocks whose length varies, as devices do.
 */
#include <quietwire.h>

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { RATE_HZ = 48000, CHANNELS = 2, MAX_FRAMES = 512, CALLBACKS = 400 };

static atomic_bool stopped;

/* What the device calls: `frames` frames, interleaved, replaced in place. No allocation, lock or wait. */
static void audio_callback(QuietwireStream *stream, float *block, size_t frames) {
  /* After an error the block is complete or unchanged: nothing to do here. The meters show failures. */
  (void)quietwire_process_f32(stream, block, block, frames);
}

static void *device(void *user_data) {
  QuietwireStream *stream = user_data;
  static float block[CHANNELS * MAX_FRAMES];
  uint32_t seed = 1;
  size_t position = 0;
  for (int callback = 0; callback < CALLBACKS; callback++) {
    size_t frames = callback % 3 == 0 ? MAX_FRAMES : 64 + (size_t)(callback % 7) * 37;
    for (size_t frame = 0; frame < frames; frame++) {
      seed = seed * 1664525u + 1013904223u;
      float hiss = 0.02f * ((float)(seed >> 8) / 8388608.0f - 1.0f);
      float hum = 0.1f * sinf(6.2831853f * 100.0f * (float)((position + frame) % RATE_HZ) / RATE_HZ);
      for (size_t channel = 0; channel < CHANNELS; channel++)
        block[frame * CHANNELS + channel] = hiss + hum;
    }
    audio_callback(stream, block, frames);
    position += frames;
  }
  atomic_store(&stopped, true);
  return NULL;
}

static void check(QuietwireError error) {
  if (error != QUIETWIRE_OK) {
    fprintf(stderr, "callback: %s\n", quietwire_error_text(NULL));
    exit(1);
  }
}

int main(void) {
  if (quietwire_abi_version() != QUIETWIRE_ABI_VERSION) {
    fprintf(stderr, "callback: the library has another binary interface than the header\n");
    return 1;
  }
  /* Everything that allocates, before the audio starts. */
  QuietwireModel *models[2] = {NULL, NULL};
  check(quietwire_model_embedded("base", &models[0]));
  check(quietwire_model_embedded("tiny", &models[1]));
  QuietwireOptions options;
  check(quietwire_options_init(&options, sizeof options));
  options.rate_hz = RATE_HZ;
  options.channels = CHANNELS;
  options.channel_mode = QUIETWIRE_CHANNELS_LINKED;
  QuietwireStream *stream = NULL;
  check(quietwire_new((const QuietwireModel *const *)models, 2, &options, &stream));
  quietwire_model_free(models[0]);
  quietwire_model_free(models[1]);
  printf("latency: %zu frames, hop: %zu frames\n", quietwire_latency(stream),
         quietwire_hop_frames(stream));

  pthread_t thread;
  if (pthread_create(&thread, NULL, device, stream) != 0)
    return 1;
  /* The control thread. These calls neither wait for the audio thread nor make it wait. */
  QuietwireStats stats = {.size = sizeof stats};
  QuietwireTelemetry meters = {.size = sizeof meters};
  for (int step = 0; !atomic_load(&stopped); step++) {
    check(quietwire_set_attenuation_db(stream, step % 2 ? QUIETWIRE_MEDIUM_DB : QUIETWIRE_HIGH_DB));
    check(quietwire_set_bypass(stream, step % 10 == 9));
    check(quietwire_set_model(stream, (size_t)(step / 10 % 2)));
    check(quietwire_telemetry(stream, &meters));
    check(quietwire_stats(stream, &stats));
  }
  pthread_join(thread, NULL);
  check(quietwire_stats(stream, &stats));
  check(quietwire_telemetry(stream, &meters));
  printf("hops: %llu, failed: %llu, in %.1f dBFS, out %.1f dBFS\n", (unsigned long long)stats.hops,
         (unsigned long long)stats.failed_hops, meters.input_dbfs, meters.output_dbfs);
  quietwire_free(stream);
  return stats.failed_hops == 0 && stats.panics == 0 ? 0 : 1;
}
