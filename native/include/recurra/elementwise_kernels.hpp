// The elementwise kernels of one ISA; included once by its translation unit.
#pragma once

#include "recurra/elementwise.hpp"
#include "recurra/simd.hpp"
#include "activations.hpp"

namespace recurra {
inline namespace RECURRA_ISA {

using V = Vec<float>;

// Calls at(i, n) for each vector of a row, the last one with the n lanes that exist.
template <class At> static RECURRA_INLINE void each_vector(int64_t count, At at) {
    int64_t i = 0;
    for (; i + V::lanes <= count; i += V::lanes) at(i, V::lanes);
    if (i < count) at(i, static_cast<int>(count - i));
}

static RECURRA_INLINE V load(const float* p, int n) { return n == V::lanes ? V::load(p) : V::load_part(p, n); }
static RECURRA_INLINE void store(float* p, int n, V v) { n == V::lanes ? v.store(p) : v.store_part(p, n); }

template <class F> static void map(const float* x, int64_t count, float number, float* y) noexcept {
    const V broadcast = V::set(number);
    each_vector(count, [&](int64_t i, int n) { store(y + i, n, F::at(load(x + i, n), broadcast)); });
}

// The sum of term(v, sum) over a row: kPartialSums of them side by side, then one after the other. A term of lanes
// beyond the row's end is dropped.
template <class Term> static RECURRA_INLINE float sum_row(const float* x, int64_t count, Term term) {
    constexpr int kVectors = kPartialSums / V::lanes;
    V sums[kVectors];
    for (V& sum : sums) sum = V::set(0);
    alignas(64) float parts[kPartialSums];
    each_vector(count, [&](int64_t i, int n) {
        V& sum = sums[i / V::lanes % kVectors];
        const V next = term(load(x + i, n), sum);
        if (n == V::lanes) {
            sum = next;
        } else {   // through memory: only the lanes that exist change
            sum.store(parts);
            next.store_part(parts, n);
            sum = V::load(parts);
        }
    });
    for (int v = 0; v < kVectors; ++v) sums[v].store(parts + v * V::lanes);
    float total = parts[0];
    for (int i = 1; i < kPartialSums; ++i) total += parts[i];
    return total;
}

static void normalize(const float* x, int64_t rows, int64_t n, const float* scale, const float* shift, float epsilon,
                       float* y) noexcept {
    for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
        const V mean = V::set(sum_row(x, n, [](V v, V sum) { return sum + v; }) / static_cast<float>(n));
        const float squares = sum_row(x, n, [&](V v, V sum) { return fma(v - mean, v - mean, sum); });
        const V deviation = sqrt(V::set(squares / static_cast<float>(n) + epsilon));
        each_vector(n, [&](int64_t i, int lanes) {
            const V normal = (load(x + i, lanes) - mean) / deviation;
            store(y + i, lanes, fma(normal, load(scale + i, lanes), load(shift + i, lanes)));
        });
    }
}

static void exp(const float* x, int64_t count, float* y) noexcept {
    each_vector(count, [&](int64_t i, int n) { store(y + i, n, vmath::exp(load(x + i, n))); });
}

// The largest number of a row. A NaN is passed over, but for the first.
static RECURRA_INLINE float largest(const float* x, int64_t n) {
    constexpr int kVectors = 4, L = V::lanes;   // side by side, or each would wait for the one before
    V most[kVectors];
    for (V& one : most) one = V::set(x[0]);
    int64_t i = 0;
    for (; i + kVectors * L <= n; i += kVectors * L) {
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
            const V next = V::load(x + i + v * L);
            most[v] = select(gt(next, most[v]), next, most[v]);
        }
    }
    alignas(64) float parts[kVectors * L];
    for (int v = 0; v < kVectors; ++v) most[v].store(parts + v * L);
    float found = x[0];
    for (const float one : parts) found = one > found ? one : found;
    for (; i < n; ++i) found = x[i] > found ? x[i] : found;
    return found;
}

static void softmax(const float* x, int64_t rows, int64_t n, float* y) noexcept {
    for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
        const V most = V::set(largest(x, n));   // a NaN shows in the sum
        each_vector(n, [&](int64_t i, int lanes) { store(y + i, lanes, vmath::exp(load(x + i, lanes) - most)); });
        const V sum = V::set(sum_row(y, n, [](V v, V total) { return total + v; }));
        each_vector(n, [&](int64_t i, int lanes) { store(y + i, lanes, load(y + i, lanes) / sum); });
    }
}

static constexpr Elementwise::Map maps[] = RECURRA_ACTIVATION_TABLE(map);
static constexpr Elementwise elementwise{maps, normalize, exp, softmax};

}  // namespace RECURRA_ISA
}  // namespace recurra
