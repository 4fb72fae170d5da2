// The elementwise loop of the gated recurrence, forward and backward, for `recurrence.py`.
//
// Rows are independent and are divided among threads. A bfloat16 is the upper 16 bits of a float.

#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

namespace {

inline float load(float value) { return value; }

inline float load(uint16_t value) {
    const uint32_t bits = uint32_t(value) << 16;
    float wide;
    std::memcpy(&wide, &bits, 4);
    return wide;
}

inline void store(float* to, float value) { *to = value; }

inline void store(uint16_t* to, float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    *to = uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);  // to nearest, ties to even
}

// e^x without a branch (Cephes `expf`), so that the compiler vectorizes it.
inline float exponential(float x) {
    x = x < -87.f ? -87.f : (x > 87.f ? 87.f : x);
    const float n = __builtin_rintf(x * 1.44269504f);
    const float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.f;
    const uint32_t bits = uint32_t(int32_t(n) + 127) << 23;
    float power;
    std::memcpy(&power, &bits, 4);
    return p * power;
}

inline float sigmoid(float x) { return 1.f / (1.f + exponential(-x)); }

inline float tangent(float x) { return 2.f * sigmoid(2.f * x) - 1.f; }

// Calls `part(first, last)` for equal ranges of rows, one per thread.
template <class Part>
void parallel_rows(int64_t rows, int threads, const Part& part) {
    std::vector<std::thread> others;
    for (int index = 1; index < threads; index++) {
        others.emplace_back(part, rows * index / threads, rows * (index + 1) / threads);
    }
    part(0, threads > 0 ? rows / threads : rows);
    for (auto& other : others) other.join();
}

// x [steps, rows, width], gates [steps, rows, 3 * width] -> out and state like x.
template <class T>
void forward(const T* x, const T* gates, T* out, T* state, int64_t steps, int64_t rows, int64_t width,
             int threads) {
    parallel_rows(rows, threads, [=](int64_t first, int64_t last) {
        std::vector<float> states((last - first) * width, 0.f);
        for (int64_t step = 0; step < steps; step++) {
            for (int64_t row = first; row < last; row++) {
                const int64_t at = (step * rows + row) * width;
                const T *update = gates + 3 * at, *candidate = update + width, *gate = candidate + width;
                float* h = states.data() + (row - first) * width;
#pragma GCC ivdep
                for (int64_t k = 0; k < width; k++) {
                    const float now = h[k] + sigmoid(load(update[k])) * (load(candidate[k]) - h[k]);
                    h[k] = now;
                    store(state + at + k, now);
                    store(out + at + k, load(x[at + k]) + sigmoid(load(gate[k])) * tangent(now));
                }
            }
        }
    });
}

// Gradient of the output, gates and states -> gradient of the gates.
template <class T>
void backward(const T* grad_out, const T* gates, const T* state, T* out, int64_t steps, int64_t rows,
              int64_t width, int threads) {
    parallel_rows(rows, threads, [=](int64_t first, int64_t last) {
        std::vector<float> grad_states((last - first) * width, 0.f);
        const std::vector<T> zeros(width, T(0));
        for (int64_t step = steps - 1; step >= 0; step--) {
            for (int64_t row = first; row < last; row++) {
                const int64_t at = (step * rows + row) * width;
                const T *update = gates + 3 * at, *candidate = update + width, *gate = candidate + width;
                const T* before = step ? state + at - rows * width : zeros.data();
                T *grad_update = out + 3 * at, *grad_candidate = grad_update + width, *grad_gate = grad_candidate + width;
                float* later = grad_states.data() + (row - first) * width;
#pragma GCC ivdep
                for (int64_t k = 0; k < width; k++) {
                    const float d = load(grad_out[at + k]), o = sigmoid(load(gate[k]));
                    const float shape = tangent(load(state[at + k])), z = sigmoid(load(update[k]));
                    const float dh = later[k] + d * o * (1.f - shape * shape);
                    store(grad_gate + k, d * shape * o * (1.f - o));
                    store(grad_candidate + k, dh * z);
                    store(grad_update + k, dh * (load(candidate[k]) - load(before[k])) * z * (1.f - z));
                    later[k] = dh * (1.f - z);
                }
            }
        }
    });
}

}  // namespace

#define EXPORT(suffix, type)                                                                               \
    extern "C" void forward_##suffix(const type* x, const type* gates, type* out, type* state,           \
                                     int64_t steps, int64_t rows, int64_t width, int threads) {          \
        forward(x, gates, out, state, steps, rows, width, threads);                                      \
    }                                                                                                    \
    extern "C" void backward_##suffix(const type* grad_out, const type* gates, const type* state,          \
                                      type* out, int64_t steps, int64_t rows, int64_t width,             \
                                      int threads) {                                                     \
        backward(grad_out, gates, state, out, steps, rows, width, threads);                                \
    }

EXPORT(f32, float)
EXPORT(bf16, uint16_t)
