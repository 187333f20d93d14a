// The Python module `recurra._native`. recurra/engine.py checks what is given to it and says what is wrong; here everything
// on which memory depends is checked once more, in few words.

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

const Isa& known_isa(const std::string& name) {
    const Isa* isa = find_isa(name);
    expect(isa && isa->available(), "this machine has no such instruction set");
    return *isa;
}

template <class T> Routines<T> routines_at(const std::vector<uintptr_t>& at) {
    const auto f = [&](int i) { return reinterpret_cast<Routine<T>>(at.at(i)); };
    return {f(0), f(1), f(2), f(3), f(4), f(5)};
}

template <class T> std::vector<uintptr_t> addresses(const Routines<T>& r) {
    std::vector<uintptr_t> at;
    for (const Routine<T> f : {r.inner, r.forward, r.forward_saving, r.backward_inner, r.backward, r.gates}) {
        at.push_back(reinterpret_cast<uintptr_t>(f));
    }
    return at;
}

// A Python object for as long as anybody has this, in whatever thread.
std::shared_ptr<const void> kept(nb::object owner) {
    if (owner.is_none()) return nullptr;
    return {owner.release().ptr(), [](PyObject* object) {
        if (!nb::is_alive()) return;
        const nb::gil_scoped_acquire held;
        Py_DECREF(object);
    }};
}

Kernel make_kernel(const std::string& isa, std::vector<int> counts, const std::vector<std::pair<int, int>>& slots,
                   const std::vector<std::vector<int>>& runs, const std::vector<uintptr_t>& f32,
                   const std::vector<uintptr_t>& f64, nb::object code) {
    Layout layout{counts.at(0), counts.at(1), counts.at(2), counts.at(3), counts.at(4), counts.at(5), counts.at(6) != 0, {}, {}};
    for (const auto& [input, recurrent] : slots) layout.slots.push_back({input, recurrent});
    for (const auto& run : runs) layout.runs.push_back({run.at(0), run.at(1), run.at(2)});
    check(layout);
    return {layout, routines_at<float>(f32), routines_at<double>(f64), &known_isa(isa), kept(std::move(code))};
}

struct BatchArrays {
    Array x;
    bool reverse;
    Maybe<Array> lengths, reset;
    std::vector<Array> initial;

    template <class T> Batch<T> batch(const Cell<T>& cell) const {
        expect(x.ndim() == 3, "x is not [T, B, I]");
        const int64_t steps = x.shape(0), rows = x.shape(1);
        return {steps, rows, reverse, pointer<int64_t>(lengths, rows), pointer<uint8_t>(reset, times(steps, rows)),
                pointer<T>(x, times(steps, rows, cell.sizes.input)), of_states(cell, initial, rows)};
    }
};

bool is_f32(const Array& array) { return array.dtype() == nb::dtype<float>(); }

template <class T>
void run_forward(const Kernel& kernel, const WeightArrays& weights, const BatchArrays& batch, int64_t hidden,
                 const Maybe<Result>& output, const std::vector<Result>& final, const std::vector<Result>& states,
                 const Maybe<Result>& gates, int threads, AnyTape* tape, int64_t every) {
    expect(every >= 0, "a count of steps is below zero");
    if (tape) tape->of<T>().every = every;
    const Cell<T> cell = weights.cell<T>(kernel, hidden);
    const Weights<T> w = weights_of(cell, weights);
    const Batch<T> b = batch.batch<T>(cell);
    const int64_t positions = times(b.steps, b.rows);
    const Results<T> results{pointer<T>(output, times(positions, cell.sizes.output)), of_states(cell, final, b.rows),
                             of_states(cell, states, positions), pointer<T>(gates, times(positions, cell.layout.gates, hidden))};
    const LongCall call;
    forward(cell, w, b, results, threads, tape ? &tape->of<T>() : nullptr);
}

