// What the parts of the Python module share: arrays as they come from NumPy, and weights.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <vector>

#include "recurra/call.hpp"
#include "recurra/threads.hpp"

namespace recurra::bindings {

namespace nb = nanobind;

// Arrays that are only read, so that they may be read-only; and those that are written.
using Array = nb::ndarray<nb::ro, nb::device::cpu, nb::c_contig>;
using Result = nb::ndarray<nb::device::cpu, nb::c_contig>;
template <class A> using Maybe = std::optional<A>;

// The memory of an array; each throws std::invalid_argument unless it is of T, aligned, and of so many numbers.
template <class T, class A> auto* pointer(const A& array, int64_t count) {
    expect(array.dtype() == nb::dtype<T>(), "an array is of another dtype");
    expect(reinterpret_cast<uintptr_t>(array.data()) % alignof(T) == 0, "an array is not aligned");
    expect(static_cast<int64_t>(array.size()) == count, "an array has another size");
    if constexpr (std::is_same_v<A, Array>) return static_cast<const T*>(array.data());
    else return static_cast<T*>(array.data());
}
template <class T, class A> auto pointer(const Maybe<A>& array, int64_t count) {
    return array ? pointer<T>(*array, count) : decltype(pointer<T>(*array, count)){};
}
// Of each state of some rows, or of none.
template <class T, class A> auto of_states(const Cell<T>& cell, const std::vector<A>& arrays, int64_t rows) {
    std::vector<decltype(pointer<T>(arrays[0], 0))> all;
    expect(arrays.empty() || static_cast<int64_t>(arrays.size()) == cell.layout.states, "there are more or fewer arrays than states");
    for (const auto& array : arrays) all.push_back(pointer<T>(array, times(rows, cell.width(static_cast<int>(all.size())))));
    return all;
}

// W, U, b, c, R and the per-unit parameters, or their gradients.
template <class A> struct ArraysOfWeights {
    A W, U, b, c_;
    Maybe<A> R;
    std::vector<A> parameters;

    template <class T> Cell<T> cell(const Kernel& kernel, int64_t hidden) const {
        const bool projects = kernel.layout.projects;
        expect(W.ndim() == 2 && (!projects || (R && R->ndim() == 2)), "W or R is no matrix");
        const Cell<T> cell = kernel.cell<T>(W.shape(1), hidden, projects ? R->shape(0) : hidden);
        expect(hidden > 0 && cell.sizes.input > 0 && cell.sizes.output > 0, "a size is zero");
        cell.numbers();
        return cell;
    }
    // To put the memory of each into, which has the cell's sizes.
    template <class T, class Pointers> void put(const Cell<T>& cell, Pointers& to) const {
        const auto [I, H, P] = cell.sizes;
        const Layout& layout = cell.layout;
        to.W = pointer<T>(W, times(layout.input_gates, H, I));
        to.U = pointer<T>(U, times(layout.recurrent_gates, H, P));
        to.b = pointer<T>(b, times(layout.input_gates, H));
        to.c_ = pointer<T>(c_, times(layout.recurrent_gates, H));
        if (layout.projects) to.R = pointer<T>(R, times(P, H));
        expect(static_cast<int>(parameters.size()) == layout.parameters, "there are more or fewer parameters than the cell has");
        for (const A& parameter : parameters) to.parameters.push_back(pointer<T>(parameter, H));
    }
};
using WeightArrays = ArraysOfWeights<Array>;
using WeightGradients = ArraysOfWeights<Result>;

template <class T> Weights<T> weights_of(const Cell<T>& cell, const WeightArrays& arrays) {
    Weights<T> weights{};
    arrays.put(cell, weights);
    return weights;
}

// Python's lock is free while this lives, and the thread asks Python whether it has been sent a signal.
struct LongCall {
    LongCall() {
        asked_to_end = [] {
            const nb::gil_scoped_acquire held;
            return PyErr_CheckSignals() != 0;
        };
    }
    LongCall(const LongCall&) = delete;
    ~LongCall() { asked_to_end = nullptr; }
    nb::gil_scoped_release released;
};

void bind_call(nb::module_& m);
void bind_memory(nb::module_& m);
void bind_beam(nb::module_& m);
void bind_ctc(nb::module_& m);
void bind_network(nb::module_& m);

}  // namespace recurra::bindings
