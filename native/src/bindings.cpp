// The Python module `recurra._native`: plain checks are done in recurra/engine.py, these only take the arrays apart.

#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <numpy/arrayobject.h>

#include <cstring>
#include <optional>

#include "bindings.hpp"
#include "recurra/machine.hpp"
#include "recurra/step.hpp"
#include "recurra/threads.hpp"
#include "zoo.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using namespace recurra;
using namespace recurra::bindings;

template <class T> Routines<T> routines_at(const std::vector<uintptr_t>& at) {
    const auto f = [&](int i) { return reinterpret_cast<Routine<T>>(at.at(i)); };
    return {f(0), f(1), f(2), f(3), f(4), f(5)};
}

template <class T> std::vector<uintptr_t> addresses(const Routines<T>& r) {
    std::vector<uintptr_t> at;
    for (const Routine<T> f : {r.second, r.advance, r.keep, r.retreat_second, r.retreat, r.gates}) {
        at.push_back(reinterpret_cast<uintptr_t>(f));
    }
    return at;
}

Kernel make_kernel(const std::string& isa, std::vector<int> counts, const std::vector<std::pair<int, int>>& slots,
                   const std::vector<std::vector<int>>& runs, const std::vector<uintptr_t>& single,
                   const std::vector<uintptr_t>& twofold) {
    Layout layout{counts.at(0), counts.at(1), counts.at(2), counts.at(3), counts.at(4), counts.at(5), counts.at(6) != 0, {}, {}};
    for (const auto& [input, recurrent] : slots) layout.slots.push_back({input, recurrent});
    for (const auto& run : runs) layout.runs.push_back({run.at(0), run.at(1), run.at(2)});
    return {layout, routines_at<float>(single), routines_at<double>(twofold), find_isa(isa)};
}

struct BatchArrays {
    Array x;
    bool reverse;
    Maybe lengths, reset;
    std::vector<Array> initial;

    template <class T> Batch<T> batch() const {
        return {static_cast<int64_t>(x.shape(0)), static_cast<int64_t>(x.shape(1)), reverse, pointer<int64_t>(lengths),
                pointer<uint8_t>(reset), pointer<T>(x), pointers<const T>(initial)};
    }
};

bool is_single(const Array& array) { return array.dtype() == nb::dtype<float>(); }

template <class T>
void run_forward(const Kernel& kernel, const WeightArrays& weights, const BatchArrays& batch, int64_t hidden,
                 const Maybe& output, const std::vector<Array>& final, const std::vector<Array>& states, const Maybe& gates,
                 int threads, AnyTape* tape, int64_t every) {
    if (tape) tape->of<T>().every = every;
    const Results<T> results{pointer<T>(output), pointers<T>(final), pointers<T>(states), pointer<T>(gates)};
    const Cell<T> cell = weights.cell<T>(kernel, hidden);
    const Weights<T> w = weights.weights<T>();
    const Batch<T> b = batch.batch<T>();
    nb::gil_scoped_release released;
    forward(cell, w, b, results, threads, tape ? &tape->of<T>() : nullptr);
}

template <class T>
void run_backward(const Kernel& kernel, const WeightArrays& weights, const BatchArrays& batch, int64_t hidden, AnyTape& tape,
                  const Maybe& output, const std::vector<Maybe>& final, const Maybe& x, const std::vector<Array>& initial,
                  const WeightArrays& to) {
    Gradients<T> g;
    g.output = pointer<T>(output);
    g.final = pointers<const T>(final);
    g.x = pointer<T>(x);
    g.initial = pointers<T>(initial);
    g.input = pointer<T>(to.input);
    g.recurrent = pointer<T>(to.recurrent);
    g.input_bias = pointer<T>(to.input_bias);
    g.recurrent_bias = pointer<T>(to.recurrent_bias);
    g.projection = pointer<T>(to.projection);
    g.parameters = pointers<T>(to.parameters);
    const Cell<T> cell = weights.cell<T>(kernel, hidden);
    const Weights<T> w = weights.weights<T>();
    const Batch<T> b = batch.batch<T>();
    nb::gil_scoped_release released;
    backward(cell, w, b, tape.of<T>(), g);
}

