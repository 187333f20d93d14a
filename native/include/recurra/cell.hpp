// What the scan knows of a cell: its layout (see src/recurra/cells/layout.py), its routines, and the ISA's products.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "recurra/check.hpp"
#include "recurra/product.hpp"
#include "recurra/tile.hpp"

namespace recurra {

struct Slot {
    int input, recurrent;       // which gate of W, which gate of U; -1: none
};

struct Run {
    int operand;                // -1: the input; then the states; then values computed in the step
    int first, count;           // slots
};

struct Layout {
    int states, parameters, gates, inner;
    int input_gates, recurrent_gates;
    bool projects;              // the last computed value times R is the first state
    std::vector<Slot> slots;
    std::vector<Run> runs;      // in the order in which a step does them

    int computed() const { return inner + (projects ? 1 : 0); }

    // Of a run of the input the state's run for the same slots, -1 if there is none; and the other way round.
    int beside(int run) const {
        for (int i = 0; i < static_cast<int>(runs.size()); ++i) {
            const bool kinds = (runs[i].operand < 0) != (runs[run].operand < 0) && std::max(runs[i].operand, runs[run].operand) < states;
            if (kinds && runs[i].first == runs[run].first && runs[i].count == runs[run].count) return i;
        }
        return -1;
    }
};

// Throws std::invalid_argument where a layout names a gate, an operand or a slot that is not there, or multiplies by U what
// has another width than U has columns: beside a projection that is the first state alone.
void check(const Layout& layout);

struct Sizes {
    int64_t input, hidden, output;   // I, H, and the size of the first state: H, or that of the projection
};

template <class T> struct Cell {
    Layout layout;
    Sizes sizes;
    Routines<T> routines;
    const Kernels<T>* kernels;
    std::shared_ptr<const void> code = {};   // what owns the memory of the routines, where they were compiled at run time

    int64_t width(int state) const { return state == 0 ? sizes.output : sizes.hidden; }
    int64_t operand_width(int operand) const {
        return operand < 0 ? sizes.input : operand < layout.states ? width(operand) : sizes.hidden;
    }
    int64_t row() const { return static_cast<int64_t>(layout.slots.size()) * sizes.hidden; }   // of slots
    // As many numbers as a step of one row has in all, of whatever kind. Throws std::bad_alloc.
    int64_t numbers() const {
        const int64_t of_units = 2 * static_cast<int64_t>(layout.slots.size()) + 2 * layout.states + layout.gates + 2 * layout.computed();
        return times(times(of_units, sizes.hidden) + times(sizes.input, 2) + times(sizes.output, 2), 1);
    }

    // Units that a row by itself takes at once, so that their slots are used while the next ones' weights are loaded: a
    // cache line of them, or as many as make four sums of a line, for fewer would wait for each other.
    int64_t block() const {
        int64_t narrowest = 4;
        bool any = false;
        for (const Run& run : layout.runs) {
            if (run.operand < 0) continue;
            narrowest = std::min<int64_t>(narrowest, run.count);
            any = true;
        }
        return any ? (4 + narrowest - 1) / narrowest * (64 / static_cast<int64_t>(sizeof(T))) : sizes.hidden;
    }
};

// The weights as the user has them. Row-major; a gate's rows are neighbours; gates stand in the cell's order.
template <class T> struct Weights {
    const T* W;    // [input gates * H, I]
    const T* U;    // [recurrent gates * H, output]
    const T* b;    // [input gates * H]
    const T* c_;   // [recurrent gates * H]
    const T* R;    // [output, H], or null
    std::vector<const T*> parameters;   // each [H]
};

}  // namespace recurra
