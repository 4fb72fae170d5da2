// The elementwise loop of the gated recurrence, and a GRU whose products with the input are given, forward
// and backward, for `recurrence.py` and `gru.py`.
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

typedef float Vector __attribute__((vector_size(64)));
constexpr int64_t LANES = 16, TILE = 2 * LANES;
constexpr int BLOCK = 4;  // rows that share one reading of the weights

// sums [ROWS, n] += values [ROWS, units] x weight [units, n]. The rows of `values` are `stride` apart.
template <int ROWS>
void add_products(const float* values, int64_t stride, const float* weight, float* sums, int64_t units,
                  int64_t n) {
    int64_t first = 0;
    for (; first + TILE <= n; first += TILE) {
        Vector tile[ROWS][2];
        for (int row = 0; row < ROWS; row++) std::memcpy(tile[row], sums + row * n + first, sizeof tile[row]);
        for (int64_t unit = 0; unit < units; unit++) {
            Vector weights[2];
            std::memcpy(weights, weight + unit * n + first, sizeof weights);
            for (int row = 0; row < ROWS; row++) {
                const float value = values[row * stride + unit];
                tile[row][0] += weights[0] * value;
                tile[row][1] += weights[1] * value;
            }
        }
        for (int row = 0; row < ROWS; row++) std::memcpy(sums + row * n + first, tile[row], sizeof tile[row]);
    }
    for (int row = 0; row < ROWS && first < n; row++) {
        for (int64_t unit = 0; unit < units; unit++) {
            const float value = values[row * stride + unit];
            for (int64_t k = first; k < n; k++) sums[row * n + k] += value * weight[unit * n + k];
        }
    }
}

// The same for `rows` rows.
void add_products(int64_t rows, const float* values, int64_t stride, const float* weight, float* sums,
                  int64_t units, int64_t n) {
    for (; rows >= BLOCK; rows -= BLOCK, values += BLOCK * stride, sums += BLOCK * n) {
        add_products<BLOCK>(values, stride, weight, sums, units, n);
    }
    for (; rows > 0; rows--, values += stride, sums += n) {
        add_products<1>(values, stride, weight, sums, units, n);
    }
}

// GRU with the reset gate after the product (as torch.nn.GRU). Gates are in the order reset, update,
// candidate.
//
// inputs [steps, rows, 3 * width]: products of the input, with its bias. weight [width, 3 * width]: of the
// state, transposed. Writes state [steps, rows, width], gates [steps, rows, 3 * width] after their
// nonlinearities, and product [steps, rows, width]: of the state for the candidate, with its bias. WIDTH: the
// width of a narrow state, whose sums stay in registers row by row, or 0 for any width, whose products are
// those of all rows of a step.
template <int WIDTH>
void gru_forward(const float* inputs, const float* weight, const float* bias, float* state, float* gates,
                 float* product, int64_t steps, int64_t rows, int64_t any_width, bool is_reversed, int threads) {
    parallel_rows(rows, threads, [=](int64_t first, int64_t last) {
        const int64_t width = WIDTH ? WIDTH : any_width, wide = 3 * width;
        std::vector<float> sums(WIDTH ? 0 : (last - first) * wide);
        float fixed[WIDTH ? 3 * WIDTH : 1];
        const std::vector<float> zeros((WIDTH ? 1 : last - first) * width, 0.f);
        for (int64_t turn = 0; turn < steps; turn++) {
            const int64_t step = is_reversed ? steps - 1 - turn : turn;
            const int64_t before = is_reversed ? step + 1 : step - 1;
            if (!WIDTH) {
                const float* old = turn ? state + (before * rows + first) * width : zeros.data();
                for (int64_t row = 0; row < last - first; row++) {
                    std::memcpy(sums.data() + row * wide, bias, wide * sizeof(float));
                }
                add_products(last - first, old, width, weight, sums.data(), width, wide);
            }
            for (int64_t row = first; row < last; row++) {
                const int64_t at = step * rows + row;
                const float* old = turn ? state + (before * rows + row) * width : zeros.data();
                const float* in = inputs + at * wide;
                float *now = state + at * width, *gate = gates + at * wide, *held = product + at * width;
                float* sum = WIDTH ? fixed : sums.data() + (row - first) * wide;
                if (WIDTH) {
                    for (int64_t k = 0; k < wide; k++) sum[k] = bias[k];
                    for (int64_t unit = 0; unit < width; unit++) {
                        const float value = old[unit];
                        const float* row_of_weight = weight + unit * wide;
#pragma GCC ivdep
                        for (int64_t k = 0; k < wide; k++) sum[k] += value * row_of_weight[k];
                    }
                }
#pragma GCC ivdep
                for (int64_t k = 0; k < width; k++) {
                    const float reset = sigmoid(in[k] + sum[k]);
                    const float update = sigmoid(in[width + k] + sum[width + k]);
                    const float candidate = tangent(in[2 * width + k] + reset * sum[2 * width + k]);
                    held[k] = sum[2 * width + k];
                    gate[k] = reset;
                    gate[width + k] = update;
                    gate[2 * width + k] = candidate;
                    now[k] = candidate + update * (old[k] - candidate);
                }
            }
        }
    });
}