// A live state that takes one step a call: weights packed once, every buffer made beforehand.
template <class T> class Live {
public:
    // `dimensions`: 2 for rows of vectors, 1 for the vectors of a single row.
    Live(const Kernel& kernel, const WeightArrays& weights, int64_t hidden, int64_t rows, int dimensions)
        : cell_(weights.cell<T>(kernel, hidden)), packing_(cell_, weights.weights<T>(), cell_.block()), stepper_(cell_, packing_, rows),
          slots_(rows * cell_.row()), rows_(rows), dimensions_(dimensions) {
        for (const Array& p : weights.parameters) {   // the packing has pointers to them: keep copies of our own
            parameters_.emplace_back(hidden);
            std::memcpy(parameters_.back().data(), p.data(), hidden * sizeof(T));
        }
        for (size_t i = 0; i < parameters_.size(); ++i) packing_.parameters[i] = parameters_[i].data();
        for (int k = 0; k < cell_.layout.states; ++k) {
            for (int side = 0; side < 2; ++side) {
                states_[side].emplace_back(rows * cell_.width(k));
                std::memset(states_[side][k].data(), 0, states_[side][k].size() * sizeof(T));
                rows_of_[side].push_back(states_[side][k].data());
            }
        }
    }

    Live(const Live&) = delete;

    void step(const T* x, T* output) noexcept {
        stepper_.step(x, rows_of_[now_].data(), rows_of_[1 - now_].data(), slots_.data(), rows_, false);
        now_ = 1 - now_;
        std::memcpy(output, rows_of_[now_][0], rows_ * cell_.sizes.output * sizeof(T));
    }

    void exchange(const std::vector<Array>& arrays, bool store) const {
        for (size_t k = 0; k < arrays.size(); ++k) {
            const size_t bytes = states_[now_][k].size() * sizeof(T);
            if (store) std::memcpy(arrays[k].data(), rows_of_[now_][k], bytes);
            else std::memcpy(rows_of_[now_][k], arrays[k].data(), bytes);
        }
    }

    int64_t rows() const { return rows_; }
    int dimensions() const { return dimensions_; }
    int64_t input() const { return cell_.sizes.input; }
    int64_t output() const { return cell_.sizes.output; }

private:
    Cell<T> cell_;
    Packing<T> packing_;
    Stepper<T> stepper_;
    Buffer<T> slots_;
    int64_t rows_;
    int dimensions_;
    std::vector<Buffer<T>> parameters_, states_[2];
    std::vector<T*> rows_of_[2];
    int now_ = 0;
};

// One step from Python: NumPy's own interface, because a general array argument costs more than a small step.
// None: x does not fit, and nothing was done.
template <class T> PyObject* step_live(Live<T>& live, PyObject* x) {
    auto* array = reinterpret_cast<PyArrayObject*>(x);
    const bool fits = PyArray_Check(x) && PyArray_TYPE(array) == (sizeof(T) == 4 ? NPY_FLOAT32 : NPY_FLOAT64) &&
                      PyArray_NDIM(array) == live.dimensions() && PyArray_IS_C_CONTIGUOUS(array) && PyArray_ISALIGNED(array) &&
                      PyArray_ISNOTSWAPPED(array) && PyArray_DIMS(array)[live.dimensions() - 1] == live.input() &&
                      (live.dimensions() == 1 || PyArray_DIMS(array)[0] == live.rows());
    if (!fits) Py_RETURN_NONE;
    npy_intp shape[2] = {live.rows(), live.output()};
    PyObject* output = PyArray_SimpleNew(live.dimensions(), shape + 2 - live.dimensions(), PyArray_TYPE(array));
    if (!output) return nullptr;
    live.step(static_cast<const T*>(PyArray_DATA(array)), static_cast<T*>(PyArray_DATA(reinterpret_cast<PyArrayObject*>(output))));
    return output;
}

template <class T> void bind_live(nb::module_& m, const char* name) {
    nb::class_<Live<T>>(m, name)
        .def(nb::init<const Kernel&, const WeightArrays&, int64_t, int64_t, int>())
        .def("step", [](Live<T>& live, nb::handle x) { return nb::steal(step_live(live, x.ptr())); },
             nb::arg("x").none())
        .def("repeat", [](Live<T>& live, const Array& x, const Array& output, int64_t steps) {
            const T* from = pointer<T>(x);
            T* to = pointer<T>(output);
            for (int64_t i = 0; i < steps; ++i) live.step(from, to);
        })
        .def("read", [](const Live<T>& live, const std::vector<Array>& to) { live.exchange(to, true); })
        .def("write", [](const Live<T>& live, const std::vector<Array>& from) { live.exchange(from, false); });
}

}  // namespace

