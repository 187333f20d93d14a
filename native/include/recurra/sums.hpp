// The gradients of the weights, which each part adds up for itself, and their total.
#pragma once

#include <cstring>
#include <vector>

#include "recurra/memory.hpp"
#include "recurra/scan.hpp"

namespace recurra {

// The gradients of the weights that one part adds up. Those of matrices are transposed: the gradients of all slots then
// fill the vectors of one product, and neither they nor what they are multiplied with need packing.
template <class T> struct Sums {
    explicit Sums(const Cell<T>& cell) {
        const auto [I, H, P] = cell.sizes;
        const int64_t row = cell.row(), hidden = cell.layout.projects ? H : 0;
        memory = Buffer<T>((I + P + 1) * row + hidden * P + cell.layout.parameters * H);
        W = memory.data();
        U = W + I * row;
        bias = U + P * row;
        R = bias + row;
        for (int i = 0; i < cell.layout.parameters; ++i) parameters.push_back(R + hidden * P + i * H);
    }

    void clear() { std::memset(memory.data(), 0, memory.size() * sizeof(T)); }

    Buffer<T> memory;
    T *W, *U;                     // [I, slots * H], [P, slots * H]
    T *bias, *R;                  // [slots * H], [H, P]
    std::vector<T*> parameters;   // each [H]
};

// Adds the sums of all parts to those of the first one, and writes them as the user has them, for some units of all.
template <class T> class Total {
public:
    Total(const Cell<T>& cell, const std::vector<Sums<T>>& sums, const Gradients<T>& to) : cell_(cell), sums_(sums), to_(to) {}

    // Piece i of n, each of other units.
    void write(int64_t i, int64_t n) const {
        const auto [I, H, P] = cell_.sizes;
        const Layout& layout = cell_.layout;
        const int64_t first = i * H / n, units = (i + 1) * H / n - first, row = cell_.row();
        const Sums<T>& own = sums_[0];
        for (size_t s = 0; s < layout.slots.size(); ++s) {
            const Slot& slot = layout.slots[s];
            const int64_t at = static_cast<int64_t>(s) * H + first;
            add(own.W + at, I + P + 1, row, units);   // W, U and the bias are one array
            if (slot.input >= 0) matrix(own.W + at, I, own.bias + at, slot.input * H + first, units, to_.W, to_.b);
            if (slot.recurrent >= 0) matrix(own.U + at, P, own.bias + at, slot.recurrent * H + first, units, to_.U, to_.c_);
        }
        if (layout.projects) {
            const int64_t begin = i * P / n, columns = (i + 1) * P / n - begin;
            add(own.R + begin, H, P, columns);
            cell_.kernels->turn(own.R + begin, P, H, columns, to_.R + begin * H, H);
        }
        for (size_t p = 0; p < own.parameters.size(); ++p) {
            add(own.parameters[p] + first, 1, 0, units);
            std::memcpy(to_.parameters[p] + first, own.parameters[p] + first, units * sizeof(T));
        }
    }

private:
    // Some columns of rows of the first part's memory, with the same ones of the other parts.
    void add(T* sum, int64_t rows, int64_t row, int64_t columns) const {
        const int64_t at = sum - sums_[0].memory.data();
        for (size_t p = 1; p < sums_.size(); ++p) {
            const T* other = sums_[p].memory.data() + at;
            for (int64_t r = 0; r < rows; ++r) cell_.kernels->add_rows(other + r * row, 0, 1, columns, sum + r * row);
        }
    }

    void matrix(const T* sum, int64_t width, const T* bias, int64_t at, int64_t units, T* weights, T* biases) const {
        cell_.kernels->turn(sum, cell_.row(), width, units, weights + at * width, width);
        std::memcpy(biases + at, bias, units * sizeof(T));
    }

    const Cell<T>& cell_;
    const std::vector<Sums<T>>& sums_;
    const Gradients<T>& to_;
};

}  // namespace recurra
