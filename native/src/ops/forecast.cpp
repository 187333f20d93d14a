// The head of a forecaster: from a state h, and numbers known for each of N horizons ahead, to Q quantiles of each.
//
//     u_n = tanh(A h + e_n + B x_n)               x_n = [what is known of t + n | the same time in earlier seasons, s_n]
//     trust_n = softmax(W u_n + w_n)              how much of each season to take
//     v_n = C u_n + c_n
//     middle quantile: trust_n . s_n + D_n . h + v_n[middle]
//     the others: outward from there by k softplus(v_n) each, so that quantiles never cross where k >= 0

#include "ops.hpp"

namespace recurra {

namespace {

constexpr int kTanh = index_of("tanh"), kSoftplus = index_of("softplus");

struct Forecast {
    const Isa* isa;
    int64_t N, P, U, F, S, Q, middle, offset;       // which quantile is the middle, and where x_0 stands in a row of inputs
    Buffer<float> of_state, of_ahead, of_trust, of_spread;   // packed: A over D, B, W, C
    Buffer<float> e, w, c, k;

    static int64_t room(const void* data, int64_t, int64_t) {
        const Forecast& op = *static_cast<const Forecast*>(data);
        return op.U + op.N + op.N * op.U + op.N * op.S + 2 * op.N * op.Q;
    }

    static const float* run(const void* data, void*, Chunk& chunk) noexcept {
        const Forecast& op = *static_cast<const Forecast*>(data);
        for (int64_t s = 0; s < chunk.steps; ++s) {
            for (int64_t r = 0; r < chunk.rows; ++r) {
                const int64_t i = s * chunk.rows + r;
                const float* x = chunk.row + (s * chunk.every * chunk.rows + r) * chunk.row_width + op.offset;
                op.quantiles(chunk.x + i * op.P, x, chunk.room, chunk.to + i * op.N * op.Q);
            }
        }
        return chunk.to;
    }

    // Of one row; x_n follow one another.
    void quantiles(const float* h, const float* x, float* room, float* out) const noexcept {
        const Kernels<float>& kernels = *isa->kernels<float>();
        const Elementwise& elementwise = *isa->elementwise;
        float* const direct = room + U;   // after A h
        float* const units = direct + N;
        float* const trust = units + N * U;
        float* const value = trust + N * S;
        float* const spread = value + N * Q;
        kernels.product({h, P, 1, 1, {of_state.data(), P, U + N}, nullptr, 0, room, U + N});
        for (int64_t n = 0; n < N; ++n) {
            for (int64_t u = 0; u < U; ++u) units[n * U + u] = e[n * U + u] + room[u];
        }
        kernels.product({x, F + S, 1, N, {of_ahead.data(), F + S, U}, units, U, units, U});
        elementwise.maps[kTanh](units, N * U, 0, units);
        kernels.product({units, U, 1, N, {of_trust.data(), U, S}, w.data(), S, trust, S});
        elementwise.softmax(trust, N, S, trust);
        kernels.product({units, U, 1, N, {of_spread.data(), U, Q}, c.data(), Q, value, Q});
        elementwise.maps[kSoftplus](value, N * Q, 0, spread);
        for (int64_t n = 0; n < N; ++n) {
            const float* season = x + n * (F + S) + F;
            float at = direct[n] + value[n * Q + middle];
            for (int64_t s = 0; s < S; ++s) at += trust[n * S + s] * season[s];
            float* to = out + n * Q;
            to[middle] = at;
            for (int64_t q = middle + 1; q < Q; ++q) to[q] = to[q - 1] + k[n * Q + q] * spread[n * Q + q];
            for (int64_t q = middle - 1; q >= 0; --q) to[q] = to[q + 1] - k[n * Q + q] * spread[n * Q + q];
        }
    }

    // A [U, P], B [U, F + S], e [N, U], W [S, U], w [N, S], C [Q, U], c [N, Q], D [N, P], k [N, Q]; middle, offset.
    static Op make(const Ingredients& in) {
        const Isa& isa = in.isa;
        const Tensor &A = in.array(0, {-1, -1}), &e = in.array(2, {-1, -1}), &W = in.array(3, {-1, -1}), &C = in.array(5, {-1, -1});
        const int64_t N = e.shape[0], P = A.shape[1], U = A.shape[0], S = W.shape[0], Q = C.shape[0];
        const Tensor &B = in.array(1, {U, -1}), &w = in.array(4, {N, S}), &c = in.array(6, {N, Q}), &D = in.array(7, {N, P}),
                     &k = in.array(8, {N, Q});
        const int64_t F = B.shape[1] - S;
        expect(e.shape[1] == U && W.shape[1] == U && C.shape[1] == U && F >= 0, "the arrays of a forecast do not fit one another");
        const int64_t middle = in.whole(0, 0, Q - 1), offset = in.whole(1, 0, in.row - times(N, F + S));
        Buffer<float> both((U + N) * P);
        std::memcpy(both.data(), A.data, U * P * sizeof(float));
        std::memcpy(both.data() + U * P, D.data, N * P * sizeof(float));
        Op op{P, N * Q, &run};
        op.room = &room;
        op.data = std::make_shared<Forecast>(
            Forecast{&isa, N, P, U, F, S, Q, middle, offset,
                     packed(isa, both.data(), U + N, P), packed(isa, B.data, U, F + S), packed(isa, W.data, S, U),
                     packed(isa, C.data, Q, U), copy_of(e), copy_of(w), copy_of(c), copy_of(k)});
        return op;
    }
};

}  // namespace

const OpTable forecast_ops{{"forecast", &Forecast::make}};

}  // namespace recurra
