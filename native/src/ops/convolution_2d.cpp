// A convolution over a picture, which is a step: its numbers lie as [rows, columns, channels].

#include <algorithm>

#include "ops.hpp"

namespace recurra {

namespace {

constexpr int64_t kMost = int64_t(1) << 24;   // rows, columns, and numbers of a picture

// The windows of one row of places are gathered side by side and multiplied at once.
struct Convolution2d {
    const Kernels<float>* kernels;
    Buffer<float> weight, bias;
    int64_t rows, columns, channels, output, tall, wide, hop, padding;

    int64_t down() const { return (rows + 2 * padding - tall) / hop + 1; }
    int64_t across() const { return (columns + 2 * padding - wide) / hop + 1; }
    int64_t window() const { return tall * wide * channels; }

    static int64_t room(const void* data, int64_t, int64_t) {
        const Convolution2d& op = *static_cast<const Convolution2d*>(data);
        return times(op.across(), op.window());
    }

    static const float* run(const void* data, void*, Chunk& c) noexcept {
        const Convolution2d& op = *static_cast<const Convolution2d*>(data);
        const int64_t down = op.down(), across = op.across(), width = op.window();
        float* to = c.to;
        for (int64_t i = 0; i < c.steps * c.rows; ++i) {
            const float* picture = c.x + i * op.rows * op.columns * op.channels;
            for (int64_t y = 0; y < down; ++y, to += across * op.output) {
                op.gather(picture, y * op.hop - op.padding, c.room);
                op.kernels->product({c.room, width, 1, across, {op.weight.data(), width, op.output}, op.bias.data(), 0, to, op.output});
            }
        }
        return c.to;
    }

    // The windows of all places of a row of them, whose first taps are on the picture's row `top`.
    void gather(const float* picture, int64_t top, float* to) const noexcept {
        for (int64_t left = -padding; left + wide <= columns + padding; left += hop) {
            const int64_t first = std::min(wide, std::max<int64_t>(0, -left));
            const int64_t last = std::max(first, std::min(wide, columns - left));
            for (int64_t k = 0; k < tall; ++k, to += wide * channels) {
                const int64_t row = top + k;
                if (row < 0 || row >= rows || first == last) {
                    std::memset(to, 0, wide * channels * sizeof(float));
                    continue;
                }
                std::memset(to, 0, first * channels * sizeof(float));
                std::memcpy(to + first * channels, picture + (row * columns + left + first) * channels, (last - first) * channels * sizeof(float));
                std::memset(to + last * channels, 0, (wide - last) * channels * sizeof(float));
            }
        }
    }

    static Op make(const Ingredients& of) {   // W [output, tall, wide, channels], b [output] or none; rows, columns, hop, padding
        const Tensor& W = of.array(0, {-1, -1, -1, -1});
        const int64_t O = W.shape[0], tall = W.shape[1], wide = W.shape[2], C = W.shape[3];
        const int64_t rows = of.whole(0, 1, kMost), columns = of.whole(1, 1, kMost), hop = of.whole(2, 1, kMost), padding = of.whole(3, 0, kMost);
        expect(tall <= rows + 2 * padding && wide <= columns + 2 * padding, "a convolution's kernel is larger than the picture");
        auto data = std::make_shared<Convolution2d>(Convolution2d{of.isa.kernels<float>(), packed(of.isa, W.data, O, times(tall, wide, C)),
                                                                  copy_of(of.array_or_none(1, {O})), rows, columns, C, O, tall, wide, hop, padding});
        Op op{times(rows, columns, C), times(data->down(), data->across(), O), &run};
        op.room = &room;
        op.data = std::move(data);
        return op;
    }
};

}  // namespace

const OpTable convolution_2d_ops{{"convolution_2d", &Convolution2d::make}};

}  // namespace recurra
