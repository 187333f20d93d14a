#include "recurra/step.hpp"

#include <algorithm>
#include <cstring>

namespace recurra {

template <class T>
Packing<T>::Packing(const Cell<T>& cell, const Weights<T>& weights, int64_t units) : parameters(weights.parameters) {
    const Layout& layout = cell.layout;
    const int64_t H = cell.sizes.hidden, lanes = cell.kernels->lanes, line = 64 / sizeof(T);
    const auto lines = [&](int64_t k, int64_t n) { return (packed_size<T>(lanes, k, n) + line - 1) / line * line; };
    int64_t size = lines(1, cell.row()), widest = 0;
    for (int64_t first = 0; first < H; first += units) {
        blocks.push_back({first, std::min(units, H - first), std::vector<Packed<T>>(layout.runs.size())});
        for (const Run& run : layout.runs) {
            const int64_t k = cell.operand_width(run.operand), n = run.count * blocks.back().units;
            size += lines(k, n);
            widest = std::max(widest, k * n);
        }
    }
    if (layout.projects) size += lines(H, cell.sizes.output);
    memory = Buffer<T>(size);
    T* next = memory.data();
    const auto place = [&](int64_t k, int64_t n) {
        Packed<T> packed{next, k, n};
        next += lines(k, n);
        return packed;
    };

    bias = place(1, cell.row()).data;
    T* to = bias;
    Buffer<T> gathered(widest);   // a run's rows of W or U, brought into the order of its slots
    for (Block<T>& block : blocks) {
        for (const Slot& slot : layout.slots) {
            for (int64_t u = block.first; u < block.first + block.units; ++u) {
                const T b = slot.input < 0 ? T(0) : weights.b[slot.input * H + u];
                const T c = slot.recurrent < 0 ? T(0) : weights.c_[slot.recurrent * H + u];
                *to++ = b + c;
            }
        }
        for (int r = 0; r < static_cast<int>(layout.runs.size()); ++r) {
            const Run& run = layout.runs[r];
            const int64_t k = cell.operand_width(run.operand), count = block.units * k;
            const int state = run.operand < 0 ? layout.beside(r) : -1;
            if (state >= 0) {
                const int64_t below = cell.operand_width(layout.runs[state].operand);
                const Packed<T> both = place(k + below, run.count * block.units);
                block.runs[r] = rows_of(both, 0, k);
                block.runs[state] = rows_of(both, k, below);
            } else if (!block.runs[r].data) {
                block.runs[r] = place(k, run.count * block.units);
            }
            const T* from = run.operand < 0 ? weights.W : weights.U;
            for (int i = 0; i < run.count; ++i) {
                const Slot& slot = layout.slots[run.first + i];
                const int gate = run.operand < 0 ? slot.input : slot.recurrent;
                std::memcpy(gathered.data() + i * count, from + (gate * H + block.first) * k, count * sizeof(T));
            }
            cell.kernels->pack(block.runs[r], gathered.data(), 1, k, 0, k);
        }
    }
    projection = Packed<T>{nullptr, H, 0};
    if (layout.projects) {
        projection = place(H, cell.sizes.output);
        cell.kernels->pack(projection, weights.R, 1, H, 0, H);
    }
}

template <class T>
Stepper<T>::Stepper(const Cell<T>& cell, const Packing<T>& packing, int64_t rows)
    : cell_(cell), packing_(packing), computed_(rows * cell.layout.computed() * cell.sizes.hidden), tile_{} {
    operands_.resize(1 + cell.layout.states);
    for (int i = 0; i < cell.layout.computed(); ++i) {
        computed_rows_.push_back(computed_.data() + i * rows * cell.sizes.hidden);
        operands_.push_back(computed_rows_.back());
    }
    tile_.stride = cell.sizes.hidden;
    tile_.slot_stride = cell.row();
    tile_.state = const_cast<T* const*>(operands_.data() + 1);
    tile_.inner = computed_rows_.data();
    tile_.parameter = const_cast<T* const*>(packing.parameters.data());
    cut(rows);
    cut(rows);   // again, now that there is room and nothing moves
}

// The slots from `slot` on, in a row of slots.
template <class T> static int64_t place_of(const Layout& layout, const Block<T>& block, int64_t slot) {
    return block.first * static_cast<int64_t>(layout.slots.size()) + slot * block.units;
}

// Calls each(place, w, run) for what starts from the bias: the runs of x, and, without depth and run (-1), slots that
// have none.
template <class T, class Each> static void each_of_x(const Layout& layout, const Packing<T>& packing, const Block<T>& block, Each each) {
    for (size_t i = 0; i < layout.slots.size(); ++i) {
        if (layout.slots[i].input < 0) each(place_of(layout, block, i), Packed<T>{packing.bias, 0, block.units}, -1);
    }
    for (size_t i = 0; i < layout.runs.size(); ++i) {
        if (layout.runs[i].operand < 0) each(place_of(layout, block, layout.runs[i].first), block.runs[i], static_cast<int>(i));
    }
}

// Cuts the products of a step of so many rows. Fewer rows than at first never have more tiles, and need no memory.
template <class T> void Stepper<T>::cut(int64_t rows) {
    const Layout& layout = cell_.layout;
    const int64_t I = cell_.sizes.input, row = cell_.row();
    const auto count = [&] { return static_cast<int64_t>(calls_.size()); };
    // The tiles of an operand times w, for the slots from that place on. From the bias, a state comes after x.
    const auto add = [&](int64_t place, const Packed<T>& w, int operand, bool from_bias) {
        const int64_t first = count();
        Product<T> product{nullptr, cell_.operand_width(operand), 1, rows, w, nullptr, from_bias ? 0 : row, nullptr, row};
        if (from_bias && operand >= 0) product.before_row = product.before_k = I;
        calls_.resize(first + cell_.kernels->cut(product, nullptr));
        cell_.kernels->cut(product, calls_.data() + first);
        for (int64_t i = first; i < count(); ++i) {
            calls_[i].init += place;
            calls_[i].out += place;
            calls_[i].operand = 1 + operand;
        }
    };
    tile_.rows = rows;
    turns_.clear();
    calls_.clear();
    for (const Block<T>& block : packing_.blocks) {
        const auto add_runs = [&](auto chosen) {
            for (int i = 0; i < static_cast<int>(layout.runs.size()); ++i) {
                const Run& run = layout.runs[i];
                if (run.operand >= 0 && chosen(i, run.operand)) add(place_of(layout, block, run.first), block.runs[i], run.operand, false);
            }
            return calls_.data() + count();
        };
        Turn turn{};
        turn.begin = calls_.data() + count();
        each_of_x(layout, packing_, block, [&](int64_t place, const Packed<T>& w, int run) {
            const int state = run < 0 ? -1 : layout.beside(run);
            if (state < 0) add(place, w, -1, true);
            else add(place, rows_of(w, 0, w.depth), layout.runs[state].operand, true);
        });
        turn.alone = calls_.data() + count();
        turn.joined = add_runs([&](int run, int operand) { return operand < layout.states && layout.beside(run) < 0; });
        turn.computed = add_runs([&](int run, int operand) { return operand < layout.states && layout.beside(run) >= 0; });
        turn.end = add_runs([&](int, int operand) { return operand >= layout.states; });
        turn.first = block.first;
        turn.units = block.units;
        turn.slots = place_of(layout, block, 0);
        turns_.push_back(turn);
    }
}

template <class T> void Stepper<T>::project(const T* x, int64_t rows, T* slots) const noexcept {
    for (const Block<T>& block : packing_.blocks) {
        each_of_x(cell_.layout, packing_, block, [&](int64_t place, const Packed<T>& w, int) {
            cell_.kernels->product({x, cell_.sizes.input, 1, rows, w, packing_.bias + place, 0, slots + place, cell_.row()});
        });
    }
}

template <class T>
inline void Stepper<T>::multiply(const TileCall<T>* first, const TileCall<T>* last, const T* init, T* slots) const noexcept {
    const int64_t count = last - first;
    for (int64_t i = 0; i < count; ++i) {
        const TileCall<T>& call = first[backwards_ ? count - 1 - i : i];
        const T* a = operands_[call.operand] + call.a;
        call.function(call.tiling, operands_[0] + call.before, a, init + call.init, slots + call.out);
    }
}

// The first lines of a block to come: they arrive while the routine of the one before works.
template <class T> inline void Stepper<T>::ask_for(const Turn& turn) const noexcept {
    constexpr int64_t kLines = 8;
    for (const TileCall<T>* call = turn.begin; call < turn.joined; ++call) {
        for (int64_t i = 0; i < kLines; ++i) __builtin_prefetch(call->tiling.w + i * (64 / sizeof(T)));
    }
}

template <class T> inline void Stepper<T>::work(const Turn& turn, Routine<T> routine, T* slots) noexcept {
    tile_.first = turn.first;
    tile_.units = turn.units;
    tile_.slot = slots + turn.slots;
    routine(&tile_);
}

template <class T>
void Stepper<T>::step(const T* x, const T* const* prev, T* const* next, T* slots, int64_t rows, bool keep) noexcept {
    const Layout& layout = cell_.layout;
    const Routine<T> last = keep ? cell_.routines.forward_saving : cell_.routines.forward;
    const int64_t count = static_cast<int64_t>(turns_.size());
    if (rows != tile_.rows) cut(rows);
    operands_[0] = x;
    for (int k = 0; k < layout.states; ++k) operands_[1 + k] = prev[k];
    tile_.next = next;
    backwards_ = !backwards_;
    for (int64_t i = 0; i < count; ++i) {
        const Turn& turn = turns_[backwards_ ? count - 1 - i : i];
        if (x) multiply(turn.begin, turn.alone, packing_.bias, slots);
        multiply(turn.alone, x ? turn.joined : turn.computed, slots, slots);
        if (i + 1 < count) ask_for(turns_[backwards_ ? count - 2 - i : i + 1]);
        work(turn, layout.inner ? cell_.routines.inner : last, slots);
    }
    for (int64_t i = 0; layout.inner && i < count; ++i) {   // these multiply what was computed of all units
        const Turn& turn = turns_[backwards_ ? i : count - 1 - i];
        multiply(turn.computed, turn.end, slots, slots);
        work(turn, last, slots);
    }
    if (layout.projects) {
        const int64_t width = cell_.sizes.output;
        cell_.kernels->product({computed_rows_.back(), cell_.sizes.hidden, 1, rows, packing_.projection, nullptr, 0, next[0], width});
    }
}

template <class T> void Stepper<T>::gates(T* values) noexcept {
    tile_.gate = values;
    tile_.gate_stride = cell_.layout.gates * cell_.sizes.hidden;
    if (cell_.routines.gates) cell_.routines.gates(&tile_);
}

template struct Packing<float>;
template struct Packing<double>;
template class Stepper<float>;
template class Stepper<double>;

}  // namespace recurra
