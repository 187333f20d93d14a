// One step of a cell: weights packed, their products cut into tiles, and the routines between them.
//
// Units are taken in blocks, one block after the other: while the routine of one works on its slots, the weights of the
// next are on their way. Steps take the blocks to and fro, so that the weights read last are still in the cache.
#pragma once

#include <vector>

#include "recurra/cell.hpp"
#include "recurra/memory.hpp"

namespace recurra {

// Some units, and their columns of the weights of each run, slot by slot. Where a run of the input and one of a state are
// for the same slots, they are the upper and the lower rows of one matrix.
template <class T> struct Block {
    int64_t first, units;
    std::vector<Packed<T>> runs;
};

// Weights packed in blocks of so many units, and the bias that each slot starts from. A row of slots, and the bias, lie
// block by block, and in a block slot by slot.
template <class T> struct Packing {
    Packing(const Cell<T>& cell, const Weights<T>& weights, int64_t units);
    Buffer<T> memory;
    T* bias;
    std::vector<Block<T>> blocks;
    Packed<T> projection;
    std::vector<const T*> parameters;
};

// Steps of some rows, the state in `prev`, and where the new one goes; all scratch is made beforehand.
template <class T> class Stepper {
public:
    Stepper(const Cell<T>& cell, const Packing<T>& packing, int64_t rows);

    // slots = bias + input products, for rows of x that are I apart.
    void project(const T* x, int64_t rows, T* slots) const noexcept;
    // A step from slots that `project` has made, or from x, which may be null. With `keep` the slots hold afterwards what
    // the adjoint needs.
    void step(const T* x, const T* const* prev, T* const* next, T* slots, int64_t rows, bool keep) noexcept;
    // The values of the gates, [rows, gates * H], after a step with `keep` whose packing is a single block.
    void gates(T* values) noexcept;

private:
    // The tiles of a block. From x a step does [begin, alone) from the bias, where x and a state go together, and adds
    // [alone, joined); without x it adds [alone, computed). [computed, end) need what it computes of all units.
    struct alignas(64) Turn {
        const TileCall<T> *begin, *alone, *joined, *computed, *end;
        int64_t first, units, slots;
    };

    void cut(int64_t rows);
    void multiply(const TileCall<T>* first, const TileCall<T>* last, const T* init, T* slots) const noexcept;
    void ask_for(const Turn& turn) const noexcept;
    void work(const Turn& turn, Routine<T> routine, T* slots) noexcept;

    const Cell<T>& cell_;
    const Packing<T>& packing_;
    std::vector<Turn> turns_;            // of each block
    std::vector<TileCall<T>> calls_;     // of all blocks, for so many rows as the last step had
    Buffer<T> computed_;
    std::vector<T*> computed_rows_;
    std::vector<const T*> operands_;     // x, the states, what is computed
    Tile<T> tile_;
    bool backwards_ = false;
};

}  // namespace recurra
