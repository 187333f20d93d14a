// What a decoder writes next, and what it is given again.
//
//     e = tanh(W f + b)
//     p = softmax(S e + c)                         [V]
//     g = sigmoid(w e + d)                         where it copies, what comes in is [f | a]
//     out = [g p | 0] + (1 - g) sum of a_m at the number of place m, and e behind it where it is fed

#include "ops.hpp"

namespace recurra {

namespace {

constexpr int kTanh = index_of("tanh"), kSigmoid = index_of("sigmoid");

struct Readout {
    const Isa* isa;
    int64_t F, E, V, M;   // features, of e, symbols, places to copy from
    bool feeds;
    Buffer<float> inner, b, outer, c;   // packed W; packed S, and w below it where it copies

    int64_t scores() const { return V + (M ? 1 : 0); }
    int64_t wide() const { return V + M + (feeds ? E : 0); }

    static int64_t room(const void* data, int64_t, int64_t positions) {
        const Readout& op = *static_cast<const Readout*>(data);
        return times(positions, op.E + op.scores());
    }

    static const float* run(const void* data, void*, Chunk& chunk) noexcept {
        const Readout& op = *static_cast<const Readout*>(data);
        const Kernels<float>& kernels = *op.isa->kernels<float>();
        const int64_t positions = chunk.steps * chunk.rows, I = op.F + op.M, O = op.scores();
        float *const e = chunk.room, *const scores = e + positions * op.E;
        kernels.product({chunk.x, I, 1, positions, {op.inner.data(), op.F, op.E}, op.b.data(), 0, e, op.E});
        op.isa->elementwise->maps[kTanh](e, positions * op.E, 0, e);
        kernels.product({e, op.E, 1, positions, {op.outer.data(), op.E, O}, op.c.data(), 0, scores, O});
        for (int64_t i = 0; i < positions; ++i) {
            float* const to = chunk.to + i * op.wide();
            op.isa->elementwise->softmax(scores + i * O, 1, op.V, to);
            if (op.M) op.copy(scores + i * O + op.V, chunk.x + i * I + op.F, chunk.now[0] + i % chunk.rows * op.M, to);
            if (op.feeds) std::memcpy(to + op.V + op.M, e + i * op.E, op.E * sizeof(float));
        }
        return chunk.to;
    }

    // Of one row: what is copied, beside what is not.
    void copy(float* gate, const float* shares, const float* places, float* to) const noexcept {
        isa->elementwise->maps[kSigmoid](gate, 1, 0, gate);
        for (int64_t v = 0; v < V; ++v) to[v] *= *gate;
        std::memset(to + V, 0, M * sizeof(float));
        for (int64_t m = 0; m < M; ++m) to[steps_of(places[m], V + M)] += (1 - *gate) * shares[m];
    }

    // W [E, F], b [E], S [V, E], c [V], of copying w [1, E] and d [1]; M, feeds.
    static Op make(const Ingredients& in) {
        const int64_t M = in.whole(0, 0, in.width - 1), F = in.width - M;
        const Tensor& W = in.array(0, {-1, F});
        const int64_t E = W.shape[0];
        const Tensor &b = in.array(1, {E}), &S = in.array(2, {-1, E});
        const int64_t V = S.shape[0];
        const Tensor &c = in.array(3, {V}), w = in.array_or_none(4, {1, E}), d = in.array_or_none(5, {1});
        expect((M > 0) == (w.data != nullptr) && (M > 0) == (d.data != nullptr), "a readout copies, or has what belongs to it, but not both");
        Readout made{&in.isa, F, E, V, M, in.whole(1, 0, 1) == 1, packed(in.isa, W.data, E, F), copy_of(b), {}, {}};
        const int64_t O = made.scores();
        Buffer<float> both(times(O, E));
        made.c = Buffer<float>(O);
        std::memcpy(both.data(), S.data, V * E * sizeof(float));
        std::memcpy(made.c.data(), c.data, V * sizeof(float));
        if (M) {
            std::memcpy(both.data() + V * E, w.data, E * sizeof(float));
            made.c.data()[V] = *d.data;
        }
        made.outer = packed(in.isa, both.data(), O, E);
        Op op{in.width, made.wide(), &run};
        if (M) op.states = {{M}};
        op.room = &room;
        op.data = std::make_shared<Readout>(std::move(made));
        return op;
    }
};

struct Join {
    int64_t I, offset, features;

    static const float* run(const void* data, void*, Chunk& c) noexcept {
        const Join& op = *static_cast<const Join*>(data);
        for (int64_t i = 0; i < c.steps * c.rows; ++i) {
            float* const to = c.to + i * (op.I + op.features);
            const int64_t s = i / c.rows, r = i % c.rows;
            std::memcpy(to, c.x + i * op.I, op.I * sizeof(float));
            std::memcpy(to + op.I, c.row + (s * c.every * c.rows + r) * c.row_width + op.offset, op.features * sizeof(float));
        }
        return c.to;
    }

    // Numbers: where the input stands in a row of all of them, and its features.
    static Op make(const Ingredients& in) {
        const int64_t offset = in.whole(0, 1, in.row - 1), features = in.whole(1, 1, in.row - offset);
        Op op{in.width, in.width + features, &run};
        op.data = std::make_shared<Join>(Join{in.width, offset, features});
        return op;
    }
};

}  // namespace

const OpTable readout_ops{{"join", &Join::make}, {"readout", &Readout::make}};

}  // namespace recurra