NB_MODULE(_native, m) {
    nb::set_leak_warnings(false);   // what a script still holds when it ends, as a graph that torch owns, is no leak
    if (_import_array() < 0) throw nb::python_error();
    m.attr("zoo") = [] {
        nb::dict all;
        int i = 0;
        for (const ZooName& cell : zoo_names) all[cell.fingerprint] = i++;
        return all;
    }();

    m.def("isas", [] {
        std::vector<std::pair<std::string, bool>> all;
        for (const Isa* isa : isas()) all.emplace_back(isa->name, isa->available());
        return all;
    }, "Every ISA of this build with whether this machine has it, the best first.");
    m.def("ran", [](const std::string& isa) { return *find_isa(isa)->ran; });
    m.def("zoo_routines", [](const std::string& isa, int cell) {
        const Isa* found = find_isa(isa);
        return std::pair(addresses(found->zoo<float>()[cell]), addresses(found->zoo<double>()[cell]));
    }, "The addresses of a built-in cell's routines, for float32 and float64.");
    m.def("helpers", &helpers, "How many threads wait for work beside the caller.");
    m.def("fma_peak", &fma_peak, "isa"_a, "dtype_bytes"_a, "Multiply-adds per second of one core.");
    m.def("bandwidth", &bandwidth, "size"_a, "Bytes per second of loads from a working set of this size.");

    nb::class_<Kernel>(m, "Kernel").def("__init__", [](Kernel* k, const std::string& isa, const std::vector<int>& counts,
        const std::vector<std::pair<int, int>>& slots, const std::vector<std::vector<int>>& runs,
        const std::vector<uintptr_t>& single, const std::vector<uintptr_t>& twofold) {
        new (k) Kernel(make_kernel(isa, counts, slots, runs, single, twofold));
    });
    nb::class_<WeightArrays>(m, "Weights").def("__init__", [](WeightArrays* w, Array W, Array U, Array b, Array c, Maybe R,
        std::vector<Array> parameters) { new (w) WeightArrays{W, U, b, c, R, std::move(parameters)}; },
        "W"_a, "U"_a, "b"_a, "c"_a, "R"_a.none(), "parameters"_a);
    nb::class_<BatchArrays>(m, "Batch").def("__init__", [](BatchArrays* b, Array x, bool reverse, Maybe lengths, Maybe reset,
        std::vector<Array> initial) { new (b) BatchArrays{x, reverse, lengths, reset, std::move(initial)}; },
        "x"_a, "reverse"_a, "lengths"_a.none(), "reset"_a.none(), "initial"_a);
    nb::class_<AnyTape>(m, "Tape").def(nb::init<>());

    m.def("forward", [](const Kernel& kernel, const WeightArrays& weights, const BatchArrays& batch, int64_t hidden,
                        const Maybe& output, const std::vector<Array>& final, const std::vector<Array>& states,
                        const Maybe& gates, int threads, AnyTape* tape, int64_t every) {
        (is_single(batch.x) ? run_forward<float> : run_forward<double>)(
            kernel, weights, batch, hidden, output, final, states, gates, threads, tape, every);
    }, "kernel"_a, "weights"_a, "batch"_a, "hidden"_a, "output"_a.none(), "final"_a, "states"_a, "gates"_a.none(),
       "threads"_a, "tape"_a.none(), "every"_a);
    m.def("backward", [](const Kernel& kernel, const WeightArrays& weights, const BatchArrays& batch, int64_t hidden,
                         AnyTape& tape, const Maybe& output, const std::vector<Maybe>& final, const Maybe& x,
                         const std::vector<Array>& initial, const WeightArrays& to) {
        (is_single(batch.x) ? run_backward<float> : run_backward<double>)(
            kernel, weights, batch, hidden, tape, output, final, x, initial, to);
    }, "kernel"_a, "weights"_a, "batch"_a, "hidden"_a, "tape"_a, "output"_a.none(), "final"_a, "x"_a.none(), "initial"_a, "to"_a);

    bind_live<float>(m, "LiveFloat32");
    bind_live<double>(m, "LiveFloat64");
    bind_call(m);
    bind_memory(m);
    bind_network(m);
}
