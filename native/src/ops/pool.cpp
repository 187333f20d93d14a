// Pools over time: at each step, one row of features for all steps so far.

#include <limits>

#include "ops.hpp"

namespace recurra {

namespace {

constexpr float kLowest = std::numeric_limits<float>::lowest();

struct Pool {
    const Isa* isa;
    int64_t width;
    Buffer<float> score;    // of attention: v, packed
    Buffer<float> lowest;   // what a largest number begins with
};

const Pool& of(const void* data) { return *static_cast<const Pool*>(data); }

// Calls each(x, to, r) for the features of each step and row, in the order of time.
template <class Each> void each_step(const Chunk& c, int64_t width, Each each) {
    for (int64_t i = 0; i < c.steps * c.rows; ++i) each(c.x + i * width, c.to + i * width, i % c.rows);
}

// The second half of the features is read from the end: its last output is at the beginning.
const float* last_of_both(const void* data, void*, Chunk& c) noexcept {
    const int64_t width = of(data).width, half = width / 2;
    each_step(c, width, [&](const float* x, float* to, int64_t r) {
        std::memcpy(to, x, half * sizeof(float));
        std::memcpy(to + half, c.x + r * width + half, half * sizeof(float));
    });
    return c.to;
}

void mean_step(const float* x, float* at, float& count, int64_t width, float* to) {
    count += 1;
    for (int64_t i = 0; i < width; ++i) to[i] = at[i] = at[i] + (x[i] - at[i]) / count;
}

void largest_step(const float* x, float* at, int64_t width, float* to) {
    for (int64_t i = 0; i < width; ++i) to[i] = at[i] = x[i] > at[i] || x[i] != x[i] ? x[i] : at[i];
}

// States: the mean, and how many steps it is of.
const float* mean(const void* data, void*, Chunk& c) noexcept {
    const int64_t width = of(data).width;
    each_step(c, width, [&](const float* x, float* to, int64_t r) { mean_step(x, c.now[0] + r * width, c.now[1][r], width, to); });
    return c.to;
}

// States: the largest numbers. A NaN stays.
const float* largest(const void* data, void*, Chunk& c) noexcept {
    const int64_t width = of(data).width;
    each_step(c, width, [&](const float* x, float* to, int64_t r) { largest_step(x, c.now[0] + r * width, width, to); });
    return c.to;
}

// The last output, the mean and the largest numbers side by side. States: those of the two.
template <bool both> const float* all(const void* data, void*, Chunk& c) noexcept {
    const int64_t width = of(data).width, own = both ? width / 2 : width;
    for (int64_t i = 0; i < c.steps * c.rows; ++i) {
        const int64_t r = i % c.rows;
        const float *x = c.x + i * width, *begin = c.x + r * width;
        float *last = c.to + 3 * i * width, *average = last + width, *most = average + width;
        std::memcpy(last, x, own * sizeof(float));
        std::memcpy(last + own, begin + own, (width - own) * sizeof(float));
        mean_step(x, c.now[0] + r * width, c.now[1][r], width, average);
        largest_step(x, c.now[2] + r * width, width, most);
    }
    return c.to;
}

// A softmax over the steps so far of the scores v . x, one step after another. States: the largest score m, the sum of
// exp(score - m) x, and that of exp(score - m).
const float* attention(const void* data, void*, Chunk& c) noexcept {
    const Pool& op = of(data);
    const int64_t width = op.width, positions = c.steps * c.rows;
    float *scores = c.room, *old = scores + positions, *now = old + positions;   // exponents of the sums before, and of x
    op.isa->kernels<float>()->product({c.x, width, 1, positions, {op.score.data(), width, 1}, nullptr, 0, scores, 1});
    for (int64_t i = 0; i < positions; ++i) {
        float& most = c.now[0][i % c.rows];
        const float before = most;
        if (scores[i] > most) most = scores[i];
        old[i] = before - most;
        now[i] = scores[i] - most;
    }
    op.isa->elementwise->exp(old, 2 * positions, old);
    each_step(c, width, [&](const float* x, float* to, int64_t r) {
        float *sum = c.now[1] + r * width, &total = c.now[2][r];
        total = total * *old + *now;
        for (int64_t i = 0; i < width; ++i) to[i] = (sum[i] = sum[i] * *old + *now * x[i]) / total;
        ++old, ++now;
    });
    return c.to;
}

int64_t scores(const void*, int64_t, int64_t positions) { return times(3, positions); }

Op over_time(const Ingredients& in, Op::Run run) {
    auto data = std::make_shared<Pool>(Pool{&in.isa, in.width, {}, Buffer<float>(in.width)});
    for (int64_t i = 0; i < in.width; ++i) data->lowest[i] = kLowest;
    const float* lowest = data->lowest.data();
    const bool three = run == &all<false> || run == &all<true>;
    Op op{in.width, three ? 3 * in.width : in.width, run};
    if (three) op.states = {{in.width}, {1}, {in.width, lowest}};
    if (run == &last_of_both || run == &all<true>) op.streams = false;
    if (run == &mean) op.states = {{in.width}, {1}};
    if (run == &largest) op.states = {{in.width, lowest}};
    if (run == &attention) {
        data->score = packed(in.isa, in.array(0, {in.width}).data, 1, in.width);
        op.states = {{1, lowest}, {in.width}, {1}};
        op.room = &scores;
    }
    op.data = std::move(data);
    return op;
}

}  // namespace

const OpTable pool_ops{
    {"pool_last", [](const Ingredients& in) { return over_time(in, &last_of_both); }},   // of one direction it is x itself
    {"pool_mean", [](const Ingredients& in) { return over_time(in, &mean); }},
    {"pool_max", [](const Ingredients& in) { return over_time(in, &largest); }},
    {"pool_all", [](const Ingredients& in) { return over_time(in, &all<false>); }},
    {"pool_all_of_both", [](const Ingredients& in) { return over_time(in, &all<true>); }},
    {"pool_attention", [](const Ingredients& in) { return over_time(in, &attention); }},   // v [width]
};

}  // namespace recurra
