// An op of a network: what it does with some steps of some rows, behind function pointers, with the data that it owns.
// All is float32, dense and time-major.
//
// The bits of a row depend neither on the other rows nor on how its steps are cut into calls.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "recurra/check.hpp"
#include "recurra/isa.hpp"
#include "recurra/threads.hpp"

namespace recurra {

// A state of an op, [width] for each row. A swapped one has a place for its next value beside the present one, and each step
// writes the other place; any other changes where it is.
struct StateSpec {
    int64_t width;
    const float* initial = nullptr;   // what it begins with, [width], which stays where it is; null: zeros
    bool swapped = false;
};

// Some steps on their way through a network: what an op reads, and where it may write.
struct Chunk {
    const float* x;            // [steps, rows, input] of what flows; int64_t [steps, rows] lie there before an embedding
    int64_t steps, rows;
    const float* row;          // the inputs of the network at step s of row r are at row + (s * every * rows + r) * row_width
    int64_t row_width, every;
    float* const* now;         // the op's states before; it is not called without steps
    float* const* next;        // of swapped states, the other place
    float* to;                 // room for the output
    float* room;               // as many floats as it asked for
    Interruptible* call = nullptr;   // the long call that this is a part of, if it is: an op of whole sequences asks it now and
                                     // then whether it ends, and then returns early
};

struct Op {
    // Returns where the output is: `to`, or memory that stays until the next call. An op that does not answer at every
    // step sets the chunk's steps, row and every to those that it answers at.
    using Run = const float* (*)(const void* data, void* own, Chunk& chunk) noexcept;

    int64_t input, output;     // features
    Run run;
    std::shared_ptr<const void> data = {};
    std::vector<StateSpec> states = {};
    int64_t vocabulary = 0;    // not 0: it takes whole numbers below this, and comes first
    std::vector<int64_t> tables = {};   // where it has some: its floats are whole numbers below these, and it comes first
    int64_t stride = 1;        // it answers at every so many steps; its last state has the steps until the next answer
    bool streams = true;       // no output depends on later steps
    // Floats of room for so many rows, and positions (steps times rows) at once, which for an op that does not stream are all
    // that there are; null: none.
    int64_t (*room)(const void* data, int64_t rows, int64_t positions) = nullptr;
    // What it changes in calls for so many rows, one call at a time; null: nothing.
    std::shared_ptr<void> (*own)(const void* data, int64_t rows) = nullptr;
    // Called before an op runs that does not stream, with the steps that there are: makes what it owns large enough. Throws
    // std::bad_alloc. Null: it is.
    void (*ready)(const void* data, void* own, int64_t rows, int64_t steps) = nullptr;
};

// Counts that states hold as floats: a whole number below `end`, whatever was put there.
inline int64_t steps_of(float state, int64_t end) { return state >= 0 && state < static_cast<float>(end) ? static_cast<int64_t>(state) : 0; }

// How many of the next `steps` steps an op answers at that waits for so many first.
inline int64_t answers_of(int64_t steps, int64_t wait, int64_t stride) { return steps > wait ? (steps - wait + stride - 1) / stride : 0; }

// What an op is made of: arrays by place (null where one is left out), numbers, and the features that come in.
struct Tensor {
    const float* data = nullptr;
    std::vector<int64_t> shape = {};
};

struct Ingredients {
    const Isa& isa;
    std::vector<Tensor> arrays;
    std::vector<double> numbers;
    int64_t width, row;        // of the row of all inputs

    // Array i, of this shape; -1 stands for any size. Throws std::invalid_argument where it is another.
    const Tensor& array(size_t i, const std::vector<int64_t>& shape) const {
        expect(i < arrays.size() && arrays[i].data && arrays[i].shape.size() == shape.size(), "an array of an op is missing, or has other dimensions");
        for (size_t d = 0; d < shape.size(); ++d) {
            const int64_t size = arrays[i].shape[d];
            expect(size > 0 && (shape[d] < 0 || size == shape[d]), "an array of an op has another shape");
        }
        return arrays[i];
    }

    // The same, or one without data where it is left out.
    Tensor array_or_none(size_t i, const std::vector<int64_t>& shape) const {
        return i < arrays.size() && !arrays[i].data ? Tensor{} : array(i, shape);
    }

    // Number i, a whole one from `least` to `most`.
    int64_t whole(size_t i, int64_t least, int64_t most) const {
        expect(i < numbers.size() && numbers[i] >= static_cast<double>(least) && numbers[i] <= static_cast<double>(most), "a number of an op is missing or out of range");
        return static_cast<int64_t>(numbers[i]);
    }
};

using MakeOp = Op (*)(const Ingredients&);

// The op of that name, or null. Arrays are copied.
MakeOp find_op(const std::string& name);

struct NamedOp {
    const char* name;
    MakeOp make;
};

}  // namespace recurra
