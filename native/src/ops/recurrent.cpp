#include <algorithm>
#include <cstring>

#include "recurra/network.hpp"
#include "recurra/recurrence.hpp"
#include "recurra/rows.hpp"
#include "ops.hpp"

namespace recurra {

namespace {

struct Recurrent {
    std::vector<std::unique_ptr<Recurrence>> directions;
    int64_t input, width, output;   // features: of x, of one direction, of both
};

struct Own {
    std::vector<Stepper<float>> steppers;   // of each direction
    std::vector<States> states;             // of each of two, for whole sequences
    std::vector<Sides> sides;
};

int64_t row_of(const Recurrent& op) { return op.directions[0]->cell.row(); }

int64_t room(const void* data, int64_t rows, int64_t positions) {
    const int64_t row = row_of(*static_cast<const Recurrent*>(data));
    return times(std::min(positions, std::max(rows, chunk_rows(row))), row);
}

std::shared_ptr<void> own(const void* data, int64_t rows) {
    const Recurrent& op = *static_cast<const Recurrent*>(data);
    auto made = std::make_shared<Own>();
    made->steppers.reserve(op.directions.size());   // they stay where they are
    for (const auto& direction : op.directions) {
        made->steppers.emplace_back(direction->cell, direction->packing, rows);
        if (op.directions.size() == 1) continue;
        made->states.emplace_back(direction->states, rows);
        made->sides.emplace_back(direction->states, rows);
    }
    return made;
}

// One direction; the first step reads `now` and writes `next`, and they change places. Without `to` the output of a single
// step stays where it is, in the first of `next`.
void recur(const Recurrent& op, Stepper<float>& step, const Chunk& c, bool reverse, float* const* now, float* const* next, float* to) noexcept {
    const int64_t rows = c.rows, row = row_of(op);
    const int64_t chunk = std::max<int64_t>(1, chunk_rows(row) / rows);
    for (int64_t done = 0; done < c.steps; done += chunk) {
        if (c.call && c.call->ends()) return;
        const int64_t count = std::min(chunk, c.steps - done);
        const int64_t base = reverse ? c.steps - done - count : done;
        const float* from = c.x + base * rows * op.input;
        if (count > 1) step.project(from, count * rows, c.room);
        for (int64_t s = 0; s < count; ++s) {
            const int64_t t = reverse ? count - 1 - s : s;
            step.step(count > 1 ? nullptr : from, now, next, c.room + t * rows * row, rows, false);
            if (!to) return;
            float* out = to + (base + t) * rows * op.output;
            if (op.output == op.width) {
                std::memcpy(out, next[0], rows * op.width * sizeof(float));
            } else {
                for (int64_t r = 0; r < rows; ++r) std::memcpy(out + r * op.output, next[0] + r * op.width, op.width * sizeof(float));
            }
            std::swap(now, next);
        }
    }
}

const float* one_way(const void* data, void* mine, Chunk& c) noexcept {
    const Recurrent& op = *static_cast<const Recurrent*>(data);
    float* to = c.steps == 1 ? nullptr : c.to;
    recur(op, static_cast<Own*>(mine)->steppers[0], c, false, c.now, c.next, to);
    return to ? to : c.next[0];
}

const float* both_ways(const void* data, void* mine, Chunk& c) noexcept {
    const Recurrent& op = *static_cast<const Recurrent*>(data);
    Own& own = *static_cast<Own*>(mine);
    for (size_t d = 0; d < 2; ++d) {
        own.states[d].clear();
        own.sides[d].begin(own.states[d]);
        recur(op, own.steppers[d], c, d == 1, own.sides[d].now(), own.sides[d].next(), c.to + d * op.width);
    }
    return c.to;
}

}  // namespace

Recurrence::Recurrence(const Cell<float>& of, const Weights<float>& weights, const std::vector<const float*>& initial)
    : cell(of), packing(cell, weights, cell.block()) {
    for (int k = 0; k < cell.layout.states; ++k) {
        if (!initial.empty()) begins.push_back(copy_of(initial[k], cell.width(k)));
        states.push_back({cell.width(k), initial.empty() ? nullptr : begins[k].data(), true});
    }
    for (size_t i = 0; i < weights.parameters.size(); ++i) {
        parameters.push_back(copy_of(weights.parameters[i], cell.sizes.hidden));
        packing.parameters[i] = parameters[i].data();
    }
}

Op recurrent(std::vector<std::unique_ptr<Recurrence>> directions) {
    expect(directions.size() == 1 || directions.size() == 2, "a recurrent op has no direction, or more than two");
    const Cell<float>& cell = directions[0]->cell;
    for (const auto& direction : directions) {
        expect(direction->cell.sizes.input == cell.sizes.input && direction->cell.sizes.output == cell.sizes.output &&
               direction->cell.row() == cell.row(), "the directions of a recurrent op have other sizes");
    }
    const int64_t output = cell.sizes.output * static_cast<int64_t>(directions.size());
    const bool alone = directions.size() == 1;
    Op op{cell.sizes.input, output, alone ? &one_way : &both_ways};
    if (alone) op.states = directions[0]->states;
    op.streams = alone;
    op.room = &room;
    op.own = &own;
    op.data = std::make_shared<Recurrent>(Recurrent{std::move(directions), op.input, cell.sizes.output, output});
    return op;
}

}  // namespace recurra
