// What an elementwise routine of a cell works on: some rows and some units of one step. No ownership.
//
// Routines are written in C++ for the zoo and compiled at run time for other cells, so every field is 8 bytes wide and
// the order of the fields is known to src/recurra/cells/emit_llvm.py.
#pragma once

#include <cstdint>

namespace recurra {

template <class T> struct Tile {
    int64_t rows;
    int64_t units, first;            // how many, and the first of them in the arrays of pointers below
    int64_t stride;                  // from one row to the next in those
    T* slot;                         // row r, slot i at slot + r * slot_stride + i * units
    int64_t slot_stride;
    T* slot_gradient;
    int64_t slot_gradient_stride;
    T* gate;
    int64_t gate_stride;
    T* const* state;                 // array i, row r, unit 0 at state[i] + r * stride
    T* const* next;
    T* const* inner;
    T* const* next_gradient;         // may be the same memory as state_gradient
    T* const* state_gradient;
    T* const* inner_gradient;
    T* const* parameter;             // one row for all
    T* const* parameter_gradient;    // one row for all, added to
};

template <class T> using Routine = void (*)(const Tile<T>*);

// The routines of a cell, in the order of cells/routines.py; one that has nothing to do is null.
template <class T> struct Routines {
    Routine<T> inner, forward, forward_saving, backward_inner, backward, gates;
};

}  // namespace recurra
