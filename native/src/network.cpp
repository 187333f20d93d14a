#include "recurra/network.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "recurra/rows.hpp"

namespace recurra {

namespace {

constexpr int64_t kLine = 64 / sizeof(float);

void ask_for(const RowStates& row, const std::vector<StateSpec>& specs) {
    int64_t swapped = 0, kept = 0;
    for (const StateSpec& spec : specs) (spec.swapped ? swapped : kept) += spec.width;
    for (int64_t i = 0; i < swapped; i += kLine) __builtin_prefetch(row.swapped + i, 1);
    for (int64_t i = 0; i < kept; i += kLine) __builtin_prefetch(row.kept + i, 1);
}

// By whole lines, in registers: a state is short for a call of memcpy.
void copy(const float* from, int64_t width, float* to) {
    int64_t i = 0;
    for (; i + kLine <= width; i += kLine) std::memcpy(to + i, from + i, kLine * sizeof(float));
    for (; i < width; ++i) to[i] = from[i];
}

// Calls move(state, in the block, width) for each of a row's states.
template <class Move> void exchange(RowStates row, const std::vector<StateSpec>& specs, const States& block, int64_t r, Move move) {
    float* const* now = block.now();
    for (size_t k = 0; k < specs.size(); ++k) {
        const int64_t width = specs[k].width;
        float*& state = specs[k].swapped ? row.swapped : row.kept;
        move(state, now[k] + r * width, width);
        state += width;
    }
}

}  // namespace

States::States(const std::vector<StateSpec>& specs, int64_t rows) : specs_(&specs), rows_(rows) {
    int64_t kept = 0;
    for (const StateSpec& spec : specs) (spec.swapped ? swapped_ : kept) += times(rows, spec.width);
    memory_ = Buffer<float>(2 * swapped_ + kept);
    for (int side = 0; side < 2; ++side) {
        float *swapped = memory_.data() + side * swapped_, *fixed = memory_.data() + 2 * swapped_;
        for (const StateSpec& spec : specs) {
            float*& next = spec.swapped ? swapped : fixed;
            arrays_[side].push_back(next);
            next += rows * spec.width;
        }
    }
    clear();
}

States States::copy() const {
    States other(*specs_, rows_);
    if (memory_.size()) std::memcpy(other.memory_.data(), memory_.data(), memory_.size() * sizeof(float));
    other.side_ = side_;
    return other;
}

void States::clear() noexcept {
    side_ = 0;
    if (memory_.size()) std::memset(memory_.data(), 0, memory_.size() * sizeof(float));
    for (size_t k = 0; k < specs_->size(); ++k) {
        const StateSpec& spec = (*specs_)[k];
        for (int64_t r = 0; spec.initial && r < rows_; ++r) {
            std::memcpy(now()[k] + r * spec.width, spec.initial, spec.width * sizeof(float));
        }
    }
}

Workspace::Workspace(const Network& network, int64_t rows, int64_t positions) : rows_(rows), positions_(std::max(rows, positions)) {
    int64_t room = 0, first = 0;
    for (const Op& op : network.ops_) {
        if (op.room) room = std::max(room, op.room(op.data.get(), rows_, positions_));
        owned_.push_back(op.own ? op.own(op.data.get(), rows_) : nullptr);
        const int64_t states = static_cast<int64_t>(op.states.size());
        turns_.push_back({op.run, op.data.get(), owned_.back().get(), first, states});
        first += states;
    }
    room_ = Buffer<float>(room);
    for (Buffer<float>& values : values_) values = Buffer<float>(times(positions_, network.widest()));
}

int64_t Network::widest() const {
    int64_t widest = first_;
    for (const Op& op : ops_) widest = std::max(widest, op.output);
    return widest;
}

int64_t Network::at_once() const {
    int64_t most = widest();
    for (const Op& op : ops_) most = std::max(most, op.room ? op.room(op.data.get(), 1, 1) : 0);
    return chunk_rows(most);
}

void Network::add(Op op) {
    expect(op.input == output() && op.output > 0, "an op takes other features than the one before it gives");
    expect(op.tables.empty() || ops_.empty(), "an op of whole numbers is not the first");
    expect(!op.vocabulary || (ops_.empty() && row_ == 1), "an op of whole numbers is not the first, or has inputs beside it");
    for (const StateSpec& spec : op.states) {
        states_.push_back(spec);
        if (!spec.swapped) kept_ += spec.width;
    }
    if (op.stride > 1) waits_.push_back({states_.size() - 1, kept_ - 1, op.stride});
    stride_ *= op.stride;
    streams_ = streams_ && op.streams;
    ops_.push_back(std::move(op));
}

bool Network::ids_fit(const float* x, int64_t rows) const noexcept {
    if (ops_.empty()) return true;
    const std::vector<int64_t>& tables = ops_.front().tables;
    if (tables.empty()) return true;
    for (int64_t r = 0; r < rows; ++r, x += row_) {
        for (size_t k = 0; k < tables.size(); ++k) {
            if (!(x[k] >= 0 && x[k] < static_cast<float>(tables[k]) && x[k] == std::floor(x[k]))) return false;
        }
    }
    return true;
}

int64_t Network::answers(const float* const* states, int64_t steps) const noexcept {
    for (const Wait& wait : waits_) steps = answers_of(steps, steps_of(states[wait.state][0], wait.stride), wait.stride);
    return steps;
}

int64_t Network::run(const void* x, int64_t steps, int64_t rows, States& states, Workspace& scratch, float* out) const noexcept {
    const int64_t chunk = std::max<int64_t>(1, scratch.positions_ / rows);
    int64_t answered = 0;
    for (int64_t from = 0; from < steps; from += chunk) {
        const int64_t count = std::min(chunk, steps - from), positions = count * rows;
        float* spare[2] = {scratch.values_[0].data(), scratch.values_[1].data()};
        const float* row = reinterpret_cast<const float*>(static_cast<const char*>(x) + from * rows * row_bytes());
        Chunk c{row, count, rows, row, row_, 1, nullptr, nullptr, nullptr, scratch.room_.data()};
        if (first_ < row_ && positions > 1) {   // what flows is dense
            for (int64_t i = 0; i < positions; ++i) std::memcpy(spare[0] + i * first_, row + i * row_, first_ * sizeof(float));
            c.x = spare[0];
            std::swap(spare[0], spare[1]);
        }
        for (const Workspace::Turn& turn : scratch.turns_) {
            const int64_t taken = c.steps;
            c.now = states.now() + turn.first;
            c.next = states.next() + turn.first;
            c.to = spare[0];
            if (taken) c.x = turn.run(turn.data, turn.own, c);
            if (c.x == spare[0]) std::swap(spare[0], spare[1]);
            if (((taken ^ count) & 1) == 0) continue;
            for (int64_t k = 0; k < turn.states; ++k) {   // an op behind a stride took fewer steps than `flip` will count
                if (c.now[k] == c.next[k]) continue;
                const size_t bytes = rows * states_[turn.first + k].width * sizeof(float);
                if (count & 1) std::memcpy(c.next[k], c.now[k], bytes);
                else std::memcpy(c.now[k], c.next[k], bytes);
            }
        }
        std::memmove(out + answered * rows * output(), c.x, c.steps * rows * output() * sizeof(float));
        answered += c.steps;
        states.flip(count);
    }
    return answered;
}

// Rows that are all at the same step of the network's stride, from states apart to states apart. What answers is dense.
void Network::step_in_phase(const void* x, const RowStates* rows, int64_t count, States& block, Workspace& scratch, float* out) const {
    const char* in = static_cast<const char*>(x);
    for (int64_t from = 0; from < count; from += scratch.rows_) {
        const int64_t some = std::min(scratch.rows_, count - from);
        for (int64_t r = 0; r < some; ++r) {
            if (from + r + kAhead < count) ask_for(rows[from + r + kAhead], states_);
            exchange(rows[from + r], states_, block, r, [](float* apart, float* in_block, int64_t width) { copy(apart, width, in_block); });
        }
        run(in + from * row_bytes(), 1, some, block, scratch, out + from * output());
        for (int64_t r = 0; r < some; ++r) {
            exchange(rows[from + r], states_, block, r, [](float* apart, float* in_block, int64_t width) { copy(in_block, width, apart); });
        }
    }
}

void Network::step_apart(const void* x, const RowStates* rows, int64_t count, Workspace& scratch, float* out) const {
    States block(states_, scratch.rows_);
    if (waits_.empty()) return step_in_phase(x, rows, count, block, scratch, out);
    // Rows that wait equally long at each stride go together.
    std::vector<int64_t> phases(count, 0), order(count);
    for (int64_t r = 0; r < count; ++r) {
        for (const Wait& wait : waits_) phases[r] = phases[r] * wait.stride + steps_of(rows[r].kept[wait.kept], wait.stride);
    }
    std::iota(order.begin(), order.end(), int64_t(0));
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return phases[a] < phases[b]; });
    std::fill(out, out + count * output(), std::nanf(""));
    std::vector<RowStates> together;
    std::vector<char> in;
    Buffer<float> results(count * output());
    for (int64_t from = 0, to; from < count; from = to) {
        for (to = from; to < count && phases[order[to]] == phases[order[from]]; ++to) together.push_back(rows[order[to]]);
        for (int64_t i = from; i < to; ++i) {
            const char* one = static_cast<const char*>(x) + order[i] * row_bytes();
            in.insert(in.end(), one, one + row_bytes());
        }
        int64_t answers = 1;   // found before the step, which moves the waits
        for (const Wait& wait : waits_) answers = answers_of(answers, steps_of(together[0].kept[wait.kept], wait.stride), wait.stride);
        step_in_phase(in.data(), together.data(), to - from, block, scratch, results.data());
        for (int64_t i = from; answers && i < to; ++i) {
            std::memcpy(out + order[i] * output(), results.data() + (i - from) * output(), output() * sizeof(float));
        }
        together.clear();
        in.clear();
    }
}

