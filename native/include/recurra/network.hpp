// Ops run as one: one step of all of them, or a sequence, for some rows at once.
#pragma once

#include "recurra/memory.hpp"
#include "recurra/op.hpp"

namespace recurra {

// Of many rows that lie anywhere in memory each is asked for so many rows before it is read.
constexpr int64_t kAhead = 8;

// The states of one row that lie apart from others': those that are swapped, and the others, each kind one after another.
struct RowStates {
    float *swapped, *kept;
};

// The states of some rows between calls, [rows, width] each.
class States {
public:
    States(const std::vector<StateSpec>& specs, int64_t rows);   // the specs must stay where they are
    void clear() noexcept;   // to the beginning
    States copy() const;
    float* const* now() const { return arrays_.data(); }
    RowStates row() const { return {memory_.data(), memory_.data() + swapped_}; }   // of a single one

private:
    friend class Sides;
    const std::vector<StateSpec>* specs_;
    int64_t rows_, swapped_ = 0;     // numbers that are swapped
    Buffer<float> memory_;           // these, and then what is kept
    std::vector<float*> arrays_;
};

// Where the states of a call are now and where the next step writes those that are swapped: the two sides change places with
// each step. One is the memory of the states themselves, so that the other is needed only as long as the call.
class Sides {
public:
    Sides(const std::vector<StateSpec>& specs, int64_t rows);   // at most so many rows
    void begin(const States& states) noexcept;
    void flip(int64_t steps) noexcept { side_ ^= static_cast<int>(steps & 1); }
    void end() noexcept;   // brings the states back to their own memory
    float* const* now() const { return arrays_[side_].data(); }
    float* const* next() const { return arrays_[1 - side_].data(); }

private:
    Buffer<float> memory_;
    std::vector<float*> arrays_[2];
    float* home_ = nullptr;
    int64_t swapped_ = 0;
    int side_ = 0;
};

class Network;

// Scratch memory of the caller for at most so many rows, and so many positions (rows times steps) at once; whole sequences
// may be longer. One workspace serves one call at a time.
class Workspace {
public:
    Workspace(const Network& network, int64_t rows, int64_t positions);
    int64_t rows() const { return rows_; }

private:
    friend class Network;
    // An op as `run` meets it: all that a call needs, op after op.
    struct Turn {
        Op::Run run;
        const void* data;
        void* own;
        int64_t first, states;           // which of the network's states are its own
    };
    int64_t rows_, positions_;
    std::vector<Turn> turns_;
    std::vector<std::shared_ptr<void>> owned_;
    Buffer<float> room_, values_[2];
    Sides sides_;
};

class Network {
public:
    // A row of one step has `row` numbers, of which the first `first` go into the first op; others are there for ops that
    // read them.
    Network(const Isa& isa, int64_t row, int64_t first) : isa_(&isa), row_(row), first_(first) {
        expect(first > 0 && first <= row, "a row of a network has fewer numbers than its first op takes");
    }

    // Ops in their order. Throws std::invalid_argument where one does not take what the one before gives.
    void add(Op op);

    // A network beside this one, which takes so many features of what flows here, and reads the same row.
    Network branch(int64_t first) const {
        Network made(*isa_, row_, row_);
        expect(first > 0, "a branch takes no features");
        made.first_ = first;
        return made;
    }

    const std::vector<Op>& ops() const { return ops_; }
    int64_t input() const { return row_; }
    int64_t output() const { return ops_.empty() ? first_ : ops_.back().output; }
    int64_t widest() const;    // the most features between its ops
    int64_t at_once() const;   // positions that are worth doing at once
    int64_t vocabulary() const { return ops_.empty() ? 0 : ops_.front().vocabulary; }   // 0: the input is float
    bool ids_fit(const float* x, int64_t rows) const noexcept;   // whether the whole numbers in so many rows have a place in its tables
    bool streams() const { return streams_; }
    int64_t stride() const { return stride_; }                         // it answers at every so many steps
    const std::vector<StateSpec>& states() const { return states_; }   // of all ops, one after the other
    const Isa& isa() const { return *isa_; }
    int64_t row_bytes() const { return vocabulary() ? sizeof(int64_t) : row_ * sizeof(float); }

    // How many steps of the output the next `steps` steps give, of rows whose states are these.
    int64_t answers(const float* const* states, int64_t steps) const noexcept;

    // Run `steps` steps of `rows` rows. x is [steps, rows, input] of float, or, with a vocabulary, [steps, rows] of int64_t
    // below it; out [answers, rows, output], which may overlap x in a single step. `states` has the rows' states before
    // and after; all rows are at the same step of the network's stride. Returns the answers. The network streams.
    int64_t run(const void* x, int64_t steps, int64_t rows, States& states, Workspace& scratch, float* out) const noexcept;

    // The same of any network and of as many steps, in parts of which each asks the call whether it ends. Where an op does
    // not stream, what comes into it and out of it is held for all steps at once, and it starts from its beginning. Throws
    // Interrupted and std::bad_alloc; the states are then of no use.
    int64_t run_long(const void* x, int64_t steps, int64_t rows, States& states, Workspace& scratch, Interruptible& call, float* out) const;

    // One step of `count` rows whose states lie apart. They are taken in blocks of as many rows as the workspace has. The
    // network streams; x is as for run, and so is out, but that the row of one that does not answer is NaN.
    void step_apart(const void* x, const RowStates* rows, int64_t count, Workspace& scratch, float* out) const;

    // steps[i] steps of each of `count` rows whose states lie apart, of a network without a stride: x has the steps of one
    // row after those of another, and out their answers.
    void run_apart(const void* x, const int64_t* steps, const RowStates* rows, int64_t count, Workspace& scratch, float* out) const;

private:
    friend class Workspace;

    // Some ops one after the other, which either all stream or are one that does not.
    struct Ops {
        size_t first, last;
        int64_t before, after;   // features
    };
    Ops ops_from(size_t first) const;
    void densely(const float* x, int64_t positions, float* to) const noexcept;
    int64_t advance(const void* x, int64_t steps, int64_t rows, Workspace& scratch, float* out) const noexcept;
    void pass(Ops ops, Chunk& c, float* const* rooms, Workspace& scratch, int64_t flips) const noexcept;
    void pass_in_chunks(Ops ops, Chunk& c, float* to, Workspace& scratch) const;
    void pass_whole(Ops ops, Chunk& c, float* to, Workspace& scratch) const;
    void step_in_phase(const void* x, const RowStates* rows, int64_t count, const States& block, Workspace& scratch, float* out) const;

    // The state of an op with a stride that says how long it waits, and where that lies among a row's kept states.
    struct Wait {
        size_t state;
        int64_t kept, stride;
    };

    const Isa* isa_;
    int64_t row_, first_, stride_ = 1, kept_ = 0;
    std::vector<Op> ops_;
    std::vector<StateSpec> states_;
    std::vector<Wait> waits_;
    bool streams_ = true;
};

}  // namespace recurra
