// A cell run over time: forward with or without what the adjoint needs, and backward.
//
// Public arrays are dense and time-major, [T, B, ...]. Inside, the rows of a batch are split into parts, one per thread;
// a part sorts its rows by length, so that the rows that still run at a step are always its first ones.
#pragma once

#include <vector>

#include "recurra/cell.hpp"
#include "recurra/memory.hpp"

namespace recurra {

template <class T> struct Batch {
    int64_t steps, rows;
    bool reverse;                        // each row backwards, inside its own length
    const int64_t* lengths;              // [B], 0 to T each, or null: all are T
    const uint8_t* reset;                // [T, B], or null: a row's state is zero before a step where it is set
    const T* x;                          // [T, B, I]
    std::vector<const T*> initial;       // of each state [B, width], or empty: zeros
};

template <class T> struct Results {
    T* output = nullptr;                 // [T, B, output]; zero past a row's end; may be null, as all of these
    std::vector<T*> final;               // of each state [B, width]
    std::vector<T*> states;              // of each state [T, B, width]
    T* gates = nullptr;                  // [T, B, gates * H]
};

template <class T> struct Gradients {
    const T* output = nullptr;           // incoming [T, B, output], or null
    std::vector<const T*> final;         // incoming, of each state, null where there is none
    T* x = nullptr;                      // [T, B, I], or null: not wanted
    std::vector<T*> initial;             // of each state [B, width]
    T *W = nullptr, *U = nullptr, *b = nullptr, *c_ = nullptr, *R = nullptr;
    std::vector<T*> parameters;
};

// Which rows a thread works on, longest first.
struct Part {
    std::vector<int64_t> rows, lengths;
    std::vector<int64_t> first;          // the position of the first row of each step, and the end
    bool contiguous;                     // neighbours of one length, so that the rows of a step are a block
    int64_t steps() const { return static_cast<int64_t>(first.size()) - 1; }
    int64_t active(int64_t s) const { return s < steps() ? first[s + 1] - first[s] : 0; }
};

std::vector<Part> split(int64_t steps, int64_t rows, const int64_t* lengths, int threads);

// What forward leaves for backward.
template <class T> struct Stash {
    Buffer<T> slots;                     // kept values of each position
    std::vector<Buffer<T>> states;       // new states of each position
};

template <class T> struct Tape {
    int64_t steps = -1, rows = -1;                   // of the batch, and the sizes of the cell, once it is filled
    Sizes sizes{};
    std::vector<Part> parts;
    int64_t every = 0;                               // checkpoint_every; 0: everything is kept
    std::vector<Stash<T>> stashes;                   // one per part, if everything is kept
    std::vector<std::vector<Buffer<T>>> checkpoints; // per part and state: the states before every k-th step
};

// Run a batch. Writes `results`; fills `tape` if it is not null. Throws std::invalid_argument where a length is no number of
// steps, std::bad_alloc, and Interrupted.
template <class T>
void forward(const Cell<T>&, const Weights<T>&, const Batch<T>&, const Results<T>&, int threads, Tape<T>* tape);

// Back-propagation through time of the forward run that filled the tape, with the same weights and batch. Throws
// std::invalid_argument where they have other sizes, std::bad_alloc, and Interrupted.
template <class T>
void backward(const Cell<T>&, const Weights<T>&, const Batch<T>&, const Tape<T>&, const Gradients<T>&);

}  // namespace recurra
