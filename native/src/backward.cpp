#include <algorithm>
#include <cstring>
#include <optional>

#include "recurra/rows.hpp"
#include "recurra/scan.hpp"
#include "recurra/sums.hpp"
#include "recurra/threads.hpp"

namespace recurra {
namespace {

// The weights packed for the way back: of each run the transpose, and R as it is.
template <class T> struct BackPacking {
    BackPacking(const Cell<T>& cell, const Weights<T>& weights, bool want_x) {
        const Layout& layout = cell.layout;
        const int64_t H = cell.sizes.hidden;
        for (const Run& run : layout.runs) {
            const int64_t width = cell.operand_width(run.operand);
            const bool of_input = run.operand < 0;
            runs.push_back(make(cell, run.count * H, of_input && !want_x ? 0 : width));
            if (runs.back().n == 0) continue;
            for (int i = 0; i < run.count; ++i) {
                const Slot& slot = layout.slots[run.first + i];
                const T* from = of_input ? weights.W + slot.input * H * width : weights.U + slot.recurrent * H * width;
                cell.kernels->pack(runs.back(), from, width, 1, i * H, H);
            }
        }
        if (layout.projects) {
            projection = make(cell, cell.sizes.output, H);
            cell.kernels->pack(projection, weights.R, H, 1, 0, cell.sizes.output);
        }
    }

    std::vector<Packed<T>> runs;
    Packed<T> projection{};

private:
    Packed<T> make(const Cell<T>& cell, int64_t k, int64_t n) {
        memory_.emplace_back(packed_size<T>(cell.kernels->lanes, k, n));
        return {memory_.back().data(), k, n};
    }
    std::vector<Buffer<T>> memory_;
};

// Sums of all parts together that have fewer numbers than this are added sooner than another thread wakes up.
constexpr int64_t kFewSums = 128 * 1024;

// From so many weights of a run on, what its slots' gradients are multiplied with is transposed before, and a chunk has twice
// as many rows, for the gradients of the weights pass through no cache from chunk to chunk.
constexpr int64_t kLargeWeights = 256 * 1024;

// Rows of numbers that are whole pages apart would share the same few places of a cache: a line more sets them apart.
template <class T> int64_t spread_out(int64_t width) {
    return width * sizeof(T) % 4096 == 0 ? width + 64 / static_cast<int64_t>(sizeof(T)) : width;
}

// The way back through one part.
template <class T> class Backward {
public:
    Backward(const Cell<T>& cell, const BackPacking<T>& packing, const Weights<T>& weights, const Batch<T>& batch,
             const Part& part, const Gradients<T>& gradients, const Sums<T>& sums, Interruptible& call)
        : cell_(cell), packing_(packing), batch_(batch), part_(part), gradients_(gradients), sums_(sums), call_(call),
          rows_(part, batch.steps, batch.rows, batch.reverse), most_(std::max<int64_t>(1, part.active(0))),
          large_(std::max(cell.sizes.input, cell.sizes.output) * cell.row() >= kLargeWeights),
          chunk_(std::max<int64_t>(1, (large_ ? 2 : 1) * chunk_rows(cell.row()) / most_)),
          stride_(spread_out<T>(cell.row())), tile_{} {
        const Layout& layout = cell.layout;
        const int64_t H = cell.sizes.hidden, positions = chunk_ * most_;
        for (int k = 0; k < layout.states; ++k) {
            const int64_t width = cell.width(k);
            state_gradients_.emplace_back(static_cast<int64_t>(part.rows.size()) * width);
            state_gradient_.push_back(state_gradients_[k].data());
            fresh_.emplace_back(batch.reset ? most_ * width : 0);
            for (size_t r = 0; r < part.rows.size(); ++r) {   // rows join with the gradient of their final state
                T* to = state_gradient_[k] + r * width;
                const T* from = gradients.final.empty() ? nullptr : gradients.final[k];
                if (from) std::memcpy(to, from + part.rows[r] * width, width * sizeof(T));
                else std::memset(to, 0, width * sizeof(T));
            }
        }
        slot_gradient_ = Buffer<T>(positions * stride_ + cell.kernels->lanes);
        projected_gradient_ = Buffer<T>(layout.projects ? positions * cell.sizes.output + cell.kernels->lanes : 0);
        computed_ = Buffer<T>(layout.computed() * positions * H);
        computed_gradient_ = Buffer<T>(layout.computed() * most_ * H);
        operands_ = Buffer<T>(positions * std::max(cell.sizes.input, cell.sizes.output));
        turned_ = Buffer<T>(large_ ? operands_.size() : 0);
        dx_ = Buffer<T>(gradients.x ? positions * cell.sizes.input : 0);
        for (int i = 0; i < layout.computed(); ++i) {
            inner_gradient_.push_back(computed_gradient_.data() + i * most_ * H);
            inner_.push_back(nullptr);
        }
        prev_.resize(layout.states);
        next_.resize(layout.states);
        tile_.units = tile_.stride = H;
        tile_.slot_stride = cell.row();
        tile_.slot_gradient_stride = stride_;
        tile_.state = const_cast<T* const*>(prev_.data());
        tile_.next = next_.data();
        tile_.inner = inner_.data();
        tile_.next_gradient = tile_.state_gradient = state_gradient_.data();
        tile_.inner_gradient = inner_gradient_.data();
        tile_.parameter = const_cast<T* const*>(weights.parameters.data());
        tile_.parameter_gradient = sums_.parameters.data();
    }

    // Steps [begin, end), from the last to the first, with what forward kept of them.
    void run(int64_t begin, int64_t end, const std::vector<Buffer<T>>& entry, const Stash<T>& stash) {
        for (int64_t to = end; to > begin; to -= chunk_) {
            call_.look();
            const int64_t from = std::max(begin, to - chunk_);
            for (int64_t s = to - 1; s >= from; --s) step(s, from, begin, entry, stash);
            collect(from, to, begin, entry, stash);
        }
    }

    void finish() {
        for (size_t k = 0; k < gradients_.initial.size(); ++k) {
            const int64_t width = cell_.width(static_cast<int>(k));
            for (size_t r = 0; gradients_.initial[k] && r < part_.rows.size(); ++r) {
                std::memcpy(gradients_.initial[k] + part_.rows[r] * width, state_gradient_[k] + r * width, width * sizeof(T));
            }
        }
    }

private:
    // The states before step s, with resets.
    const T* before(int k, int64_t s, int64_t begin, const std::vector<Buffer<T>>& entry, const Stash<T>& stash) const {
        const int64_t width = cell_.width(k), origin = part_.first[begin];
        const T* states = s == begin ? entry[k].data() : stash.states[k].data() + (part_.first[s - 1] - origin) * width;
        return rows_.reset(batch_.reset, s, part_.active(s), states, width, fresh_[k].data());
    }

    void step(int64_t s, int64_t from, int64_t begin, const std::vector<Buffer<T>>& entry, const Stash<T>& stash) {
        const Layout& layout = cell_.layout;
        const int64_t H = cell_.sizes.hidden, row = cell_.row(), n = part_.active(s);
        const int64_t kept = part_.first[s] - part_.first[begin], at = part_.first[s] - part_.first[from];
        T* slot_gradient = slot_gradient_.data() + at * stride_;
        if (gradients_.output) rows_.gather_add(*cell_.kernels, s, n, gradients_.output, cell_.width(0), state_gradient_[0]);
        for (int k = 0; k < layout.states; ++k) {
            prev_[k] = before(k, s, begin, entry, stash);
            next_[k] = stash.states[k].data() + kept * cell_.width(k);
        }
        for (int i = 0; i < layout.computed(); ++i) {
            inner_[i] = computed_.data() + (i * chunk_ * most_ + at) * H;
            if (i < layout.inner) std::memset(inner_gradient_[i], 0, n * H * sizeof(T));
        }
        if (layout.projects) {
            const int64_t width = cell_.sizes.output;
            T* projected = projected_gradient_.data() + at * width;
            std::memcpy(projected, state_gradient_[0], n * width * sizeof(T));
            std::memset(state_gradient_[0], 0, n * width * sizeof(T));
            cell_.kernels->product({projected, width, 1, n, packing_.projection, nullptr, 0, inner_gradient_.back(), H});
        }
        tile_.rows = n;
        tile_.slot = stash.slots.data() + kept * row;
        tile_.slot_gradient = slot_gradient;
        if (cell_.routines.backward_inner) {
            cell_.routines.backward_inner(&tile_);
            spread(layout.states, layout.states + layout.inner, n, slot_gradient);
        }
        cell_.routines.backward(&tile_);
        spread(0, layout.states, n, slot_gradient);
        for (int64_t r = 0; batch_.reset && r < n; ++r) {
            for (int k = 0; k < layout.states && rows_.is_reset(batch_.reset, r, s); ++k) {
                std::memset(state_gradient_[k] + r * cell_.width(k), 0, cell_.width(k) * sizeof(T));
            }
        }
    }

    // Add to the gradients of the operands [first, last) what their products' slots hand back.
    void spread(int first, int last, int64_t n, const T* slot_gradient) {
        const Layout& layout = cell_.layout;
        for (size_t i = 0; i < layout.runs.size(); ++i) {
            const Run& run = layout.runs[i];
            if (run.operand < first || run.operand >= last) continue;
            T* to = run.operand < layout.states ? state_gradient_[run.operand] : inner_gradient_[run.operand - layout.states];
            const int64_t width = cell_.operand_width(run.operand);
            cell_.kernels->product({slot_gradient + run.first * cell_.sizes.hidden, stride_, 1, n, packing_.runs[i], to,
                                    width, to, width});
        }
    }

    // The gradients of x and of the weights, from all slots of a chunk.
    void collect(int64_t from, int64_t to, int64_t begin, const std::vector<Buffer<T>>& entry, const Stash<T>& stash) {
        const Layout& layout = cell_.layout;
        const int64_t H = cell_.sizes.hidden, I = cell_.sizes.input, row = cell_.row();
        const int64_t n = part_.first[to] - part_.first[from];
        cell_.kernels->add_rows(slot_gradient_.data(), stride_, n, row, sums_.bias);
        const T* rows = nullptr;
        for (size_t i = 0; i < layout.runs.size(); ++i) {
            const Run& run = layout.runs[i];
            T* slot_gradient = slot_gradient_.data() + run.first * H;
            T* sum = (run.operand < 0 ? sums_.W : sums_.U) + run.first * H;
            const int64_t width = cell_.operand_width(run.operand);
            if (i == 0 || layout.runs[i - 1].operand != run.operand) {
                rows = operand(run.operand, from, to, begin, entry, stash);
                if (large_) cell_.kernels->turn(rows, width, n, width, turned_.data(), n);
            }
            cell_.kernels->product({large_ ? turned_.data() : rows, large_ ? n : 1, large_ ? 1 : width, width,
                                    {slot_gradient, n, run.count * H}, sum, row, sum, row, stride_});
            if (run.operand < 0 && gradients_.x) {
                // Several runs of the input add up, from the first one's zeros on.
                T* block = rows_.at_once(gradients_.x, from, to, I);
                T* dx = block ? block : dx_.data();
                cell_.kernels->product({slot_gradient, stride_, 1, n, packing_.runs[i], i == 0 ? nullptr : dx, I, dx, I});
                const bool last = layout.runs.size() == i + 1 || layout.runs[i + 1].operand >= 0;
                for (int64_t s = from; s < to && last && !block; ++s) {
                    rows_.scatter(s, part_.active(s), dx + (part_.first[s] - part_.first[from]) * I, I, gradients_.x);
                }
            }
        }
        if (layout.projects) {
            const int64_t P = cell_.sizes.output;
            rows = operand(layout.states + layout.inner, from, to, begin, entry, stash);
            cell_.kernels->product({rows, 1, H, H, {projected_gradient_.data(), n, P}, sums_.R, P, sums_.R,
                                    P, P});
        }
    }

    // The rows of a product's operand over a chunk, as they are or as a copy.
    const T* operand(int operand, int64_t from, int64_t to, int64_t begin, const std::vector<Buffer<T>>& entry,
                     const Stash<T>& stash) const {
        const int64_t width = cell_.operand_width(operand);
        if (operand < 0) {
            const T* x = rows_.at_once(batch_.x, from, to, width);
            return x ? x : rows_.gather_steps(from, to, batch_.x, width, operands_.data());
        }
        if (operand >= cell_.layout.states) return computed_.data() + (operand - cell_.layout.states) * chunk_ * most_ * width;
        const int64_t n = part_.active(from);
        if (from > begin && !batch_.reset && part_.active(from - 1) == n && part_.active(to - 1) == n) {   // one block
            return stash.states[operand].data() + (part_.first[from - 1] - part_.first[begin]) * width;
        }
        for (int64_t s = from; s < to; ++s) {
            T* copy = operands_.data() + (part_.first[s] - part_.first[from]) * width;
            std::memcpy(copy, before(operand, s, begin, entry, stash), part_.active(s) * width * sizeof(T));
        }
        return operands_.data();
    }

    const Cell<T>& cell_;
    const BackPacking<T>& packing_;
    const Batch<T>& batch_;
    const Part& part_;
    const Gradients<T>& gradients_;
    const Sums<T>& sums_;
    Interruptible& call_;
    Rows<T> rows_;
    int64_t most_;
    bool large_;
    int64_t chunk_, stride_;   // steps, and how far a row of gradients of slots is from the next
    Tile<T> tile_;
    std::vector<Buffer<T>> state_gradients_, fresh_;
    std::vector<T*> state_gradient_, inner_gradient_, inner_, next_;
    std::vector<const T*> prev_;
    Buffer<T> slot_gradient_, projected_gradient_, computed_, computed_gradient_, operands_, turned_, dx_;
};

}  // namespace

template <class T>
void backward(const Cell<T>& cell, const Weights<T>& weights, const Batch<T>& batch, const Tape<T>& tape,
              const Gradients<T>& gradients) {
    const Layout& layout = cell.layout;
    const auto [I, H, P] = tape.sizes;
    expect(tape.steps == batch.steps && tape.rows == batch.rows && I == cell.sizes.input && H == cell.sizes.hidden && P == cell.sizes.output,
           "the tape is of another batch or cell, or of none");
    Interruptible call;
    const BackPacking<T> packing(cell, weights, gradients.x != nullptr);
    const bool again = tape.every > 0;
    std::optional<Packing<T>> forward_packing;
    if (again) forward_packing.emplace(cell, weights, cell.sizes.hidden);
    if (gradients.x && (layout.runs.empty() || layout.runs[0].operand >= 0)) {   // no run of the input
        std::memset(gradients.x, 0, batch.steps * batch.rows * cell.sizes.input * sizeof(T));
    }
    std::vector<Sums<T>> sums;
    for (size_t p = 0; p < tape.parts.size(); ++p) sums.emplace_back(cell);
    parallel(static_cast<int>(tape.parts.size()), [&](int p) {
        const Part& part = tape.parts[p];
        sums[p].clear();
        const Rows<T> rows(part, batch.steps, batch.rows, batch.reverse);
        rows.clear_past_ends(cell.sizes.input, gradients.x);
        Backward<T> scan(cell, packing, weights, batch, part, gradients, sums[p], call);
        if (part.steps() > 0 && !again) {
            scan.run(0, part.steps(), entry_states(cell, part, batch.initial), tape.stashes[p]);
        }
        for (int64_t end = again ? part.steps() : 0; end > 0;) {
            const int64_t begin = (end - 1) / tape.every * tape.every;
            std::vector<Buffer<T>> entry;
            for (int k = 0; k < layout.states; ++k) {
                const int64_t size = part.active(begin) * cell.width(k), most = part.active(0) * cell.width(k);
                entry.emplace_back(size);
                std::memcpy(entry[k].data(), tape.checkpoints[p][k].data() + begin / tape.every * most, size * sizeof(T));
            }
            Stash<T> stash;
            recompute(cell, *forward_packing, batch, part, begin, end, entry, stash, call);
            scan.run(begin, end, entry, stash);
            end = begin;
        }
        scan.finish();
    });
    const Total<T> total(cell, sums, gradients);
    const int64_t parts = static_cast<int64_t>(sums.size());
    const int pieces = static_cast<int>(parts * sums[0].memory.size() < kFewSums ? 1 : std::min(parts, H));
    parallel(pieces, [&](int i) { total.write(i, pieces); });
}

template void backward<float>(const Cell<float>&, const Weights<float>&, const Batch<float>&, const Tape<float>&, const Gradients<float>&);
template void backward<double>(const Cell<double>&, const Weights<double>&, const Batch<double>&, const Tape<double>&, const Gradients<double>&);

}  // namespace recurra