// The longest first, so that those that still run are the first rows of a block.
void Network::run_apart(const void* x, const int64_t* steps, const RowStates* rows, int64_t count, Workspace& scratch, float* out) const {
    std::vector<int64_t> order(count), places(count);   // places: of a row's first step
    std::iota(order.begin(), order.end(), int64_t(0));
    std::exclusive_scan(steps, steps + count, places.begin(), int64_t(0));
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return steps[a] > steps[b]; });
    States block(states_, scratch.rows_);
    Buffer<char> in(scratch.positions_ * row_bytes());
    Buffer<float> results(scratch.positions_ * output());
    for (int64_t from = 0; from < count; from += scratch.rows_) {
        const int64_t* which = order.data() + from;
        int64_t running = std::min(scratch.rows_, count - from);
        for (int64_t r = 0; r < running; ++r) {
            exchange(rows[which[r]], states_, block, r, [](float* apart, float* in_block, int64_t width) { copy(apart, width, in_block); });
        }
        for (int64_t t = 0; running;) {
            for (; running && steps[which[running - 1]] == t; --running) {
                exchange(rows[which[running - 1]], states_, block, running - 1,
                         [](float* apart, float* in_block, int64_t width) { copy(in_block, width, apart); });
            }
            if (!running) break;
            const int64_t some = std::min(std::max<int64_t>(1, scratch.positions_ / running), steps[which[running - 1]] - t);
            for (int64_t r = 0; r < running; ++r) {
                const char* one = static_cast<const char*>(x) + (places[which[r]] + t) * row_bytes();
                for (int64_t k = 0; k < some; ++k) std::memcpy(in.data() + (k * running + r) * row_bytes(), one + k * row_bytes(), row_bytes());
            }
            run(in.data(), some, running, block, scratch, results.data());
            for (int64_t r = 0; r < running; ++r) {
                float* one = out + (places[which[r]] + t) * output();
                for (int64_t k = 0; k < some; ++k) copy(results.data() + (k * running + r) * output(), output(), one + k * output());
            }
            t += some;
        }
    }
}

}  // namespace recurra
