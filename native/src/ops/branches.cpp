// Several chains of ops on the same rows, whose outputs are put together: a residual connection, a gate, a row of both.

#include <algorithm>

#include "recurra/network.hpp"
#include "recurra/recurrence.hpp"
#include "ops.hpp"

namespace recurra {

namespace {

enum How { kAdd, kSubtract, kMultiply, kJoin };

struct Branches {
    std::vector<std::vector<Op>> chains;
    std::vector<int64_t> widths;   // of what comes out of each chain
    int64_t output, widest;
    How how;
};

struct Own {
    std::vector<std::vector<std::shared_ptr<void>>> of;   // of each op of each chain
    Buffer<float> room;   // where they do not stream, for all steps
};

int64_t room_of_one(const Branches& op, int64_t positions) { return times((times(positions, op.widest) + 15) / 16, 16); }

int64_t room(const void* data, int64_t rows, int64_t positions) {
    const Branches& op = *static_cast<const Branches*>(data);
    int64_t most = 0;
    for (const auto& chain : op.chains) {
        for (const Op& one : chain) most = std::max(most, one.room ? one.room(one.data.get(), rows, positions) : 0);
    }
    return times(room_of_one(op, positions), 2) + most;
}

std::shared_ptr<void> own(const void* data, int64_t rows) {
    auto made = std::make_shared<Own>();
    for (const auto& chain : static_cast<const Branches*>(data)->chains) {
        made->of.emplace_back();
        for (const Op& one : chain) made->of.back().push_back(one.own ? one.own(one.data.get(), rows) : nullptr);
    }
    return made;
}

void ready(const void* data, void* mine, int64_t rows, int64_t steps) {
    const Branches& op = *static_cast<const Branches*>(data);
    Own& own = *static_cast<Own*>(mine);
    const int64_t size = room(data, rows, times(rows, steps));
    if (size > own.room.size()) own.room = Buffer<float>(size);
    for (size_t k = 0; k < op.chains.size(); ++k) {
        for (size_t i = 0; i < op.chains[k].size(); ++i) {
            const Op& one = op.chains[k][i];
            if (one.ready) one.ready(one.data.get(), own.of[k][i].get(), rows, steps);
        }
    }
}

// What came out of chain k, whose first feature stands at `at`, into the outputs.
void put(const Branches& op, size_t k, int64_t at, const float* from, int64_t positions, float* to) noexcept {
    const int64_t width = op.widths[k];
    if (op.how == kJoin) {
        for (int64_t i = 0; i < positions; ++i) std::memcpy(to + i * op.output + at, from + i * width, width * sizeof(float));
    } else if (k == 0) {
        std::memcpy(to, from, positions * width * sizeof(float));
    } else if (op.how == kAdd) {
        for (int64_t i = 0; i < positions * width; ++i) to[i] += from[i];
    } else if (op.how == kSubtract) {
        for (int64_t i = 0; i < positions * width; ++i) to[i] -= from[i];
    } else {
        for (int64_t i = 0; i < positions * width; ++i) to[i] *= from[i];
    }
}

const float* run(const void* data, void* mine, Chunk& c) noexcept {
    const Branches& op = *static_cast<const Branches*>(data);
    const Own& own = *static_cast<const Own*>(mine);
    const int64_t positions = c.steps * c.rows;
    float* const memory = own.room.size() ? own.room.data() : c.room;
    float* const rooms[2] = {memory, memory + room_of_one(op, positions)};
    int64_t state = 0, at = 0;
    for (size_t k = 0; k < op.chains.size(); ++k) {
        Chunk part = c;
        part.room = rooms[1] + room_of_one(op, positions);
        int turn = 0;
        for (size_t i = 0; i < op.chains[k].size(); ++i) {
            const Op& one = op.chains[k][i];
            part.now = c.now + state;
            part.next = c.next + state;
            part.to = rooms[turn];
            part.x = one.run(one.data.get(), own.of[k][i].get(), part);
            if (part.x == rooms[turn]) turn = 1 - turn;
            state += static_cast<int64_t>(one.states.size());
        }
        put(op, k, at, part.x, positions, c.to);
        at += op.widths[k];
    }
    return c.to;
}

// Whole numbers that go into several branches are below the least of their tables.
void take_tables(const std::vector<int64_t>& tables, std::vector<int64_t>& least) {
    if (least.empty()) least = tables;
    for (size_t k = 0; k < tables.size(); ++k) least[k] = std::min(least[k], tables[k]);
}

}  // namespace

Op branches(const std::vector<const Network*>& networks, int how, int64_t input) {
    expect(networks.size() > 1 && how >= kAdd && how <= kJoin, "there are fewer than two branches, or they are put together in no known way");
    Branches data{{}, {}, 0, 0, static_cast<How>(how)};
    Op op{input, 0, &run};
    for (const Network* network : networks) {
        expect(network->stride() == 1 && !network->vocabulary(), "a branch does not answer at every step");
        int64_t width = input;
        op.streams = op.streams && network->streams();
        if (!network->ops().empty()) take_tables(network->ops().front().tables, op.tables);
        for (const Op& one : network->ops()) {
            expect(one.input == width, "a branch takes other features than come in");
            width = one.output;
            data.widest = std::max(data.widest, width);
            op.states.insert(op.states.end(), one.states.begin(), one.states.end());
        }
        expect(data.how == kJoin || data.widths.empty() || width == data.widths[0], "branches have other widths");
        data.chains.push_back(network->ops());
        data.widths.push_back(width);
        data.output = data.how == kJoin ? data.output + width : width;
    }
    op.output = times(data.output, 1);
    if (op.streams) op.room = &room;
    else op.ready = &ready;
    op.own = &own;
    op.data = std::make_shared<Branches>(std::move(data));
    return op;
}

}  // namespace recurra
