/* Cleans a 16-bit WAV file of any rate and number of channels. The output has the same length, and each of
 * its frames belongs to the input frame with the same index.
 *
 *     file_filter INPUT.wav OUTPUT.wav
 */
#include <quietwire.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_FRAMES = 1000, HEADER_BYTES = 44 };

static uint32_t read_le(const unsigned char *bytes, int count) {
  uint32_t value = 0;
  while (count-- > 0)
    value = value << 8 | bytes[count];
  return value;
}

static void write_le(unsigned char *bytes, uint32_t value, int count) {
  for (int at = 0; at < count; at++)
    bytes[at] = (unsigned char)(value >> 8 * at);
}

typedef struct {
  uint32_t rate_hz, channels, data_bytes;
} Wav;

/* Reads up to the first sample. Returns 0 for anything but 16-bit PCM. */
static int read_header(FILE *file, Wav *wav) {
  unsigned char chunk[8], format[16];
  if (fread(chunk, 1, 8, file) != 8 || memcmp(chunk, "RIFF", 4) != 0)
    return 0;
  if (fread(chunk, 1, 4, file) != 4 || memcmp(chunk, "WAVE", 4) != 0)
    return 0;
  wav->channels = 0;
  while (fread(chunk, 1, 8, file) == 8) {
    uint32_t bytes = read_le(chunk + 4, 4);
    if (memcmp(chunk, "data", 4) == 0) {
      wav->data_bytes = bytes;
      return wav->channels > 0;
    }
    long skip = (long)bytes + (bytes & 1);
    if (memcmp(chunk, "fmt ", 4) == 0) {
      if (bytes < 16 || fread(format, 1, 16, file) != 16)
        return 0;
      if (read_le(format, 2) != 1 || read_le(format + 14, 2) != 16)
        return 0;
      wav->channels = read_le(format + 2, 2);
      wav->rate_hz = read_le(format + 4, 4);
      skip -= 16;
    }
    if (fseek(file, skip, SEEK_CUR) != 0)
      return 0;
  }
  return 0;
}

static int write_header(FILE *file, const Wav *wav, uint32_t data_bytes) {
  unsigned char header[HEADER_BYTES] = "RIFF\0\0\0\0WAVEfmt ";
  write_le(header + 4, HEADER_BYTES - 8 + data_bytes, 4);
  write_le(header + 16, 16, 4);
  write_le(header + 20, 1, 2);
  write_le(header + 22, wav->channels, 2);
  write_le(header + 24, wav->rate_hz, 4);
  write_le(header + 28, wav->rate_hz * wav->channels * 2, 4);
  write_le(header + 32, wav->channels * 2, 2);
  write_le(header + 34, 16, 2);
  memcpy(header + 36, "data", 4);
  write_le(header + 40, data_bytes, 4);
  return fwrite(header, 1, HEADER_BYTES, file) == HEADER_BYTES;
}

/* Samples are little-endian in the file, and in the order of the processor in memory. */
static size_t read_frames(FILE *file, int16_t *samples, size_t frames, size_t channels) {
  unsigned char bytes[2];
  size_t count = 0;
  while (count < frames * channels && fread(bytes, 1, 2, file) == 2)
    samples[count++] = (int16_t)read_le(bytes, 2);
  return count / channels;
}

static int write_samples(FILE *file, const int16_t *samples, size_t count) {
  unsigned char bytes[2];
  for (size_t at = 0; at < count; at++) {
    write_le(bytes, (uint16_t)samples[at], 2);
    if (fwrite(bytes, 1, 2, file) != 2)
      return 0;
  }
  return 1;
}

/* Processes all frames, then as much silence as the latency, and drops as many frames at the start. */
static int filter(QuietwireStream *stream, FILE *input, FILE *output, const Wav *wav) {
  size_t channels = wav->channels, latency = quietwire_latency(stream);
  size_t frames = wav->data_bytes / (2 * channels);
  size_t silence = latency, skip = latency, written = 0;
  int16_t *block = malloc(BLOCK_FRAMES * channels * sizeof *block);
  int ok = block != NULL;
  while (ok && (frames > 0 || silence > 0)) {
    size_t count = frames < BLOCK_FRAMES ? frames : BLOCK_FRAMES;
    if (frames > 0) {
      count = read_frames(input, block, count, channels);
      frames = count > 0 ? frames - count : 0; /* a file that was cut short ends here */
    } else {
      count = silence < BLOCK_FRAMES ? silence : BLOCK_FRAMES;
      memset(block, 0, count * channels * sizeof *block);
      silence -= count;
    }
    if (quietwire_process_i16(stream, block, block, count) != QUIETWIRE_OK) {
      fprintf(stderr, "file_filter: %s\n", quietwire_error_text(stream));
      ok = 0;
      break;
    }
    size_t dropped = skip < count ? skip : count;
    skip -= dropped;
    written += count - dropped;
    ok = write_samples(output, block + dropped * channels, (count - dropped) * channels);
  }
  free(block);
  /* The number of frames is final only now. */
  return ok && fseek(output, 0, SEEK_SET) == 0 &&
         write_header(output, wav, (uint32_t)(written * channels * 2));
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: file_filter INPUT.wav OUTPUT.wav\n");
    return 2;
  }
  Wav wav;
  FILE *input = fopen(argv[1], "rb");
  if (input == NULL || !read_header(input, &wav)) {
    fprintf(stderr, "file_filter: %s is not a 16-bit PCM WAV file\n", argv[1]);
    if (input != NULL)
      fclose(input);
    return 1;
  }
  QuietwireOptions options;
  quietwire_options_init(&options, sizeof options);
  options.rate_hz = wav.rate_hz;
  options.channels = wav.channels;
  QuietwireStream *stream = NULL;
  if (quietwire_new(NULL, 0, &options, &stream) != QUIETWIRE_OK) {
    fprintf(stderr, "file_filter: %s\n", quietwire_error_text(NULL));
    fclose(input);
    return 1;
  }
  int ok = 0;
  FILE *output = fopen(argv[2], "wb");
  if (output != NULL) {
    ok = write_header(output, &wav, 0) && filter(stream, input, output, &wav);
    ok = fclose(output) == 0 && ok;
  }
  if (!ok)
    fprintf(stderr, "file_filter: %s was not written\n", argv[2]);
  quietwire_free(stream);
  fclose(input);
  return ok ? 0 : 1;
}
