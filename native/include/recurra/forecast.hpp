// The head of a forecaster: from a state h, and numbers known for each of N horizons ahead, to Q quantiles of each.
//
//     u_n = tanh(A h + e_n + B x_n)               x_n = [what is known of t + n | the same time in earlier seasons, s_n]
//     trust_n = softmax(W u_n + w_n)              how much of each season to take
//     v_n = C u_n + c_n
//     middle quantile: trust_n . s_n + D_n . h + v_n[middle]
//     the others: outward from there by k softplus(v_n) each, so that quantiles never cross where k >= 0
#pragma once

#include "recurra/isa.hpp"
#include "recurra/memory.hpp"

namespace recurra {

struct ForecastSizes {
    int64_t horizons, hidden, units, known, seasons, quantiles;   // N, P, U, F, S, Q
    int64_t middle;                                               // which quantile the others are measured from

    int64_t beside() const { return horizons * (known + seasons); }
    int64_t output() const { return horizons * quantiles; }
};

// Dense arrays: A [U, P], B [U, F + S], e [N, U], W [S, U], w [N, S], C [Q, U], c [N, Q], D [N, P], k [N, Q].
struct ForecastWeights {
    const float *A, *B, *e, *W, *w, *C, *c, *D, *k;
};

class ForecastHead {
public:
    ForecastHead(const Isa& isa, const ForecastSizes& sizes, const ForecastWeights& weights);   // copies the weights
    const ForecastSizes& sizes() const { return sizes_; }
    int64_t scratch() const;   // floats that `run` needs

    // h [rows, P] is dense; x_n of row r is at beside + r * beside_row, n after n; out [rows, N * Q] overlaps neither.
    void run(const float* h, const float* beside, int64_t beside_row, int64_t rows, float* scratch, float* out) const noexcept;

private:
    const Isa* isa_;
    ForecastSizes sizes_;
    Buffer<float> state_, ahead_, trust_, spread_;   // packed: A over D, B, W, C
    Buffer<float> e_, w_, c_, k_;
};

}  // namespace recurra
