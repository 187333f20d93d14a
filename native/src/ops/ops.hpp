// What ops are made with, and the tables of them by name, one for each file.
#pragma once

#include <cstring>

#include "activations.hpp"
#include "recurra/memory.hpp"
#include "recurra/op.hpp"

namespace recurra {

inline Buffer<float> copy_of(const float* values, int64_t count) {
    Buffer<float> copy(count);
    if (count) std::memcpy(copy.data(), values, count * sizeof(float));
    return copy;
}

inline Buffer<float> copy_of(const Tensor& tensor) {
    int64_t count = tensor.data ? 1 : 0;
    for (const int64_t size : tensor.shape) count *= size;
    return copy_of(tensor.data, count);
}

// W [outputs, inputs] as a matrix [inputs, outputs] of this ISA's products.
inline Buffer<float> packed(const Isa& isa, const float* W, int64_t outputs, int64_t inputs) {
    const Kernels<float>& kernels = *isa.kernels<float>();
    Buffer<float> memory(packed_size<float>(kernels.lanes, inputs, outputs));
    kernels.pack({memory.data(), inputs, outputs}, W, 1, inputs, 0, inputs);
    return memory;
}

// The place of an activation of that name among an ISA's maps.
constexpr int index_of(const char* name) {
    for (int i = 0;; ++i) {
        const char *a = activation_names[i], *b = name;
        while (*a && *a == *b) ++a, ++b;
        if (*a == *b) return i;
    }
}

using OpTable = std::vector<NamedOp>;
extern const OpTable dense_ops, convolution_2d_ops, elementwise_ops, pool_ops, forecast_ops, attend_ops, readout_ops, ngrams_ops;

}  // namespace recurra
