// Between the rows of a part, in the order of its scan, and the dense [T, B, ...] arrays outside.
#pragma once

#include <cstring>

#include "recurra/scan.hpp"
#include "recurra/step.hpp"
#include "recurra/threads.hpp"

namespace recurra {

// Rows of a chunk: enough for the products to run at full speed, few enough to stay in the second-level cache.
constexpr int64_t kChunkRows = 192;

// And of wide rows, of so many numbers each, as few as keep a chunk's scratch memory within some megabytes.
constexpr int64_t kChunkNumbers = int64_t(1) << 22;
inline int64_t chunk_rows(int64_t width) { return std::max<int64_t>(1, std::min(kChunkRows, kChunkNumbers / std::max<int64_t>(1, width))); }

template <class T> class Rows {
public:
    Rows(const Part& part, int64_t steps, int64_t batch, bool reverse)
        : part_(part), steps_(steps), batch_(batch), reverse_(reverse) {}

    int64_t position(int64_t r, int64_t s) const {
        return (reverse_ ? part_.lengths[r] - 1 - s : s) * batch_ + part_.rows[r];
    }

    // The rows of several steps as one block in the order of the scan, or null where they are not.
    template <class U> U* at_once(U* array, int64_t from, int64_t to, int64_t width) const {
        const bool whole = static_cast<int64_t>(part_.rows.size()) == batch_ && !reverse_;
        return part_.contiguous && (whole || to - from == 1) ? block(array, from, width) : nullptr;
    }

    void gather(int64_t s, int64_t n, const T* from, int64_t width, T* to) const {
        if (part_.contiguous) std::memcpy(to, block(from, s, width), n * width * sizeof(T));
        else for (int64_t r = 0; r < n; ++r) std::memcpy(to + r * width, from + position(r, s) * width, width * sizeof(T));
    }

    const T* gather_steps(int64_t from, int64_t to, const T* array, int64_t width, T* copy) const {
        for (int64_t s = from; s < to; ++s) {
            gather(s, part_.active(s), array, width, copy + (part_.first[s] - part_.first[from]) * width);
        }
        return copy;
    }

    void scatter(int64_t s, int64_t n, const T* from, int64_t width, T* to) const {
        if (part_.contiguous) std::memcpy(block(to, s, width), from, n * width * sizeof(T));
        else for (int64_t r = 0; r < n; ++r) std::memcpy(to + position(r, s) * width, from + r * width, width * sizeof(T));
    }

    void gather_add(const Kernels<T>& kernels, int64_t s, int64_t n, const T* from, int64_t width, T* to) const {
        if (part_.contiguous) return kernels.add_rows(block(from, s, width), 0, 1, n * width, to);
        for (int64_t r = 0; r < n; ++r) kernels.add_rows(from + position(r, s) * width, 0, 1, width, to + r * width);
    }

    // Zero what lies past the end of each row.
    void clear_past_ends(int64_t width, T* array) const {
        for (size_t r = 0; array && r < part_.rows.size(); ++r) {
            for (int64_t t = part_.lengths[r]; t < steps_; ++t) {
                std::memset(array + (t * batch_ + part_.rows[r]) * width, 0, width * sizeof(T));
            }
        }
    }

    bool is_reset(const uint8_t* reset, int64_t r, int64_t s) const { return reset && reset[position(r, s)]; }

    // The states before step s: as they are, or a copy with zeros where a row is reset.
    const T* reset(const uint8_t* mask, int64_t s, int64_t n, const T* states, int64_t width, T* copy) const {
        bool any = false;
        for (int64_t r = 0; mask && r < n; ++r) any |= is_reset(mask, r, s);
        if (!any) return states;
        std::memcpy(copy, states, n * width * sizeof(T));
        for (int64_t r = 0; r < n; ++r) {
            if (is_reset(mask, r, s)) std::memset(copy + r * width, 0, width * sizeof(T));
        }
        return copy;
    }

private:
    // The rows of a step where they are one block outside.
    template <class U> U* block(U* array, int64_t s, int64_t width) const { return array + position(0, s) * width; }

    const Part& part_;
    int64_t steps_, batch_;
    bool reverse_;
};

template <class T> Stash<T> make_stash(const Cell<T>& cell, int64_t positions) {
    Stash<T> stash;
    stash.slots = Buffer<T>(positions * cell.row());
    for (int k = 0; k < cell.layout.states; ++k) stash.states.emplace_back(positions * cell.width(k));
    return stash;
}

// Rows of [B, width] arrays in the order of a part; null arrays are zeros.
template <class T>
std::vector<Buffer<T>> entry_states(const Cell<T>& cell, const Part& part, const std::vector<const T*>& outside) {
    std::vector<Buffer<T>> states;
    for (int k = 0; k < cell.layout.states; ++k) {
        const int64_t width = cell.width(k);
        states.emplace_back(static_cast<int64_t>(part.rows.size()) * width);
        for (size_t r = 0; r < part.rows.size(); ++r) {
            T* to = states[k].data() + r * width;
            const T* from = outside.empty() ? nullptr : outside[k];
            if (from) std::memcpy(to, from + part.rows[r] * width, width * sizeof(T));
            else std::memset(to, 0, width * sizeof(T));
        }
    }
    return states;
}

// Run steps [begin, end) again from their entry states, keeping what the adjoint needs.
template <class T>
void recompute(const Cell<T>&, const Packing<T>&, const Batch<T>&, const Part&, int64_t begin, int64_t end,
               const std::vector<Buffer<T>>& entry, Stash<T>&, Interruptible&);

}  // namespace recurra
