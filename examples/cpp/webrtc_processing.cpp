// quietwire as the capture post-processor of WebRTC's audio processing module:
//
//     webrtc::BuiltinAudioProcessingBuilder()
//         .SetCapturePostProcessing(std::make_unique<QuietwireProcessing>())
//         .Build(environment);
//
// In a real program include "api/audio/audio_processing.h" and "modules/audio_processing/audio_buffer.h"
// in place of the declarations below. They are only as much of these interfaces as the class needs.
#include "quietwire.hpp"

#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>

namespace webrtc {

// 10 ms of audio, planar, float in the range of 16-bit samples.
class AudioBuffer {
 public:
  AudioBuffer(std::size_t frames, std::size_t channels) : frames_(frames), samples_(frames * channels) {
    for (std::size_t channel = 0; channel < channels; channel++)
      channels_.push_back(samples_.data() + channel * frames);
  }
  std::size_t num_channels() const { return channels_.size(); }
  std::size_t num_frames() const { return frames_; }
  float* const* channels() { return channels_.data(); }

 private:
  std::size_t frames_;
  std::vector<float> samples_;
  std::vector<float*> channels_;
};

class CustomProcessing {
 public:
  virtual ~CustomProcessing() = default;
  virtual void Initialize(int sample_rate_hz, int num_channels) = 0;
  virtual void Process(AudioBuffer* audio) = 0;
  virtual std::string ToString() const = 0;
};

}  // namespace webrtc

class QuietwireProcessing : public webrtc::CustomProcessing {
 public:
  QuietwireProcessing() : model_(quietwire::Model::embedded("base")) {}

  // Not a real-time call. WebRTC calls it again when the rate or the channels change.
  void Initialize(int sample_rate_hz, int num_channels) override {
    stream_.reset();
    QuietwireOptions options = quietwire::default_options();
    options.rate_hz = static_cast<uint32_t>(sample_rate_hz);
    options.channels = static_cast<uint32_t>(num_channels);
    // Frames of 10 ms are whole hops at the rate of the model: 10 ms of latency instead of 20 ms.
    options.hop_aligned = sample_rate_hz == 48000;
    try {
      stream_.emplace(options, std::vector<const quietwire::Model*>{&model_});
    } catch (const quietwire::Error& error) {
      std::fprintf(stderr, "quietwire: %s: audio passes unchanged\n", error.what());
    }
  }

  void Process(webrtc::AudioBuffer* audio) override {
    if (!stream_) return;
    scale(audio, 1.0f / 32768.0f);
    // After every error but wrong arguments the output is complete: the delayed input.
    stream_->process(audio->channels(), audio->channels(), audio->num_frames());
    scale(audio, 32768.0f);
  }

  std::string ToString() const override { return std::string("quietwire ") + quietwire_version(); }

  // Any thread: not while Initialize runs.
  quietwire::Stream* stream() { return stream_ ? &*stream_ : nullptr; }

 private:
  static void scale(webrtc::AudioBuffer* audio, float factor) {
    for (std::size_t channel = 0; channel < audio->num_channels(); channel++)
      for (std::size_t frame = 0; frame < audio->num_frames(); frame++)
        audio->channels()[channel][frame] *= factor;
  }

  quietwire::Model model_;
  std::optional<quietwire::Stream> stream_;
};

// Passes an impulse through the processor, switched off, and returns the frame at which it comes out.
static long impulse_position(QuietwireProcessing& processing, int rate_hz, int channels) {
  processing.Initialize(rate_hz, channels);
  processing.stream()->set_bypass(true);
  const std::size_t frames = static_cast<std::size_t>(rate_hz) / 100;
  long at = 0;
  for (int n = 0; n < 60; n++) {
    webrtc::AudioBuffer audio(frames, static_cast<std::size_t>(channels));
    // After the cross-fade to the delayed input.
    const int impulse_at = 40;
    if (n == impulse_at) audio.channels()[channels - 1][0] = 12345.0f;
    processing.Process(&audio);
    for (std::size_t frame = 0; n >= impulse_at && frame < frames; frame++) {
      if (std::fabs(audio.channels()[channels - 1][frame] - 12345.0f) < 0.01f)
        return at + static_cast<long>(frame);
    }
    if (n >= impulse_at) at += static_cast<long>(frames);
  }
  return -1;
}

int main() {
  auto processing = std::make_unique<QuietwireProcessing>();
  std::printf("%s\n", processing->ToString().c_str());
  bool ok = true;
  const int formats[][2] = {{48000, 2}, {32000, 1}, {16000, 1}};
  for (const auto& format : formats) {
    const long at = impulse_position(*processing, format[0], format[1]);
    const auto latency = static_cast<long>(processing->stream()->latency());
    std::printf("%d Hz, %d channels: latency %ld frames, impulse at %ld\n", format[0], format[1], latency,
                at);
    ok = ok && at == latency;
  }
  // A rate that is not supported: audio passes unchanged.
  processing->Initialize(4000, 1);
  webrtc::AudioBuffer audio(40, 1);
  audio.channels()[0][7] = 99.0f;
  processing->Process(&audio);
  ok = ok && processing->stream() == nullptr && audio.channels()[0][7] == 99.0f;
  return ok ? 0 : 1;
}
