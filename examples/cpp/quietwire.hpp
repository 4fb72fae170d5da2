// The C interface as a C++ class: resources end with their scope, errors of construction are exceptions,
// and the calls of the audio thread return codes.
#pragma once

#include <quietwire.h>

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace quietwire {

class Error : public std::runtime_error {
 public:
  explicit Error(QuietwireError code)
      : std::runtime_error(quietwire_error_text(nullptr)), code_(code) {}
  QuietwireError code() const { return code_; }

 private:
  QuietwireError code_;
};

inline void check(QuietwireError code) {
  if (code != QUIETWIRE_OK) throw Error(code);
}

class Model {
 public:
  static Model embedded(const std::string& id) {
    QuietwireModel* model = nullptr;
    check(quietwire_model_embedded(id.c_str(), &model));
    return Model(model);
  }
  static Model from_folder(const std::string& path) {
    QuietwireModel* model = nullptr;
    check(quietwire_model_from_folder(path.c_str(), &model));
    return Model(model);
  }
  const QuietwireModel* get() const { return model_.get(); }

 private:
  explicit Model(QuietwireModel* model) : model_(model, quietwire_model_free) {}
  std::unique_ptr<QuietwireModel, decltype(&quietwire_model_free)> model_;
};

inline QuietwireOptions default_options() {
  QuietwireOptions options;
  check(quietwire_options_init(&options, sizeof options));
  return options;
}

class Stream {
 public:
  // Without models: the embedded model "base".
  explicit Stream(const QuietwireOptions& options = default_options(),
                  const std::vector<const Model*>& models = {})
      : stream_(make(options, models), quietwire_free) {}

  // The audio thread. `input` and `output` may be one buffer.
  QuietwireError process(const float* input, float* output, std::size_t frames) noexcept {
    return quietwire_process_f32(stream_.get(), input, output, frames);
  }
  QuietwireError process(const float* const* input, float* const* output,
                         std::size_t frames) noexcept {
    return quietwire_process_planar_f32(stream_.get(), input, output, frames);
  }
  QuietwireError flush(float* tail, std::size_t frames) noexcept {
    return quietwire_flush(stream_.get(), tail, frames);
  }
  QuietwireError reset() noexcept { return quietwire_reset(stream_.get()); }
  const char* error_text() const noexcept { return quietwire_error_text(stream_.get()); }

  // Any thread.
  std::size_t latency() const noexcept { return quietwire_latency(stream_.get()); }
  std::size_t hop_frames() const noexcept { return quietwire_hop_frames(stream_.get()); }
  void set_bypass(bool bypass) { check(quietwire_set_bypass(stream_.get(), bypass)); }
  void set_attenuation_db(float db) { check(quietwire_set_attenuation_db(stream_.get(), db)); }
  void set_model(std::size_t index) { check(quietwire_set_model(stream_.get(), index)); }
  QuietwireTelemetry telemetry() const {
    QuietwireTelemetry telemetry{};
    telemetry.size = sizeof telemetry;
    check(quietwire_telemetry(stream_.get(), &telemetry));
    return telemetry;
  }
  QuietwireStats stats() const {
    QuietwireStats stats{};
    stats.size = sizeof stats;
    check(quietwire_stats(stream_.get(), &stats));
    return stats;
  }

 private:
  static QuietwireStream* make(const QuietwireOptions& options,
                               const std::vector<const Model*>& models) {
    std::vector<const QuietwireModel*> handles;
    for (const Model* model : models) handles.push_back(model->get());
    QuietwireStream* stream = nullptr;
    check(quietwire_new(handles.data(), handles.size(), &options, &stream));
    return stream;
  }
  std::unique_ptr<QuietwireStream, decltype(&quietwire_free)> stream_;
};

}  // namespace quietwire
