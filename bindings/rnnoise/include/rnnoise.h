/*
 * The interface of RNNoise 0.2 for the models of quietwire. Differences: docs/c-library.md
 * License: MIT or Apache-2.0, at your choice.
 */
#ifndef RNNOISE_H
#define RNNOISE_H 1

#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One channel at 48 kHz. One thread at a time. */
typedef struct DenoiseState DenoiseState;

/* A model. Any number of states may use it. */
typedef struct RNNModel RNNModel;

/* Bytes of a DenoiseState, for rnnoise_init. */
int rnnoise_get_size(void);

/* Samples of a frame: 480. */
int rnnoise_get_frame_size(void);

/* Makes a state in memory of rnnoise_get_size() bytes. model NULL: the default. Returns 0, or -1 after a
 * failure. End the state with rnnoise_destroy, if the memory is from malloc. */
int rnnoise_init(DenoiseState *st, RNNModel *model);

/* Makes a state. model NULL: the default. Returns NULL after a failure. */
DenoiseState *rnnoise_create(RNNModel *model);

/* Ends a state and frees its memory. */
void rnnoise_destroy(DenoiseState *st);

/* Denoises 480 samples in the range of 16-bit numbers, -32768 to 32767. in and out may be one buffer.
 * Returns the probability of speech, 0 to 1. */
float rnnoise_process_frame(DenoiseState *st, float *out, const float *in);

/* Weights of RNNoise itself are not supported: returns NULL, with which rnnoise_create makes the default. */
RNNModel *rnnoise_model_from_buffer(const void *ptr, int len);

/* As rnnoise_model_from_buffer. */
RNNModel *rnnoise_model_from_file(FILE *f);

/* "base", "tiny", or the folder of a quietwire model with 48 kHz and hops of 480 samples. NULL for
 * anything else. */
RNNModel *rnnoise_model_from_filename(const char *filename);

/* Frees a model. States keep what they use. */
void rnnoise_model_free(RNNModel *model);

#ifdef __cplusplus
}
#endif

#endif
