#include "recurra/network.hpp"

#include <algorithm>
#include <cstring>

#include "recurra/rows.hpp"

namespace recurra {

namespace {

Buffer<float> copy_of(const float* values, int64_t count) {
    Buffer<float> copy(count);
    if (count) std::memcpy(copy.data(), values, count * sizeof(float));
    return copy;
}

constexpr int64_t kLine = 64 / sizeof(float);

void ask_for(const float* state, const std::vector<int64_t>& widths) {
    int64_t size = 0;
    for (const int64_t width : widths) size += width;
    for (int64_t i = 0; i < size; i += kLine) __builtin_prefetch(state + i, 1);
}

// By whole lines, in registers: a state is short for a call of memcpy.
void copy(const float* from, int64_t width, float* to) {
    int64_t i = 0;
    for (; i + kLine <= width; i += kLine) std::memcpy(to + i, from + i, kLine * sizeof(float));
    for (; i < width; ++i) to[i] = from[i];
}

// Calls move(state, in the block, width) for each of a row's states.
template <class Move> void exchange(float* state, const std::vector<int64_t>& widths, const States& block, int64_t row, Move move) {
    for (size_t k = 0; k < widths.size(); state += widths[k++]) move(state, block.now(k) + row * widths[k], widths[k]);
}

}  // namespace

Recurrence::Recurrence(const Cell<float>& of, const Weights<float>& weights, const std::vector<const float*>& begin)
    : cell(of), packing(cell, weights, cell.block()) {
    for (int k = 0; k < cell.layout.states; ++k) {
        widths.push_back(cell.width(k));
        if (!begin.empty()) states.push_back(copy_of(begin[k], cell.width(k)));
        initial.push_back(begin.empty() ? nullptr : states[k].data());
    }
    for (size_t i = 0; i < weights.parameters.size(); ++i) {
        parameters.push_back(copy_of(weights.parameters[i], cell.sizes.hidden));
        packing.parameters[i] = parameters[i].data();
    }
}

States::States(const std::vector<int64_t>& widths, const std::vector<const float*>& initial, int64_t rows)
    : widths_(&widths), initial_(&initial), rows_(rows) {
    int64_t size = 0;
    for (const int64_t width : widths) size += rows * width;
    memory_ = Buffer<float>(2 * size);
    float* next = memory_.data();
    for (auto& side : arrays_) {
        for (const int64_t width : widths) {
            side.push_back(next);
            next += rows * width;
        }
    }
    clear();
}

void States::clear() noexcept {
    side_ = 0;
    if (memory_.size()) std::memset(memory_.data(), 0, memory_.size() * sizeof(float));
    for (size_t k = 0; k < widths_->size(); ++k) {
        const int64_t width = (*widths_)[k];
        for (int64_t r = 0; (*initial_)[k] && r < rows_; ++r) {
            std::memcpy(now(k) + r * width, (*initial_)[k], width * sizeof(float));
        }
    }
}

Workspace::Workspace(const Network& network, int64_t rows, int64_t positions)
    : rows_(rows), positions_(std::max(rows, positions)) {
    int64_t widest = std::max(network.embedded_, network.output()), row = 0, head = 0;
    size_t count = 0;
    for (const Layer& layer : network.layers_) count += layer.directions.size();
    steppers_.reserve(count);
    for (const Layer& layer : network.layers_) {
        widest = std::max(widest, layer.output);
        if (layer.head) head = std::max(head, layer.head->scratch());
        for (const auto& direction : layer.directions) {
            const Cell<float>& cell = direction->cell;
            steppers_.emplace_back(cell, direction->packing, rows);
            row = std::max(row, cell.row());
            if (layer.directions.size() < 2) continue;
            whole_.emplace_back(direction->widths, direction->initial, rows);
        }
    }
    slots_ = Buffer<float>(std::min(positions_, std::max(rows, kChunkRows)) * row);
    for (Buffer<float>& values : values_) values = Buffer<float>(positions_ * widest);
    head_ = Buffer<float>(head);
}

void Network::add_embedding(const float* W, int64_t count, int64_t width) {
    embedding_ = copy_of(W, count * width);
    words_ = count;
    embedded_ = width;
}

void Network::add_split(int64_t first, int64_t beside) {
    layers_.push_back({Layer::Kind::split, first + beside, first});
}

void Network::add_recurrent(std::vector<std::unique_ptr<Recurrence>> directions) {
    const Recurrence& first = *directions.front();
    const Cell<float>& cell = first.cell;
    const int64_t output = cell.sizes.output * static_cast<int64_t>(directions.size());
    if (directions.size() > 1) {
        streams_ = false;
    } else {
        widths_.insert(widths_.end(), first.widths.begin(), first.widths.end());
        initial_.insert(initial_.end(), first.initial.begin(), first.initial.end());
    }
    layers_.push_back({Layer::Kind::recurrent, cell.sizes.input, output, std::move(directions)});
}

void Network::add_linear(const float* W, const float* b, int64_t input, int64_t output) {
    Layer layer{Layer::Kind::linear, input, output};
    const Kernels<float>& kernels = *isa_->kernels<float>();
    layer.weight = Buffer<float>(packed_size<float>(kernels.lanes, input, output));
    kernels.pack({layer.weight.data(), input, output}, W, 1, input, 0, input);
    layer.biased = b != nullptr;
    if (b) layer.bias = copy_of(b, output);
    layers_.push_back(std::move(layer));
}

void Network::add_map(int activation, float number, int64_t width) {
    Layer layer{Layer::Kind::map, width, width};
    layer.map = activation;
    layer.number = number;
    layers_.push_back(std::move(layer));
}

void Network::add_layer_norm(const float* scale, const float* shift, float epsilon, int64_t width) {
    Layer layer{Layer::Kind::layer_norm, width, width};
    layer.weight = copy_of(scale, width);
    layer.bias = copy_of(shift, width);
    layer.number = epsilon;
    layers_.push_back(std::move(layer));
}

void Network::add_softmax(int64_t width) { layers_.push_back({Layer::Kind::softmax, width, width}); }

void Network::add_forecast(const ForecastSizes& sizes, const ForecastWeights& weights) {
    Layer layer{Layer::Kind::forecast, sizes.hidden, sizes.output()};
    layer.head = std::make_unique<ForecastHead>(*isa_, sizes, weights);
    layers_.push_back(std::move(layer));
}

// One direction of a recurrent layer; the first step reads `now` and writes `next`, and they change places. Without
// `out` the output of a single step stays where it is, in the first of `next`.
void Network::recur(const Layer& layer, size_t direction, size_t stepper, const float* x, int64_t steps, int64_t rows,
                    float* const* now, float* const* next, Workspace& scratch, float* out) const noexcept {
    const Cell<float>& cell = layer.directions[direction]->cell;
    const bool reverse = direction == 1;
    const int64_t width = cell.width(0), at = static_cast<int64_t>(direction) * width;
    const int64_t chunk = std::max<int64_t>(1, std::min(scratch.positions_, kChunkRows) / rows);
    Stepper<float>& step = scratch.steppers_[stepper];
    float* slots = scratch.slots_.data();
    for (int64_t done = 0; done < steps; done += chunk) {
        const int64_t count = std::min(chunk, steps - done);
        const int64_t base = reverse ? steps - done - count : done;
        const float* from = x + base * rows * layer.input;
        if (count > 1) step.project(from, count * rows, slots);
        for (int64_t s = 0; s < count; ++s) {
            const int64_t t = reverse ? count - 1 - s : s;
            step.step(count > 1 ? nullptr : from, now, next, slots + t * rows * cell.row(), rows, false);
            if (!out) return;
            float* to = out + (base + t) * rows * layer.output + at;
            if (layer.output == width) {
                std::memcpy(to, next[0], rows * width * sizeof(float));
            } else {
                for (int64_t r = 0; r < rows; ++r) {
                    std::memcpy(to + r * layer.output, next[0] + r * width, width * sizeof(float));
                }
            }
            std::swap(now, next);
        }
    }
}

void Network::run(const void* x, int64_t steps, int64_t rows, States& states, Workspace& scratch, float* out) const noexcept {
    const Elementwise& kernels = *isa_->elementwise;
    const int64_t chunk = std::max<int64_t>(1, scratch.positions_ / rows);
    for (int64_t from = 0; from < steps; from += chunk) {
        const int64_t count = std::min(chunk, steps - from), positions = count * rows;
        float* spare[2] = {scratch.values_[0].data(), scratch.values_[1].data()};
        const float* in = static_cast<const float*>(x) + from * rows * input();
        if (words_) {
            const int64_t* ids = static_cast<const int64_t*>(x) + from * rows;
            for (int64_t i = 0; i < positions; ++i) {
                std::memcpy(spare[0] + i * embedded_, embedding_.data() + ids[i] * embedded_, embedded_ * sizeof(float));
            }
            in = spare[0];
            std::swap(spare[0], spare[1]);
        }
        const float* beside = nullptr;
        size_t stepper = 0, whole = 0, first = 0;
        for (const Layer& layer : layers_) {
            float* to = spare[0];
            switch (layer.kind) {
            case Layer::Kind::split:
                beside = in + layer.output;
                if (positions == 1) continue;   // what goes on is dense as it is
                for (int64_t i = 0; i < positions; ++i) {
                    std::memcpy(to + i * layer.output, in + i * layer.input, layer.output * sizeof(float));
                }
                break;
            case Layer::Kind::recurrent:
                if (layer.directions.size() == 1) {
                    float* const* next = states.arrays(1 - states.side()) + first;
                    recur(layer, 0, stepper++, in, count, rows, states.arrays(states.side()) + first, next, scratch,
                          count == 1 ? nullptr : to);
                    first += layer.directions[0]->cell.layout.states;
                    if (count == 1) {
                        in = next[0];
                        continue;
                    }
                } else {
                    for (size_t d = 0; d < 2; ++d) {
                        States& own = scratch.whole_[whole++];
                        own.clear();
                        recur(layer, d, stepper++, in, count, rows, own.arrays(0), own.arrays(1), scratch, to);
                    }
                }
                break;
            case Layer::Kind::linear:
                isa_->kernels<float>()->product({in, layer.input, 1, positions,
                                                 {layer.weight.data(), layer.input, layer.output},
                                                 layer.biased ? layer.bias.data() : nullptr, 0, to, layer.output});
                break;
            case Layer::Kind::map:
                kernels.maps[layer.map](in, positions * layer.input, layer.number, to);
                break;
            case Layer::Kind::layer_norm:
                kernels.layer_norm(in, positions, layer.input, layer.weight.data(), layer.bias.data(), layer.number, to);
                break;
            case Layer::Kind::softmax:
                kernels.softmax(in, positions, layer.input, to);
                break;
            case Layer::Kind::forecast:
                layer.head->run(in, beside, input(), positions, scratch.head_.data(), to);
                break;
            }
            in = to;
            std::swap(spare[0], spare[1]);
        }
        std::memmove(out + from * rows * output(), in, positions * output() * sizeof(float));
        states.flip(count);
    }
}

void Network::step_apart(const void* x, float* const* states, int64_t count, Workspace& scratch, float* out) const {
    const int64_t row_bytes = words_ ? sizeof(int64_t) : input() * sizeof(float);
    const char* in = static_cast<const char*>(x);
    States block(widths_, initial_, scratch.rows_);
    for (int64_t from = 0; from < count; from += scratch.rows_) {
        const int64_t rows = std::min(scratch.rows_, count - from);
        for (int64_t r = 0; r < rows; ++r) {
            if (from + r + kAhead < count) ask_for(states[from + r + kAhead], widths_);
            exchange(states[from + r], widths_, block, r, [](float* apart, float* in_block, int64_t width) { copy(apart, width, in_block); });
        }
        run(in + from * row_bytes, 1, rows, block, scratch, out + from * output());
        for (int64_t r = 0; r < rows; ++r) {
            exchange(states[from + r], widths_, block, r, [](float* apart, float* in_block, int64_t width) { copy(in_block, width, apart); });
        }
    }
}

}  // namespace recurra
