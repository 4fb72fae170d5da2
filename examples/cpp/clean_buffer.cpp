// Cleans a recording in memory. The output has the same length and is aligned with the input.
#include "quietwire.hpp"

#include <cmath>
#include <cstdio>
#include <random>

// `noisy` is mono. Each sample of the result belongs to the input sample with the same index.
static std::vector<float> clean(const std::vector<float>& noisy, unsigned rate_hz) {
  QuietwireOptions options = quietwire::default_options();
  options.rate_hz = rate_hz;
  options.attenuation_db = QUIETWIRE_HIGH_DB;
  const quietwire::Model model = quietwire::Model::embedded("tiny");
  quietwire::Stream stream(options, {&model});

  std::vector<float> output(noisy.size() + stream.latency());
  quietwire::check(stream.process(noisy.data(), output.data(), noisy.size()));
  quietwire::check(stream.flush(output.data() + noisy.size(), stream.latency()));
  output.erase(output.begin(), output.begin() + static_cast<std::ptrdiff_t>(stream.latency()));
  return output;
}

static double level_db(const std::vector<float>& samples, std::size_t from) {
  double sum = 0.0;
  for (std::size_t at = from; at < samples.size(); at++) sum += samples[at] * samples[at];
  return 10.0 * std::log10(sum / static_cast<double>(samples.size() - from));
}

int main() {
  // Three seconds of hiss at 44.1 kHz.
  constexpr unsigned rate_hz = 44100;
  std::minstd_rand random(1);
  std::uniform_real_distribution<float> hiss(-0.05f, 0.05f);
  std::vector<float> noisy(3 * rate_hz);
  for (float& sample : noisy) sample = hiss(random);

  const std::vector<float> cleaned = clean(noisy, rate_hz);
  // After the first second: the model adapts to the noise.
  const double before = level_db(noisy, rate_hz), after = level_db(cleaned, rate_hz);
  std::printf("hiss: %.1f dBFS in, %.1f dBFS out\n", before, after);

  try {
    clean(noisy, 1000);
    return 1;
  } catch (const quietwire::Error& error) {
    std::printf("a rate of 1000 Hz: error %d, %s\n", error.code(), error.what());
  }
  return cleaned.size() == noisy.size() && after < before - 10.0 ? 0 : 1;
}
