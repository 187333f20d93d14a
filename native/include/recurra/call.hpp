// A cell at fixed sizes on arrays given by their addresses: what torch (bindings_call.cpp) and XLA (xla.cpp) call. Python
// has checked shapes, dtypes and layout by then (recurra/engine.py, `call`).
#pragma once

#include <vector>

#include "recurra/isa.hpp"
#include "recurra/scan.hpp"

namespace recurra {

// A cell's layout and routines for one ISA; sizes and dtype come with the arrays.
struct Kernel {
    Layout layout;
    Routines<float> f32;
    Routines<double> f64;
    const Isa* isa;
    std::shared_ptr<const void> code = {};   // see Cell

    template <class T> Cell<T> cell(int64_t input, int64_t hidden, int64_t output) const {
        if constexpr (sizeof(T) == 4) return {layout, {input, hidden, output}, f32, isa->kernels<T>(), code};
        else return {layout, {input, hidden, output}, f64, isa->kernels<T>(), code};
    }
};

// What a forward run keeps, in either dtype.
struct AnyTape {
    AnyTape() = default;
    AnyTape(const AnyTape&) = delete;
    Tape<float> f32;
    Tape<double> f64;
    template <class T> Tape<T>& of() {
        if constexpr (sizeof(T) == 4) return f32;
        else return f64;
    }
};

using Addresses = std::vector<uintptr_t>;   // 0: not there

class Call {
public:
    Call(const Kernel& kernel, bool f32, int64_t steps, int64_t rows, int64_t input, int64_t hidden, int64_t output,
         bool reverse, int64_t every)
        : kernel_(kernel), f32_(f32), steps_(steps), rows_(rows), input_(input), hidden_(hidden), output_(output),
          reverse_(reverse), every_(every) {
        expect(steps >= 0 && rows >= 0 && input > 0 && hidden > 0 && output > 0 && every >= 0, "a size of a call is below its least");
        expect(output == hidden || kernel.layout.projects, "the first state has another size than the units, and is no projection");
        times(std::max<int64_t>(1, steps), std::max<int64_t>(1, rows), kernel.cell<double>(input, hidden, output).numbers());
    }

    int64_t steps() const { return steps_; }
    int64_t rows() const { return rows_; }

    // Tensors: x, W, U, b, c, R, the parameters, the initial states or none of them, lengths, reset. Results: output,
    // final states or none of them, and the states and the gates of every step or none of them.
    void forward(const Addresses& tensors, const Addresses& results, int threads, AnyTape* tape) const {
        if (f32_) forward_as<float>(tensors, results, threads, tape);
        else forward_as<double>(tensors, results, threads, tape);
    }

    // Incoming: of the output and the final states. Gradients: of all that `tensors` has, but lengths and reset.
    void backward(const Addresses& tensors, const Addresses& incoming, const Addresses& gradients, AnyTape& tape) const {
        if (f32_) backward_as<float>(tensors, incoming, gradients, tape);
        else backward_as<double>(tensors, incoming, gradients, tape);
    }

private:
    template <class T> static T* at(uintptr_t address) { return reinterpret_cast<T*>(address); }
    template <class T> static std::vector<T*> all_at(const Addresses& from, size_t begin, size_t end) {
        std::vector<T*> all;
        for (size_t i = begin; i < end; ++i) all.push_back(at<T>(from.at(i)));
        return all;
    }

    template <class T> void forward_as(const Addresses& tensors, const Addresses& results, int threads, AnyTape* any) const {
        const size_t states = kernel_.layout.states;
        expect(results.size() == 1 || results.size() == 1 + states || results.size() == 2 + 2 * states, "a call has other results");
        Results<T> to{at<T>(results.at(0)), {}, {}, nullptr};
        if (results.size() > 1) to.final = all_at<T>(results, 1, 1 + states);
        if (results.size() > 1 + states) {
            to.states = all_at<T>(results, 1 + states, 1 + 2 * states);
            to.gates = at<T>(results.at(1 + 2 * states));
        }
        Tape<T>* tape = any ? &any->of<T>() : nullptr;
        if (tape) tape->every = every_;
        const Cell<T> cell = kernel_.cell<T>(input_, hidden_, output_);
        const Weights<T> weights = weights_at<T>(tensors);
        const Batch<T> batch = batch_at<T>(tensors);
        recurra::forward(cell, weights, batch, to, threads, tape);
    }

    template <class T>
    void backward_as(const Addresses& tensors, const Addresses& incoming, const Addresses& gradients, AnyTape& tape) const {
        const Layout& layout = kernel_.layout;
        const size_t first_state = 6 + layout.parameters, states = layout.states;
        expect(incoming.size() == 1 || incoming.size() == 1 + states, "a call has other incoming gradients");
        expect(gradients.size() == first_state || gradients.size() == first_state + states, "a call has other gradients");
        Gradients<T> g;
        g.output = at<const T>(incoming.at(0));
        g.final = all_at<const T>(incoming, 1, incoming.size());
        g.x = at<T>(gradients.at(0));
        g.W = at<T>(gradients.at(1));
        g.U = at<T>(gradients.at(2));
        g.b = at<T>(gradients.at(3));
        g.c_ = at<T>(gradients.at(4));
        g.R = at<T>(gradients.at(5));
        g.parameters = all_at<T>(gradients, 6, first_state);
        g.initial = all_at<T>(gradients, first_state, gradients.size());
        const Cell<T> cell = kernel_.cell<T>(input_, hidden_, output_);
        const Weights<T> weights = weights_at<T>(tensors);
        const Batch<T> batch = batch_at<T>(tensors);
        recurra::backward(cell, weights, batch, tape.of<T>(), g);
    }

    template <class T> Weights<T> weights_at(const Addresses& t) const {
        return {at<const T>(t.at(1)), at<const T>(t.at(2)), at<const T>(t.at(3)), at<const T>(t.at(4)), at<const T>(t.at(5)),
                all_at<const T>(t, 6, 6 + kernel_.layout.parameters)};
    }

    template <class T> Batch<T> batch_at(const Addresses& t) const {
        const size_t first_state = 6 + kernel_.layout.parameters, end = t.size() - 2;
        expect(t.size() == first_state + 2 || t.size() == first_state + kernel_.layout.states + 2, "a call has other tensors");
        return {steps_, rows_, reverse_, at<const int64_t>(t.at(end)), at<const uint8_t>(t.at(end + 1)), at<const T>(t.at(0)),
                all_at<const T>(t, first_state, end)};
    }

    Kernel kernel_;
    bool f32_;
    int64_t steps_, rows_, input_, hidden_, output_;
    bool reverse_;
    int64_t every_;
};

}  // namespace recurra
