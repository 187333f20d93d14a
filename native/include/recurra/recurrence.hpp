// A cell as an op: over time in one direction, with its states, or in two over whole sequences, without.
#pragma once

#include "recurra/op.hpp"
#include "recurra/step.hpp"

namespace recurra {

// A cell with its weights, packed; it stays where it is, for steppers refer to it.
struct Recurrence {
    // Copies the weights and the initial states, an array [width] for each state, or none: zeros.
    Recurrence(const Cell<float>& cell, const Weights<float>& weights, const std::vector<const float*>& initial);
    Recurrence(const Recurrence&) = delete;

    Cell<float> cell;
    Packing<float> packing;
    std::vector<Buffer<float>> parameters, begins;
    std::vector<StateSpec> states;
};

// Forward, and reverse where there are two, whose outputs stand side by side.
Op recurrent(std::vector<std::unique_ptr<Recurrence>> directions);

// What the ops of several networks make of the same row of so many features, put together: added (0), subtracted from the
// first (1), multiplied (2), or side by side (3). All of them stream, and answer at every step.
class Network;
Op branches(const std::vector<const Network*>& networks, int how, int64_t input);

// The first fields of a row, so many as a cell without products has states, as its step makes them of what they were; the
// rest of the row, of `width` in all, stays as it is.
Op fields(const Cell<float>& cell, const Weights<float>& weights, int64_t width);

}  // namespace recurra
