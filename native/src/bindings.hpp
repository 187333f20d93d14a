// What the parts of the Python module share: arrays as they come from NumPy, and weights.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <vector>

#include "recurra/call.hpp"

namespace recurra::bindings {

namespace nb = nanobind;

using Array = nb::ndarray<nb::device::cpu, nb::c_contig>;
using Maybe = std::optional<Array>;

template <class T> T* pointer(const Array& array) { return static_cast<T*>(array.data()); }
template <class T> T* pointer(const Maybe& array) { return array ? pointer<T>(*array) : nullptr; }
template <class T, class Arrays> std::vector<T*> pointers(const Arrays& arrays) {
    std::vector<T*> all;
    for (const auto& array : arrays) all.push_back(pointer<T>(array));
    return all;
}

// W, U, b, c, R and the per-unit parameters.
struct WeightArrays {
    Array input, recurrent, input_bias, recurrent_bias;
    Maybe projection;
    std::vector<Array> parameters;

    template <class T> Weights<T> weights() const {
        return {pointer<T>(input), pointer<T>(recurrent), pointer<T>(input_bias), pointer<T>(recurrent_bias),
                pointer<T>(projection), pointers<const T>(parameters)};
    }
    template <class T> Cell<T> cell(const Kernel& kernel, int64_t hidden) const {
        return kernel.cell<T>(input.shape(1), hidden, projection ? projection->shape(0) : hidden);
    }
};

void bind_call(nb::module_& m);
void bind_memory(nb::module_& m);
void bind_network(nb::module_& m);

}  // namespace recurra::bindings
