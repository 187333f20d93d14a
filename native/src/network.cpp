#include "recurra/network.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
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
template <class Move> void exchange(RowStates row, const std::vector<StateSpec>& specs, float* const* now, int64_t r, Move move) {
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
    memory_ = Buffer<float>(swapped_ + kept);
    float *swapped = memory_.data(), *fixed = memory_.data() + swapped_;
    arrays_.reserve(specs.size());
    for (const StateSpec& spec : specs) {
        float*& next = spec.swapped ? swapped : fixed;
        arrays_.push_back(next);
        next += rows * spec.width;
    }
    clear();
}

States States::copy() const {
    States other(*specs_, rows_);
    if (memory_.size()) std::memcpy(other.memory_.data(), memory_.data(), memory_.size() * sizeof(float));
    return other;
}

void States::clear() noexcept {
    if (memory_.size()) std::memset(memory_.data(), 0, memory_.size() * sizeof(float));
    for (size_t k = 0; k < specs_->size(); ++k) {
        const StateSpec& spec = (*specs_)[k];
        for (int64_t r = 0; spec.initial && r < rows_; ++r) {
            std::memcpy(arrays_[k] + r * spec.width, spec.initial, spec.width * sizeof(float));
        }
    }
}

Sides::Sides(const std::vector<StateSpec>& specs, int64_t rows) {
    int64_t swapped = 0;
    for (const StateSpec& spec : specs) swapped += spec.swapped ? times(rows, spec.width) : 0;
    memory_ = Buffer<float>(swapped);
    for (auto& side : arrays_) side.resize(specs.size());
}

void Sides::begin(const States& states) noexcept {
    home_ = states.memory_.data();
    swapped_ = states.swapped_;
    side_ = 0;
    for (size_t k = 0; k < states.arrays_.size(); ++k) {
        float* const at = states.arrays_[k];
        arrays_[0][k] = at;
        arrays_[1][k] = (*states.specs_)[k].swapped ? memory_.data() + (at - home_) : at;
    }
}

void Sides::end() noexcept {
    if (side_ && swapped_) std::memcpy(home_, memory_.data(), swapped_ * sizeof(float));
    side_ = 0;
}