// Gradient of the states -> of the inputs [steps, rows, 3 * width] and of the products of the state, whose
// candidate differs. weight [3 * width, width]: of the state.
template <int WIDTH>
void gru_backward(const float* grad_out, const float* weight, const float* state, const float* gates,
                  const float* product, float* grad_inputs, float* grad_products, int64_t steps, int64_t rows,
                  int64_t any_width, bool is_reversed, int threads) {
    parallel_rows(rows, threads, [=](int64_t first, int64_t last) {
        const int64_t width = WIDTH ? WIDTH : any_width, wide = 3 * width;
        std::vector<float> later((last - first) * width, 0.f);
        float fixed[WIDTH ? WIDTH : 1];
        const std::vector<float> zeros(width, 0.f);
        for (int64_t turn = steps - 1; turn >= 0; turn--) {
            const int64_t step = is_reversed ? steps - 1 - turn : turn;
            const int64_t before = is_reversed ? step + 1 : step - 1;
            for (int64_t row = first; row < last; row++) {
                const int64_t at = step * rows + row;
                const float* old = turn ? state + (before * rows + row) * width : zeros.data();
                const float *gate = gates + at * wide, *held = product + at * width;
                float *to_input = grad_inputs + at * wide, *to_product = grad_products + at * wide;
                float* carried = later.data() + (row - first) * width;
                float* sum = WIDTH ? fixed : carried;
#pragma GCC ivdep
                for (int64_t k = 0; k < width; k++) {
                    const float reset = gate[k], update = gate[width + k], candidate = gate[2 * width + k];
                    const float d = grad_out[at * width + k] + carried[k];
                    const float to_candidate = d * (1.f - update) * (1.f - candidate * candidate);
                    const float to_update = d * (old[k] - candidate) * update * (1.f - update);
                    const float to_reset = to_candidate * held[k] * reset * (1.f - reset);
                    to_input[k] = to_product[k] = to_reset;
                    to_input[width + k] = to_product[width + k] = to_update;
                    to_input[2 * width + k] = to_candidate;
                    to_product[2 * width + k] = to_candidate * reset;
                    sum[k] = d * update;
                }
                if (!WIDTH) continue;
                for (int64_t k = 0; k < wide; k++) {
                    const float value = to_product[k];
                    const float* row_of_weight = weight + k * width;
#pragma GCC ivdep
                    for (int64_t unit = 0; unit < width; unit++) sum[unit] += value * row_of_weight[unit];
                }
                for (int64_t unit = 0; unit < width; unit++) carried[unit] = sum[unit];
            }
            if (!WIDTH) {
                const float* of_step = grad_products + (step * rows + first) * wide;
                add_products(last - first, of_step, wide, weight, later.data(), wide, width);
            }
        }
    });
}

}  // namespace

extern "C" void gru_forward_f32(const float* inputs, const float* weight, const float* bias, float* state,
                                float* gates, float* product, int64_t steps, int64_t rows, int64_t width,
                                int is_reversed, int threads) {
    const auto run = width == 16 ? gru_forward<16> : width == 24 ? gru_forward<24> : gru_forward<0>;
    run(inputs, weight, bias, state, gates, product, steps, rows, width, is_reversed != 0, threads);
}

extern "C" void gru_backward_f32(const float* grad_out, const float* weight, const float* state,
                                 const float* gates, const float* product, float* grad_inputs,
                                 float* grad_products, int64_t steps, int64_t rows, int64_t width,
                                 int is_reversed, int threads) {
    const auto run = width == 16 ? gru_backward<16> : width == 24 ? gru_backward<24> : gru_backward<0>;
    run(grad_out, weight, state, gates, product, grad_inputs, grad_products, steps, rows, width, is_reversed != 0,
        threads);
}

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
