// Ops that multiply: rows of a table, a matrix, and a causal convolution over time.

#include <algorithm>

#include "ops.hpp"

namespace recurra {

namespace {

constexpr int64_t kMostSteps = int64_t(1) << 24;   // counts that states hold as floats are exact up to here

// A whole number is a row of the table: one of int64 for each row of a step, or K of a row's floats, each with a table of
// its own or with all of W.
struct Embedding {
    Buffer<float> table;
    int64_t width;
    std::vector<int64_t> begins;   // the first row of each float's table

    static const float* run(const void* data, void*, Chunk& c) noexcept {
        const Embedding& op = *static_cast<const Embedding*>(data);
        const int64_t* ids = reinterpret_cast<const int64_t*>(c.x);
        for (int64_t i = 0; i < c.steps * c.rows; ++i) {
            std::memcpy(c.to + i * op.width, op.table.data() + ids[i] * op.width, op.width * sizeof(float));
        }
        return c.to;
    }

    static const float* run_floats(const void* data, void*, Chunk& c) noexcept {
        const Embedding& op = *static_cast<const Embedding*>(data);
        const float* x = c.x;
        float* to = c.to;
        for (int64_t i = 0; i < c.steps * c.rows; ++i) {
            for (const int64_t begin : op.begins) {
                std::memcpy(to, op.table.data() + (begin + static_cast<int64_t>(*x++)) * op.width, op.width * sizeof(float));
                to += op.width;
            }
        }
        return c.to;
    }

    static Op make(const Ingredients& of) {   // W [vocabulary, width]; the rows of each float's table, or nothing
        const Tensor& W = of.array(0, {-1, -1});
        const int64_t rows = W.shape[0], K = static_cast<int64_t>(of.numbers.size());
        if (!K) {
            Op op{1, W.shape[1], &run};
            op.vocabulary = rows;
            op.data = std::make_shared<Embedding>(Embedding{copy_of(W), op.output, {}});
            return op;
        }
        expect(rows <= kMostSteps, "a table has more rows than floats can count");
        Op op{K, times(K, W.shape[1]), &run_floats};
        std::vector<int64_t> begins;
        int64_t begin = 0;
        for (int64_t k = 0; k < K; ++k) {
            op.tables.push_back(of.whole(k, 1, rows));
            begins.push_back(begin);
            begin += op.tables.back();
        }
        if (begin != rows) {
            for (int64_t k = 0; k < K; ++k) expect(op.tables[k] == rows, "the tables of an embedding are not those of its rows");
            begins.assign(K, 0);
        }
        op.data = std::make_shared<Embedding>(Embedding{copy_of(W), W.shape[1], std::move(begins)});
        return op;
    }
};

struct Linear {
    const Kernels<float>* kernels;
    Buffer<float> weight, bias;
    int64_t input, output;

    static const float* run(const void* data, void*, Chunk& c) noexcept {
        const Linear& op = *static_cast<const Linear*>(data);
        op.kernels->product({c.x, op.input, 1, c.steps * c.rows, {op.weight.data(), op.input, op.output}, op.bias.data(), 0, c.to, op.output});
        return c.to;
    }

    static Op make(const Ingredients& of) {   // W [output, input], b [output] or none
        const Tensor& W = of.array(0, {-1, -1});
        const int64_t O = W.shape[0], I = W.shape[1];
        Op op{I, O, &run};
        op.data = std::make_shared<Linear>(
            Linear{of.isa.kernels<float>(), packed(of.isa, W.data, O, I), copy_of(of.array_or_none(1, {O})), I, O});
        return op;
    }
};

// Each answer multiplies the last inputs, dilation apart, which are gathered side by side. States: the inputs before this
// step in a ring, the place of its oldest, and the steps until the next answer; each only where there is something to know.
struct Convolution {
    const Kernels<float>* kernels;
    Buffer<float> weight, bias;
    int64_t input, output, taps, dilation, stride;

    int64_t past() const { return (taps - 1) * dilation; }

    static int64_t room(const void* data, int64_t, int64_t positions) {
        const Convolution& op = *static_cast<const Convolution*>(data);
        return times(positions, op.taps, op.input);
    }

    static const float* run(const void* data, void*, Chunk& c) noexcept {
        const Convolution& op = *static_cast<const Convolution*>(data);
        const int64_t I = op.input, L = op.past(), rows = c.rows, steps = c.steps, width = op.taps * I;
        float* const wait = op.stride > 1 ? c.now[L ? 2 : 0] : nullptr;
        const int64_t first = wait ? steps_of(wait[0], op.stride) : 0;
        const int64_t answers = answers_of(steps, first, op.stride);
        float* window = c.room;
        for (int64_t j = 0; j < answers; ++j) {
            const int64_t t = first + j * op.stride;
            for (int64_t r = 0; r < rows; ++r) {
                for (int64_t k = 0; k < op.taps; ++k, window += I) {
                    const int64_t from = t - (op.taps - 1 - k) * op.dilation;
                    const float* x = from < 0 ? c.now[0] + (r * L + (steps_of(c.now[1][r], L) + L + from) % L) * I : c.x + (from * rows + r) * I;
                    std::memcpy(window, x, I * sizeof(float));
                }
            }
        }
        op.kernels->product({c.room, width, 1, answers * rows, {op.weight.data(), width, op.output}, op.bias.data(), 0, c.to, op.output});
        for (int64_t r = 0; L && r < rows; ++r) {
            const int64_t oldest = steps_of(c.now[1][r], L);
            for (int64_t t = std::max<int64_t>(0, steps - L); t < steps; ++t) {
                std::memcpy(c.now[0] + (r * L + (oldest + t) % L) * I, c.x + (t * rows + r) * I, I * sizeof(float));
            }
            c.now[1][r] = static_cast<float>((oldest + steps) % L);
        }
        for (int64_t r = 0; wait && r < rows; ++r) wait[r] = static_cast<float>(first + answers * op.stride - steps);
        c.row += first * c.every * rows * c.row_width;
        c.every *= op.stride;
        c.steps = answers;
        return c.to;
    }

    static Op make(const Ingredients& of) {   // W [output, taps, input], b [output] or none; dilation, stride
        const Tensor& W = of.array(0, {-1, -1, -1});
        const int64_t O = W.shape[0], K = W.shape[1], I = W.shape[2];
        const int64_t dilation = of.whole(0, 1, kMostSteps), stride = of.whole(1, 1, kMostSteps);
        Op op{I, O, &run};
        auto data = std::make_shared<Convolution>(
            Convolution{of.isa.kernels<float>(), packed(of.isa, W.data, O, K * I), copy_of(of.array_or_none(1, {O})), I, O, K, dilation, stride});
        if (data->past()) op.states = {{times(data->past(), I)}, {1}};
        if (stride > 1) op.states.push_back({1});
        op.stride = stride;
        op.room = &room;
        op.data = std::move(data);
        return op;
    }
};

}  // namespace

const OpTable dense_ops{{"embedding", &Embedding::make}, {"linear", &Linear::make}, {"convolution", &Convolution::make}};

}  // namespace recurra