template <class T>
void run_backward(const Kernel& kernel, const WeightArrays& weights, const BatchArrays& batch, int64_t hidden, AnyTape& tape,
                  const Maybe<Array>& output, const std::vector<Maybe<Array>>& final, const Maybe<Result>& x,
                  const std::vector<Result>& initial, const WeightGradients& to) {
    const Cell<T> cell = weights.cell<T>(kernel, hidden);
    const Weights<T> w = weights_of(cell, weights);
    const Batch<T> b = batch.batch<T>(cell);
    const int64_t positions = times(b.steps, b.rows);
    Gradients<T> g;
    g.output = pointer<T>(output, times(positions, cell.sizes.output));
    g.final = of_states(cell, final, b.rows);
    g.x = pointer<T>(x, times(positions, cell.sizes.input));
    g.initial = of_states(cell, initial, b.rows);
    to.put(cell, g);
    const LongCall call;
    backward(cell, w, b, tape.of<T>(), g);
}

// A live state that takes one step a call: weights packed once, every buffer made beforehand.
template <class T> class Live {
public:
    // `dimensions`: 2 for rows of vectors, 1 for the vectors of a single row.
    Live(const Kernel& kernel, const WeightArrays& weights, int64_t hidden, int64_t rows, int dimensions)
        : cell_(weights.cell<T>(kernel, hidden)), slots_(times(some(rows, dimensions), cell_.numbers())),
          packing_(cell_, weights_of(cell_, weights), cell_.block()), stepper_(cell_, packing_, rows), rows_(rows), dimensions_(dimensions) {
        for (const T*& p : packing_.parameters) {   // keep copies of our own
            parameters_.emplace_back(hidden);
            std::memcpy(parameters_.back().data(), p, hidden * sizeof(T));
            p = parameters_.back().data();
        }
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

    void read(const std::vector<Result>& arrays) const {
        const std::vector<T*> to = of_states(cell_, arrays, rows_);
        for (size_t k = 0; k < to.size(); ++k) std::memcpy(to[k], rows_of_[now_][k], states_[now_][k].size() * sizeof(T));
    }

    void write(const std::vector<Array>& arrays) {
        const std::vector<const T*> from = of_states(cell_, arrays, rows_);
        for (size_t k = 0; k < from.size(); ++k) std::memcpy(rows_of_[now_][k], from[k], states_[now_][k].size() * sizeof(T));
    }

    int64_t rows() const { return rows_; }
    int dimensions() const { return dimensions_; }
    int64_t input() const { return cell_.sizes.input; }
    int64_t output() const { return cell_.sizes.output; }

private:
    static int64_t some(int64_t rows, int dimensions) {
        expect(rows > 0 && (dimensions == 2 || (dimensions == 1 && rows == 1)), "a live state has no row, or more than its dimensions");
        return rows;
    }

    Cell<T> cell_;
    Buffer<T> slots_;
    Packing<T> packing_;
    Stepper<T> stepper_;
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
        .def("repeat", [](Live<T>& live, const Array& x, const Result& output, int64_t steps) {
            const T* from = pointer<T>(x, live.rows() * live.input());
            T* to = pointer<T>(output, live.rows() * live.output());
            for (int64_t i = 0; i < steps; ++i) live.step(from, to);
        })
        .def("read", &Live<T>::read)
        .def("write", &Live<T>::write);
}

template <class A> void bind_weights(nb::module_& m, const char* name) {
    nb::class_<ArraysOfWeights<A>>(m, name).def("__init__", [](ArraysOfWeights<A>* w, A W, A U, A b, A c, Maybe<A> R,
        std::vector<A> parameters) { new (w) ArraysOfWeights<A>{W, U, b, c, R, std::move(parameters)}; },
        "W"_a, "U"_a, "b"_a, "c"_a, "R"_a.none(), "parameters"_a);
}

}  // namespace

