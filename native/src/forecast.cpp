#include "recurra/forecast.hpp"

#include <cstring>

#include "activations.hpp"

namespace recurra {

namespace {

Buffer<float> copy_of(const float* values, int64_t count) {
    Buffer<float> copy(count);
    std::memcpy(copy.data(), values, count * sizeof(float));
    return copy;
}

// W [outputs, inputs] as a matrix [inputs, outputs] of this ISA's products.
Buffer<float> packed(const Kernels<float>& kernels, const float* W, int64_t outputs, int64_t inputs) {
    Buffer<float> memory(packed_size<float>(kernels.lanes, inputs, outputs));
    kernels.pack({memory.data(), inputs, outputs}, W, 1, inputs, 0, inputs);
    return memory;
}

constexpr int index_of(const char* name) {
    for (int i = 0;; ++i) {
        const char *a = activation_names[i], *b = name;
        while (*a && *a == *b) ++a, ++b;
        if (*a == *b) return i;
    }
}

constexpr int kTanh = index_of("tanh"), kSoftplus = index_of("softplus");

}  // namespace

ForecastHead::ForecastHead(const Isa& isa, const ForecastSizes& sizes, const ForecastWeights& w) : isa_(&isa), sizes_(sizes) {
    const auto& [N, P, U, F, S, Q, middle] = sizes_;
    const Kernels<float>& kernels = *isa.kernels<float>();
    Buffer<float> both((U + N) * P);
    std::memcpy(both.data(), w.A, U * P * sizeof(float));
    std::memcpy(both.data() + U * P, w.D, N * P * sizeof(float));
    state_ = packed(kernels, both.data(), U + N, P);
    ahead_ = packed(kernels, w.B, U, F + S);
    trust_ = packed(kernels, w.W, S, U);
    spread_ = packed(kernels, w.C, Q, U);
    e_ = copy_of(w.e, N * U);
    w_ = copy_of(w.w, N * S);
    c_ = copy_of(w.c, N * Q);
    k_ = copy_of(w.k, N * Q);
}

int64_t ForecastHead::scratch() const {
    const auto& [N, P, U, F, S, Q, middle] = sizes_;
    return U + N + N * U + N * S + 2 * N * Q;
}

void ForecastHead::run(const float* h, const float* beside, int64_t beside_row, int64_t rows, float* scratch,
                       float* out) const noexcept {
    const auto& [N, P, U, F, S, Q, middle] = sizes_;
    const Kernels<float>& kernels = *isa_->kernels<float>();
    const Elementwise& elementwise = *isa_->elementwise;
    float* const of_state = scratch;
    float* const direct = of_state + U;
    float* const units = direct + N;
    float* const trust = units + N * U;
    float* const value = trust + N * S;
    float* const spread = value + N * Q;
    for (int64_t r = 0; r < rows; ++r, h += P, beside += beside_row, out += N * Q) {
        kernels.product({h, P, 1, 1, {state_.data(), P, U + N}, nullptr, 0, of_state, U + N});
        for (int64_t n = 0; n < N; ++n) {
            for (int64_t u = 0; u < U; ++u) units[n * U + u] = e_[n * U + u] + of_state[u];
        }
        kernels.product({beside, F + S, 1, N, {ahead_.data(), F + S, U}, units, U, units, U});
        elementwise.maps[kTanh](units, N * U, 0, units);
        kernels.product({units, U, 1, N, {trust_.data(), U, S}, w_.data(), S, trust, S});
        elementwise.softmax(trust, N, S, trust);
        kernels.product({units, U, 1, N, {spread_.data(), U, Q}, c_.data(), Q, value, Q});
        elementwise.maps[kSoftplus](value, N * Q, 0, spread);
        for (int64_t n = 0; n < N; ++n) {
            const float* season = beside + n * (F + S) + F;
            float at = direct[n] + value[n * Q + middle];
            for (int64_t s = 0; s < S; ++s) at += trust[n * S + s] * season[s];
            float* to = out + n * Q;
            to[middle] = at;
            for (int64_t q = middle + 1; q < Q; ++q) to[q] = to[q - 1] + k_[n * Q + q] * spread[n * Q + q];
            for (int64_t q = middle - 1; q >= 0; --q) to[q] = to[q + 1] - k_[n * Q + q] * spread[n * Q + q];
        }
    }
}

}  // namespace recurra
