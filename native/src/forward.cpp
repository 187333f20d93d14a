#include <algorithm>
#include <cstring>
#include <numeric>

#include "recurra/rows.hpp"
#include "recurra/scan.hpp"
#include "recurra/threads.hpp"

namespace recurra {

std::vector<Part> split(int64_t steps, int64_t rows, const int64_t* lengths, int threads) {
    const int64_t count = std::max<int64_t>(1, std::min<int64_t>(threads, rows));
    std::vector<int64_t> order(rows);
    std::iota(order.begin(), order.end(), 0);
    if (lengths) {
        std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return lengths[a] > lengths[b]; });
    }
    std::vector<Part> parts(count);
    for (int64_t i = 0; i < rows; ++i) {
        Part& part = parts[lengths ? i % count : i * count / rows];   // sorted rows are dealt, equal rows are cut
        part.rows.push_back(order[i]);
        part.lengths.push_back(lengths ? lengths[order[i]] : steps);
    }
    for (Part& part : parts) {
        const int64_t last = part.rows.empty() ? 0 : part.lengths.front();
        part.first.assign(1, 0);
        int64_t active = static_cast<int64_t>(part.rows.size());
        for (int64_t s = 0; s < last; ++s) {
            while (part.lengths[active - 1] <= s) --active;
            part.first.push_back(part.first.back() + active);
        }
        part.contiguous = !part.rows.empty() && part.lengths.front() == part.lengths.back() &&
                          part.rows.back() - part.rows.front() == static_cast<int64_t>(part.rows.size()) - 1 &&
                          std::is_sorted(part.rows.begin(), part.rows.end());
    }
    return parts;
}

// Fewer rows than this that are multiplied by a matrix in each step take a thread as long as these, for they wait for the
// matrix; more threads would do no more than wait beside each other, and add up more gradients in the end.
constexpr int64_t kPartRows = 4;

template <class T> static int parts_of(const Cell<T>& cell, int64_t rows, int threads) {
    const auto& runs = cell.layout.runs;
    const bool multiplies = std::any_of(runs.begin(), runs.end(), [](const Run& run) { return run.operand >= 0; });
    return multiplies ? static_cast<int>(std::min<int64_t>(threads, (rows + kPartRows - 1) / kPartRows)) : threads;
}

// From so many rows on, a step's products of x and of the state are done as one; of fewer, W would be loaded too often.
// So would be a W that is larger than the first-level cache's share of it, whatever the rows.
constexpr int64_t kFullRows = 24, kSmallWeights = int64_t(128) << 10;

// Runs one part. Steps are taken in chunks, whose input products are done at once unless they are part of the steps.
template <class T> class Forward {
public:
    Forward(const Cell<T>& cell, const Packing<T>& packing, const Batch<T>& batch, const Part& part, Interruptible& call)
        : cell_(cell), batch_(batch), part_(part), call_(call), rows_(part, batch.steps, batch.rows, batch.reverse),
          stepper_(cell, packing, std::max<int64_t>(1, part.active(0))) {}

    // Steps [begin, end) from the states in `entry`; the states of rows as they end, and all else asked for, go to
    // `results`. `stash` (or null) keeps what the adjoint needs; `checkpoints` (or null) the states before every k-th step.
    void run(int64_t begin, int64_t end, const std::vector<Buffer<T>>& entry, Stash<T>* stash, const Results<T>& results,
             std::vector<Buffer<T>>* checkpoints = nullptr, int64_t every = 0) {
        const Layout& layout = cell_.layout;
        const int64_t most = part_.active(begin);
        const int64_t chunk = std::max<int64_t>(1, chunk_rows(cell_.row()) / std::max<int64_t>(1, most));
        const int64_t origin = part_.first[begin];
        const bool keep = stash || results.gates;
        const bool large = cell_.sizes.input * cell_.row() * static_cast<int64_t>(sizeof(T)) > kSmallWeights,
                   early = most < kFullRows || large || layout.beside(0) < 0;
        Buffer<T> slots(stash ? 0 : std::min(chunk * most, part_.first[end] - origin) * cell_.row());
        Buffer<T> x(chunk * most * cell_.sizes.input);
        Buffer<T> gates(results.gates ? most * layout.gates * cell_.sizes.hidden : 0);
        std::vector<Buffer<T>> ring, fresh;
        std::vector<const T*> prev(layout.states), given(layout.states);
        std::vector<T*> next(layout.states);
        for (int k = 0; k < layout.states; ++k) {
            ring.emplace_back(stash ? 0 : 2 * most * cell_.width(k));
            fresh.emplace_back(batch_.reset ? most * cell_.width(k) : 0);
            prev[k] = entry[k].data();
        }
        for (int64_t from = begin; from < end; from += chunk) {
            call_.look();
            const int64_t to = std::min(end, from + chunk);
            T* base = stash ? stash->slots.data() + (part_.first[from] - origin) * cell_.row() : slots.data();
            const T* in = inputs(from, to, x);
            if (early) stepper_.project(in, part_.first[to] - part_.first[from], base);
            for (int64_t s = from; s < to; ++s) {
                const int64_t n = part_.active(s);
                if (checkpoints && s % every == 0) {
                    for (int k = 0; k < layout.states; ++k) {
                        const int64_t size = n * cell_.width(k);
                        std::memcpy((*checkpoints)[k].data() + s / every * most * cell_.width(k), prev[k], size * sizeof(T));
                    }
                }
                for (int k = 0; k < layout.states; ++k) {
                    const int64_t width = cell_.width(k);
                    next[k] = stash ? stash->states[k].data() + (part_.first[s] - origin) * width
                                    : ring[k].data() + (s & 1) * most * width;
                    given[k] = rows_.reset(batch_.reset, s, n, prev[k], width, fresh[k].data());
                }
                const int64_t at = part_.first[s] - part_.first[from];
                stepper_.step(early ? nullptr : in + at * cell_.sizes.input, given.data(), next.data(), base + at * cell_.row(), n, keep);
                if (results.gates) {
                    stepper_.gates(gates.data());
                    rows_.scatter(s, n, gates.data(), layout.gates * cell_.sizes.hidden, results.gates);
                }
                publish(s, n, next, results);
                for (int k = 0; k < layout.states; ++k) prev[k] = next[k];
            }
        }
    }

private:
    // The rows of x of steps [from, to), as they are or as a copy.
    const T* inputs(int64_t from, int64_t to, const Buffer<T>& copy) const {
        const T* x = rows_.at_once(batch_.x, from, to, cell_.sizes.input);
        return x ? x : rows_.gather_steps(from, to, batch_.x, cell_.sizes.input, copy.data());
    }

    void publish(int64_t s, int64_t n, const std::vector<T*>& next, const Results<T>& results) {
        if (results.output) rows_.scatter(s, n, next[0], cell_.width(0), results.output);
        for (size_t k = 0; k < results.states.size(); ++k) rows_.scatter(s, n, next[k], cell_.width(k), results.states[k]);
        if (results.final.empty()) return;
        for (int64_t r = part_.active(s + 1); r < n; ++r) {
            for (int k = 0; k < cell_.layout.states; ++k) {
                const int64_t width = cell_.width(k);
                std::memcpy(results.final[k] + part_.rows[r] * width, next[k] + r * width, width * sizeof(T));
            }
        }
    }

    const Cell<T>& cell_;
    const Batch<T>& batch_;
    const Part& part_;
    Interruptible& call_;
    Rows<T> rows_;
    Stepper<T> stepper_;
};