Workspace::Workspace(const Network& network, int64_t rows, int64_t positions) : rows_(rows), positions_(std::max(rows, positions)), sides_(network.states_, rows) {
    int64_t room = 0, first = 0;
    for (const Op& op : network.ops_) {
        const int64_t at_once = op.streams ? positions_ : std::numeric_limits<int64_t>::max();
        if (op.room) room = std::max(room, op.room(op.data.get(), rows_, at_once));
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

// The first inputs of rows, which flow, without what stands beside them.
void Network::densely(const float* x, int64_t positions, float* to) const noexcept {
    for (int64_t i = 0; i < positions; ++i) std::memcpy(to + i * first_, x + i * row_, first_ * sizeof(float));
}

// Run ops on a chunk, in two rooms by turns. Their swapped states are then where a flip by so many steps finds them.
void Network::pass(Ops ops, Chunk& c, float* const* rooms, Workspace& scratch, int64_t flips) const noexcept {
    int at = c.x == rooms[0];
    for (size_t i = ops.first; i < ops.last; ++i) {
        const Workspace::Turn& turn = scratch.turns_[i];
        const int64_t taken = c.steps;
        c.now = scratch.sides_.now() + turn.first;
        c.next = scratch.sides_.next() + turn.first;
        c.to = rooms[at];
        if (taken) c.x = turn.run(turn.data, turn.own, c);
        if (c.x == rooms[at]) at = 1 - at;
        if (((taken ^ flips) & 1) == 0) continue;
        for (int64_t k = 0; k < turn.states; ++k) {   // it took other steps than will be counted
            if (c.now[k] == c.next[k]) continue;
            const size_t bytes = c.rows * states_[turn.first + k].width * sizeof(float);
            if (flips & 1) std::memcpy(c.next[k], c.now[k], bytes);
            else std::memcpy(c.now[k], c.next[k], bytes);
        }
    }
}

int64_t Network::run(const void* x, int64_t steps, int64_t rows, States& states, Workspace& scratch, float* out) const noexcept {
    scratch.sides_.begin(states);
    const int64_t answered = advance(x, steps, rows, scratch, out);
    scratch.sides_.end();
    return answered;
}

// Run with the states on the scratch memory's sides.
int64_t Network::advance(const void* x, int64_t steps, int64_t rows, Workspace& scratch, float* out) const noexcept {
    const int64_t chunk = std::max<int64_t>(1, scratch.positions_ / rows);
    float* const rooms[2] = {scratch.values_[0].data(), scratch.values_[1].data()};
    int64_t answered = 0;
    for (int64_t from = 0; from < steps; from += chunk) {
        const int64_t count = std::min(chunk, steps - from), positions = count * rows;
        const float* row = reinterpret_cast<const float*>(static_cast<const char*>(x) + from * rows * row_bytes());
        Chunk c{row, count, rows, row, row_, 1, nullptr, nullptr, nullptr, scratch.room_.data()};
        if (first_ < row_ && positions > 1) {
            densely(row, positions, rooms[0]);
            c.x = rooms[0];
        }
        pass({0, ops_.size(), first_, output()}, c, rooms, scratch, count);
        std::memmove(out + answered * rows * output(), c.x, c.steps * rows * output() * sizeof(float));
        answered += c.steps;
        scratch.sides_.flip(count);
    }
    return answered;
}

Network::Ops Network::ops_from(size_t first) const {
    Ops ops{first, first + 1, first ? ops_[first - 1].output : first_, 0};
    while (ops_[first].streams && ops.last < ops_.size() && ops_[ops.last].streams) ++ops.last;
    ops.after = ops_[ops.last - 1].output;
    return ops;
}

// Run ops that stream on a whole sequence; c.x is then `to`.
void Network::pass_in_chunks(Ops ops, Chunk& c, float* to, Workspace& scratch) const {
    const int64_t chunk = std::max<int64_t>(1, scratch.positions_ / c.rows), steps = c.steps;
    const bool ids = ops.first == 0 && vocabulary();
    const int64_t bytes = ids ? sizeof(int64_t) : ops.before * sizeof(float);
    float* const rooms[2] = {scratch.values_[0].data(), scratch.values_[1].data()};
    Chunk after = c;
    after.steps = 0;
    for (int64_t from = 0; from < steps; from += chunk) {
        c.call->look();
        Chunk part = c;
        part.steps = std::min(chunk, steps - from);
        part.x = reinterpret_cast<const float*>(reinterpret_cast<const char*>(c.x) + from * c.rows * bytes);
        part.row = c.row + from * c.every * c.rows * c.row_width;
        pass(ops, part, rooms, scratch, 0);
        if (!part.steps) continue;
        if (!after.steps) after.row = part.row, after.every = part.every;
        std::memcpy(to + after.steps * c.rows * ops.after, part.x, part.steps * c.rows * ops.after * sizeof(float));
        after.steps += part.steps;
    }
    c = after;
    c.x = to;
}

// Run an op that does not stream; c.x is then `to`.
void Network::pass_whole(Ops ops, Chunk& c, float* to, Workspace& scratch) const {
    float* const rooms[2] = {to, nullptr};
    const Op& op = ops_[ops.first];
    if (op.ready) op.ready(op.data.get(), scratch.owned_[ops.first].get(), c.rows, c.steps);
    pass(ops, c, rooms, scratch, 0);
    c.call->look();
    c.x = to;
}

int64_t Network::run_long(const void* x, int64_t steps, int64_t rows, States& states, Workspace& scratch, Interruptible& call, float* out) const {
    if (streams_) {
        const int64_t some = std::max<int64_t>(1, scratch.positions_ / rows);
        int64_t answered = 0;
        for (int64_t from = 0; from < steps; from += some) {
            call.look();
            const char* at = static_cast<const char*>(x) + from * rows * row_bytes();
            answered += run(at, std::min(some, steps - from), rows, states, scratch, out + answered * rows * output());
        }
        return answered;
    }
    scratch.sides_.begin(states);
    const float* row = static_cast<const float*>(x);
    Chunk c{row, steps, rows, row, row_, 1, nullptr, nullptr, nullptr, scratch.room_.data(), &call};
    Buffer<float> held;   // what flows, between ops
    if (first_ < row_) {
        held = Buffer<float>(times(steps, rows, first_));
        densely(row, steps * rows, held.data());
        c.x = held.data();
    }
    for (size_t first = 0; first < ops_.size();) {
        const Ops ops = ops_from(first);
        const bool last = ops.last == ops_.size();
        Buffer<float> made(last ? 0 : times(c.steps, rows, ops.after));
        float* const to = last ? out : made.data();
        if (ops_[first].streams) pass_in_chunks(ops, c, to, scratch);
        else pass_whole(ops, c, to, scratch);
        held = std::move(made);
        first = ops.last;
    }
    return c.steps;
}

// Rows that are all at the same step of the network's stride, from states apart to states apart. What answers is dense.
void Network::step_in_phase(const void* x, const RowStates* rows, int64_t count, const States& block, Workspace& scratch, float* out) const {
    const char* in = static_cast<const char*>(x);
    Sides& sides = scratch.sides_;
    sides.begin(block);
    for (int64_t from = 0; from < count; from += scratch.rows_) {
        const int64_t some = std::min(scratch.rows_, count - from);
        for (int64_t r = 0; r < some; ++r) {
            if (from + r + kAhead < count) ask_for(rows[from + r + kAhead], states_);
            exchange(rows[from + r], states_, sides.now(), r, [](float* apart, float* in_block, int64_t width) { copy(apart, width, in_block); });
        }
        advance(in + from * row_bytes(), 1, some, scratch, out + from * output());
        for (int64_t r = 0; r < some; ++r) {
            exchange(rows[from + r], states_, sides.now(), r, [](float* apart, float* in_block, int64_t width) { copy(in_block, width, apart); });
        }
    }
}

void Network::step_apart(const void* x, const RowStates* rows, int64_t count, Workspace& scratch, float* out) const {
    const States block(states_, std::min(count, scratch.rows_));
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
    const States block(states_, std::min(count, scratch.rows_));
    Sides& sides = scratch.sides_;
    sides.begin(block);
    Buffer<char> in(scratch.positions_ * row_bytes());
    Buffer<float> results(scratch.positions_ * output());
    for (int64_t from = 0; from < count; from += scratch.rows_) {
        const int64_t* which = order.data() + from;
        int64_t running = std::min(scratch.rows_, count - from);
        for (int64_t r = 0; r < running; ++r) {
            exchange(rows[which[r]], states_, sides.now(), r, [](float* apart, float* in_block, int64_t width) { copy(apart, width, in_block); });
        }
        for (int64_t t = 0; running;) {
            for (; running && steps[which[running - 1]] == t; --running) {
                exchange(rows[which[running - 1]], states_, sides.now(), running - 1,
                         [](float* apart, float* in_block, int64_t width) { copy(in_block, width, apart); });
            }
            if (!running) break;
            const int64_t some = std::min(std::max<int64_t>(1, scratch.positions_ / running), steps[which[running - 1]] - t);
            for (int64_t r = 0; r < running; ++r) {
                const char* one = static_cast<const char*>(x) + (places[which[r]] + t) * row_bytes();
                for (int64_t k = 0; k < some; ++k) std::memcpy(in.data() + (k * running + r) * row_bytes(), one + k * row_bytes(), row_bytes());
            }
            advance(in.data(), some, running, scratch, results.data());
            for (int64_t r = 0; r < running; ++r) {
                float* one = out + (places[which[r]] + t) * output();
                for (int64_t k = 0; k < some; ++k) copy(results.data() + (k * running + r) * output(), output(), one + k * output());
            }
            t += some;
        }
    }
}

}  // namespace recurra
