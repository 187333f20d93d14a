// A network of layers run as one: one step of all of them, or a sequence, for some rows at once. All is float32.
//
// The bits of a row depend neither on the other rows nor on how its steps are cut into calls.
#pragma once

#include <memory>
#include <vector>

#include "recurra/forecast.hpp"
#include "recurra/isa.hpp"
#include "recurra/step.hpp"

namespace recurra {

// A cell with its weights, packed; it stays where it is, for steppers refer to it.
struct Recurrence {
    // Copies the weights and the initial states, an array [width] for each state, or none: zeros.
    Recurrence(const Cell<float>& cell, const Weights<float>& weights, const std::vector<const float*>& initial);
    Recurrence(const Recurrence&) = delete;

    Cell<float> cell;
    Packing<float> packing;
    std::vector<Buffer<float>> parameters, states;
    std::vector<int64_t> widths;                // of each state
    std::vector<const float*> initial;          // of each state, or null: zeros
};

struct Layer {
    enum class Kind { split, recurrent, linear, map, layer_norm, softmax, forecast };
    Kind kind;
    int64_t input, output;                                     // features of a row
    std::vector<std::unique_ptr<Recurrence>> directions = {};  // forward, and reverse where there are two
    Buffer<float> weight = {}, bias = {};                      // of linear (packed) and layer_norm
    bool biased = false;
    int map = 0;                                               // which activation
    float number = 0;                                          // its slope, or the epsilon of layer_norm
    std::unique_ptr<ForecastHead> head = {};                   // of forecast
};

class Network;

// Of many rows that lie anywhere in memory each is asked for so many rows before it is read.
constexpr int64_t kAhead = 8;

// The states of some rows, each twice: [rows, width] as it is now, and room for the next.
class States {
public:
    // The widths and what each state begins with (null: zeros), which must stay where they are.
    States(const std::vector<int64_t>& widths, const std::vector<const float*>& initial, int64_t rows);
    void clear() noexcept;   // to the beginning
    void flip(int64_t steps) noexcept { side_ ^= static_cast<int>(steps & 1); }
    int side() const { return side_; }
    float* const* arrays(int side) const { return arrays_[side].data(); }
    float* now(size_t k) const { return arrays_[side_][k]; }
    float* present() const { return memory_.data() + side_ * (memory_.size() / 2); }   // all states as they are now, in order

private:
    const std::vector<int64_t>* widths_;
    const std::vector<const float*>* initial_;
    int64_t rows_;
    Buffer<float> memory_;
    std::vector<float*> arrays_[2];
    int side_ = 0;
};

// Scratch memory of the caller for at most so many rows, and so many positions (rows times steps) at once. One
// workspace serves one call at a time.
class Workspace {
public:
    Workspace(const Network& network, int64_t rows, int64_t positions);
    int64_t rows() const { return rows_; }

private:
    friend class Network;
    int64_t rows_, positions_;
    std::vector<Stepper<float>> steppers_;      // of each direction of each recurrent layer
    std::vector<States> whole_;                 // the states of layers that read whole sequences, one each direction
    Buffer<float> slots_, values_[2], head_;
};

class Network {
public:
    explicit Network(const Isa& isa) : isa_(&isa) {}

    // Layers are added in their order. The caller has checked that each takes what the one before gives.
    // An embedding comes first; W [count, width].
    void add_embedding(const float* W, int64_t count, int64_t width);
    // Only the first layer: a row's first numbers go on, and `beside` others wait for the forecast head.
    void add_split(int64_t first, int64_t beside);
    void add_recurrent(std::vector<std::unique_ptr<Recurrence>> directions);
    void add_linear(const float* W, const float* b, int64_t input, int64_t output);   // W [output, input]; b or null
    void add_map(int activation, float number, int64_t width);
    void add_layer_norm(const float* scale, const float* shift, float epsilon, int64_t width);
    void add_softmax(int64_t width);
    void add_forecast(const ForecastSizes& sizes, const ForecastWeights& weights);   // takes what a split set beside

    int64_t input() const { return layers_.empty() ? embedded_ : layers_.front().input; }
    int64_t output() const { return layers_.empty() ? embedded_ : layers_.back().output; }
    int64_t words() const { return words_; }                          // of the embedding; 0: there is none
    bool streams() const { return streams_; }                         // no layer reads from the end
    const std::vector<int64_t>& widths() const { return widths_; }    // of every state, layer by layer
    const std::vector<const float*>& initial() const { return initial_; }
    const Isa& isa() const { return *isa_; }

    // Run `steps` steps of `rows` rows. x is [steps, rows, input] of float, or, with an embedding, [steps, rows] of
    // int64_t below words(); out [steps, rows, output], which may overlap x in a single step. `states` has the rows' states before and after.
    // A network that does not stream needs a workspace for all positions at once, and its two-directional layers start
    // from their beginning.
    void run(const void* x, int64_t steps, int64_t rows, States& states, Workspace& scratch, float* out) const noexcept;

    // One step of `count` rows whose states lie apart: states[r] has those of row r as they are now, one after another.
    // They are taken in blocks of as many rows as the workspace has. The network streams; x and out are as for run.
    void step_apart(const void* x, float* const* states, int64_t count, Workspace& scratch, float* out) const;

private:
    friend class Workspace;
    void recur(const Layer& layer, size_t direction, size_t stepper, const float* x, int64_t steps, int64_t rows,
               float* const* now, float* const* next, Workspace& scratch, float* out) const noexcept;

    const Isa* isa_;
    std::vector<Layer> layers_;
    std::vector<int64_t> widths_;
    std::vector<const float*> initial_;
    Buffer<float> embedding_;
    int64_t words_ = 0, embedded_ = 0;
    bool streams_ = true;
};

}  // namespace recurra
