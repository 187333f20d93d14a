// What stands between the products of a network: activations, normalization and softmax, for dense float32 rows.
//
// A row's bits do not depend on the other rows, nor on the ISA where that has fused multiply-add: sums over a row are
// taken in kPartialSums parts, whatever the width of a vector, which are then added in order.
#pragma once

#include <cstdint>

namespace recurra {

constexpr int kPartialSums = 16;

// One ISA's kernels. Nothing allocates or throws; `y` may be `x` itself.
struct Elementwise {
    // y[i] = f(x[i]); `number` is the slope of leaky_relu and unused elsewhere.
    using Map = void (*)(const float* x, int64_t count, float number, float* y) noexcept;
    const Map* maps;            // in the order of activation_names
    // y = (x - mean) / sqrt(variance + epsilon) * scale + shift, over each row of n.
    void (*normalize)(const float* x, int64_t rows, int64_t n, const float* scale, const float* shift, float epsilon,
                       float* y) noexcept;
    void (*exp)(const float* x, int64_t count, float* y) noexcept;
    // y = exp(x - max) / sum, over each row of n.
    void (*softmax)(const float* x, int64_t rows, int64_t n, float* y) noexcept;
};

}  // namespace recurra
