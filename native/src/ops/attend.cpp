// Attention over a memory that each row has in its states: at each step, what the query finds there, behind what comes in.
//
//     q = W x + b                                  [K], in heads of K / heads
//     score_m = q . key_m                          of each head, or v . tanh(q + key_m)
//     a = softmax(score over the memory's rows)
//     out = [x | sum of a_m value_m], and the mean of the heads' a behind it where they are shown
//
// Where it covers, key_m is key_m + u covered_m, with the sum of the a_m before this step. Where it waits, step t sees the
// first wait + t rows.
//
// Keys lie with one number of all rows after the other, [K, M], so that the scores are one product, as the sum is.

#include <algorithm>

#include "ops.hpp"

namespace recurra {

namespace {

constexpr int kTanh = index_of("tanh");

struct Attend {
    const Isa* isa;
    int64_t I, K, V, heads, M, wait;
    bool shows;
    Buffer<float> query, b, v, u;   // packed; v has no numbers where the score is a product, u none where nothing is covered

    static const Attend& of(const void* data) { return *static_cast<const Attend*>(data); }

    static int64_t room(const void* data, int64_t, int64_t positions) {
        const Attend& op = of(data);
        return times(positions, op.K) + (op.bends() ? times(op.K, op.M) + kLanes : 0);
    }

    bool bends() const { return v.size() || u.size(); }   // whether scores are not of the keys as they are

    // States: keys [K, M], values [M, V], the weights of the last step [heads, M], how many rows there are, and where the op
    // has them the sum of all weights [heads, M], and how many steps there were.
    static const float* run(const void* data, void*, Chunk& c) noexcept {
        const Attend& op = of(data);
        const int64_t positions = c.steps * c.rows, shares = op.heads * op.M, wide = op.I + op.V + (op.shows ? op.M : 0);
        float *queries = c.room, *bent = queries + positions * op.K;
        op.isa->kernels<float>()->product({c.x, op.I, 1, positions, {op.query.data(), op.I, op.K}, op.b.data(), 0, queries, op.K});
        for (int64_t i = 0; i < positions; ++i) {
            const int64_t r = i % c.rows;
            float *const to = c.to + i * wide, *const weights = c.now[2] + r * shares;
            float* const covered = op.u.size() ? c.now[4] + r * shares : nullptr;
            int64_t count = steps_of(c.now[3][r], op.M + 1);
            if (op.wait) {
                float& steps = c.now[op.u.size() ? 5 : 4][r];
                const int64_t t = steps_of(steps, op.M + 1);   // by then it sees all
                count = std::min(count, op.wait + t);
                steps = static_cast<float>(t < op.M ? t + 1 : op.M);
            }
            std::memcpy(to, c.x + i * op.I, op.I * sizeof(float));
            op.find(queries + i * op.K, c.now[0] + r * op.K * op.M, c.now[1] + r * op.M * op.V, covered, count, bent, weights, to + op.I);
            for (int64_t k = 0; covered && k < shares; ++k) covered[k] += weights[k];
            if (op.shows) op.show(weights, to + op.I + op.V);
        }
        return c.to;
    }

    void show(const float* weights, float* to) const noexcept {
        std::memcpy(to, weights, M * sizeof(float));
        for (int64_t k = M; k < heads * M; ++k) to[k % M] += weights[k];
        for (int64_t m = 0; heads > 1 && m < M; ++m) to[m] /= static_cast<float>(heads);
    }

    // Of one query, in a memory of `count` rows.
    void find(float* q, float* keys, float* values, const float* covered, int64_t count, float* bent, float* weights, float* to) const noexcept {
        const Kernels<float>& kernels = *isa->kernels<float>();
        const Elementwise& elementwise = *isa->elementwise;
        std::memset(weights, 0, heads * M * sizeof(float));
        std::memset(to, 0, V * sizeof(float));
        if (count == 0) return;
        const int64_t own_k = K / heads, own_v = V / heads;
        const float* ask = q;
        if (bends()) {
            for (int64_t k = 0; k < K; ++k) {
                const float* const seen = covered ? covered + k / own_k * M : nullptr;
                float* const to_k = bent + k * M;
                for (int64_t m = 0; m < count; ++m) to_k[m] = keys[k * M + m];
                for (int64_t m = 0; seen && m < count; ++m) to_k[m] += u.data()[k] * seen[m];
                if (!v.size()) continue;
                for (int64_t m = 0; m < count; ++m) to_k[m] = q[k] + to_k[m];
                elementwise.maps[kTanh](to_k, count, 0, to_k);
            }
            keys = bent;
            if (v.size()) ask = v.data();
        }
        for (int64_t j = 0; j < heads; ++j) {
            float* const a = weights + j * M;
            kernels.product({ask + j * own_k, K, 1, 1, {keys + j * own_k * M, own_k, count}, nullptr, 0, a, M, M});
            elementwise.softmax(a, 1, count, a);
            kernels.product({a, M, 1, 1, {values + j * own_v, count, own_v}, nullptr, 0, to + j * own_v, V, V});
        }
    }

    // W [K, I], b [K], v [K] or none, u [K] or none; V, heads, M, which is a multiple of the widest vector, shows, wait.
    static Op make(const Ingredients& in) {
        const Tensor& W = in.array(0, {-1, in.width});
        const int64_t K = W.shape[0];
        const Tensor &b = in.array(1, {K}), v = in.array_or_none(2, {K}), u = in.array_or_none(3, {K});
        const int64_t V = in.whole(0, 1, kMost), heads = in.whole(1, 1, K), M = in.whole(2, kLanes, kMost);
        const bool shows = in.whole(3, 0, 1);
        const int64_t wait = in.whole(4, 0, kMost);
        expect(K % heads == 0 && V % heads == 0 && M % kLanes == 0, "the sizes of an attention do not fit one another");
        Op op{in.width, in.width + V + (shows ? M : 0), &run};
        op.states = {{times(K, M)}, {times(M, V)}, {times(heads, M)}, {1}};   // what is behind the values may be read as well
        if (u.data) op.states.push_back({times(heads, M)});
        if (wait) op.states.push_back({1});
        op.room = &room;
        op.data = std::make_shared<Attend>(
            Attend{&in.isa, in.width, K, V, heads, M, wait, shows, packed(in.isa, W.data, K, in.width), copy_of(b), copy_of(v), copy_of(u)});
        return op;
    }

    static constexpr int64_t kLanes = 16, kMost = 1 << 24;
};

}  // namespace

const OpTable attend_ops{{"attend", &Attend::make}};

}  // namespace recurra