template <class T>
void recompute(const Cell<T>& cell, const Packing<T>& packing, const Batch<T>& batch, const Part& part, int64_t begin,
               int64_t end, const std::vector<Buffer<T>>& entry, Stash<T>& stash, Interruptible& call) {
    stash = make_stash(cell, part.first[end] - part.first[begin]);
    Forward<T>(cell, packing, batch, part, call).run(begin, end, entry, &stash, {});
}

template <class T>
void forward(const Cell<T>& cell, const Weights<T>& weights, const Batch<T>& batch, const Results<T>& results, int threads,
             Tape<T>* tape) {
    times(std::max<int64_t>(1, batch.steps), std::max<int64_t>(1, batch.rows), cell.numbers());
    for (int64_t r = 0; batch.lengths && r < batch.rows; ++r) {
        expect(batch.lengths[r] >= 0 && batch.lengths[r] <= batch.steps, "a length is no number of steps of the batch");
    }
    Interruptible call;
    const bool whole = tape || results.gates || batch.rows > kFewRows;
    const Packing<T> packing(cell, weights, whole ? cell.sizes.hidden : cell.block());
    std::vector<Part> own;
    std::vector<Part>& parts = tape ? tape->parts : own;
    parts = split(batch.steps, batch.rows, batch.lengths, parts_of(cell, batch.rows, threads));
    if (tape) {
        tape->stashes.resize(parts.size());
        tape->checkpoints.resize(parts.size());
    }
    parallel(static_cast<int>(parts.size()), [&](int p) {
        const Part& part = parts[p];
        const Rows<T> rows(part, batch.steps, batch.rows, batch.reverse);
        const std::vector<Buffer<T>> entry = entry_states(cell, part, batch.initial);
        rows.clear_past_ends(cell.width(0), results.output);
        for (size_t k = 0; k < results.states.size(); ++k) rows.clear_past_ends(cell.width(k), results.states[k]);
        rows.clear_past_ends(cell.layout.gates * cell.sizes.hidden, results.gates);
        for (int64_t r = part.active(0); r < static_cast<int64_t>(part.rows.size()); ++r) {
            for (int k = 0; k < cell.layout.states && !results.final.empty(); ++k) {   // rows without a step
                const int64_t width = cell.width(k);
                std::memcpy(results.final[k] + part.rows[r] * width, entry[k].data() + r * width, width * sizeof(T));
            }
        }
        if (part.steps() == 0) return;
        Forward<T> scan(cell, packing, batch, part, call);
        if (!tape) return scan.run(0, part.steps(), entry, nullptr, results);
        if (tape->every) {
            for (int k = 0; k < cell.layout.states; ++k) {
                const int64_t count = (part.steps() + tape->every - 1) / tape->every;
                tape->checkpoints[p].emplace_back(count * part.active(0) * cell.width(k));
            }
            return scan.run(0, part.steps(), entry, nullptr, results, &tape->checkpoints[p], tape->every);
        }
        tape->stashes[p] = make_stash(cell, part.first.back());
        scan.run(0, part.steps(), entry, &tape->stashes[p], results);
    });
    if (tape) tape->steps = batch.steps, tape->rows = batch.rows, tape->sizes = cell.sizes;
}

#define RECURRA_FORWARD(T)                                                                                            \
    template void recompute<T>(const Cell<T>&, const Packing<T>&, const Batch<T>&, const Part&, int64_t, int64_t,     \
                               const std::vector<Buffer<T>>&, Stash<T>&, Interruptible&);                             \
    template void forward<T>(const Cell<T>&, const Weights<T>&, const Batch<T>&, const Results<T>&, int, Tape<T>*);
RECURRA_FORWARD(float)
RECURRA_FORWARD(double)

}  // namespace recurra