NB_MODULE(_native, m) {
    nb::set_leak_warnings(false);   // what a script still holds when it ends, as a graph that torch owns, is no leak
    nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
        try {
            std::rethrow_exception(thrown);
        } catch (const Interrupted&) {   // Python's own error is set already
        }
    });
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
    m.def("ran", [](const std::string& isa) { return *known_isa(isa).ran; });
    m.def("zoo_routines", [](const std::string& isa, int cell) {
        const Isa& found = known_isa(isa);
        expect(cell >= 0 && cell < static_cast<int>(std::size(zoo_names)), "there is no such built-in cell");
        return std::pair(addresses(found.zoo<float>()[cell]), addresses(found.zoo<double>()[cell]));
    }, "The addresses of a built-in cell's routines, for float32 and float64.");
    m.def("helpers", &helpers, "How many threads wait for work beside the caller.");
    m.def("fma_peak", &fma_peak, "isa"_a, "dtype_bytes"_a, "Multiply-adds per second of one core.");
    m.def("bandwidth", &bandwidth, "size"_a, "Bytes per second of loads from a working set of this size.");

    nb::class_<Kernel>(m, "Kernel").def("__init__", [](Kernel* k, const std::string& isa, const std::vector<int>& counts,
        const std::vector<std::pair<int, int>>& slots, const std::vector<std::vector<int>>& runs,
        const std::vector<uintptr_t>& f32, const std::vector<uintptr_t>& f64, nb::object code) {
        new (k) Kernel(make_kernel(isa, counts, slots, runs, f32, f64, std::move(code)));
    }, "isa"_a, "counts"_a, "slots"_a, "runs"_a, "f32"_a, "f64"_a, "code"_a.none() = nb::none());
    bind_weights<Array>(m, "Weights");
    bind_weights<Result>(m, "WeightGradients");
    nb::class_<BatchArrays>(m, "Batch").def("__init__", [](BatchArrays* b, Array x, bool reverse, Maybe<Array> lengths, Maybe<Array> reset,
        std::vector<Array> initial) { new (b) BatchArrays{x, reverse, lengths, reset, std::move(initial)}; },
        "x"_a, "reverse"_a, "lengths"_a.none(), "reset"_a.none(), "initial"_a);
    nb::class_<AnyTape>(m, "Tape").def(nb::init<>());

    m.def("forward", [](const Kernel& kernel, const WeightArrays& weights, const BatchArrays& batch, int64_t hidden,
                        const Maybe<Result>& output, const std::vector<Result>& final, const std::vector<Result>& states,
                        const Maybe<Result>& gates, int threads, AnyTape* tape, int64_t every) {
        (is_f32(batch.x) ? run_forward<float> : run_forward<double>)(
            kernel, weights, batch, hidden, output, final, states, gates, threads, tape, every);
    }, "kernel"_a, "weights"_a, "batch"_a, "hidden"_a, "output"_a.none(), "final"_a, "states"_a, "gates"_a.none(),
       "threads"_a, "tape"_a.none(), "every"_a);
    m.def("backward", [](const Kernel& kernel, const WeightArrays& weights, const BatchArrays& batch, int64_t hidden,
                         AnyTape& tape, const Maybe<Array>& output, const std::vector<Maybe<Array>>& final, const Maybe<Result>& x,
                         const std::vector<Result>& initial, const WeightGradients& to) {
        (is_f32(batch.x) ? run_backward<float> : run_backward<double>)(
            kernel, weights, batch, hidden, tape, output, final, x, initial, to);
    }, "kernel"_a, "weights"_a, "batch"_a, "hidden"_a, "tape"_a, "output"_a.none(), "final"_a, "x"_a.none(), "initial"_a, "to"_a);

    bind_live<float>(m, "LiveFloat32");
    bind_live<double>(m, "LiveFloat64");
    bind_call(m);
    bind_beam(m);
    bind_ctc(m);
    bind_memory(m);
    bind_network(m);
}
