// Ops on the features of each step: activations, a scale and a shift, layer normalization and softmax.

#include <iterator>

#include "ops.hpp"
#include "activations.hpp"

namespace recurra {

namespace {

struct Features {
    const Elementwise* kernels;
    int64_t width;
    Buffer<float> scale, shift;
    Elementwise::Map map;      // of an activation
    float number;              // its slope, or the epsilon of a normalization
};

const Features& of(const void* data) { return *static_cast<const Features*>(data); }

const float* activate(const void* data, void*, Chunk& c) noexcept {
    of(data).map(c.x, c.steps * c.rows * of(data).width, of(data).number, c.to);
    return c.to;
}

const float* affine(const void* data, void*, Chunk& c) noexcept {
    const Features& op = of(data);
    for (int64_t at = 0; at < c.steps * c.rows * op.width; at += op.width) {
        for (int64_t i = 0; i < op.width; ++i) c.to[at + i] = c.x[at + i] * op.scale[i] + op.shift[i];
    }
    return c.to;
}

const float* layer_norm(const void* data, void*, Chunk& c) noexcept {
    const Features& op = of(data);
    op.kernels->normalize(c.x, c.steps * c.rows, op.width, op.scale.data(), op.shift.data(), op.number, c.to);
    return c.to;
}

const float* softmax(const void* data, void*, Chunk& c) noexcept {
    of(data).kernels->softmax(c.x, c.steps * c.rows, of(data).width, c.to);
    return c.to;
}

Op over_features(const Ingredients& in, Op::Run run, Elementwise::Map map = nullptr, float number = 0) {
    Features data{in.isa.elementwise, in.width, {}, {}, map, number};
    if (run == &affine || run == &layer_norm) data.scale = copy_of(in.array(0, {in.width})), data.shift = copy_of(in.array(1, {in.width}));
    Op op{in.width, in.width, run};
    op.data = std::make_shared<Features>(std::move(data));
    return op;
}

}  // namespace

const OpTable elementwise_ops{
    // numbers: the place of its name in activation_names, and the slope of leaky_relu
    {"activation", [](const Ingredients& in) {
        const int64_t name = in.whole(0, 0, std::size(activation_names) - 1);
        return over_features(in, &activate, in.isa.elementwise->maps[name], static_cast<float>(in.numbers.at(1)));
    }},
    {"affine", [](const Ingredients& in) { return over_features(in, &affine); }},   // scale, shift
    {"layer_norm", [](const Ingredients& in) { return over_features(in, &layer_norm, nullptr, static_cast<float>(in.numbers.at(0))); }},
    {"softmax", [](const Ingredients& in) { return over_features(in, &softmax); }},
};

}  // namespace recurra
