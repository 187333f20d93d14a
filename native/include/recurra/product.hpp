// Products of many rows with one matrix: out[r][n] = init[r][n] + sum over k of a[r][k] * w[k][n].
//
// The sum runs in the order of k, one fused multiply-add after the other, whatever the number of rows, the tile or the
// ISA: a row's bits do not depend on the company it keeps.
#pragma once

#include <cstdint>

namespace recurra {

// A matrix [K, N] packed into panels of a few vectors of columns, each [K][width], zero-padded to whole vectors.
// The layout depends on the ISA's vector, so it is made and read by the same kernel set.
template <class T> struct Packed {
    T* data;       // packed_size(k, n) values, aligned to a cache line, owned by the caller
    int64_t k, n;
};

template <class T> struct Product {
    const T* a;             // a[r][k] at a + r * a_row + k * a_k; one of the two strides is 1
    int64_t a_row, a_k;
    int64_t rows;
    Packed<T> w;
    const T* init;          // init[r][n] at init + r * init_row + n; null: zero; may be `out` itself
    int64_t init_row;
    T* out;                 // out[r][n] at out + r * out_row + n; does not overlap a or w
    int64_t out_row;
    bool backwards = false; // last columns first: done in turn, half of a large w is still in the cache from last time
    int64_t w_row = 0;      // not 0: w is not packed, w[k][n] at w.data + k * w_row + n, readable for one vector more
};

// One ISA's kernels for one type. Nothing allocates or throws.
template <class T> struct Kernels {
    int64_t lanes;
    void (*product)(const Product<T>&) noexcept;
    // Copy w[k][n] = source[k * k_stride + n * n_stride] into panels, rows [first, first + count) of k; one of the two
    // strides is 1.
    void (*pack)(const Packed<T>&, const T* source, int64_t k_stride, int64_t n_stride, int64_t first,
                 int64_t count) noexcept;
    // sum[n] += rows of a[r][n], in the order of r.
    void (*add_rows)(const T* a, int64_t a_row, int64_t rows, int64_t n, T* sum) noexcept;
    // to[c][r] = a[r][c] for c < columns and r < to_row; zero where a has no such row.
    void (*turn)(const T* a, int64_t a_row, int64_t rows, int64_t columns, T* to, int64_t to_row) noexcept;
};

template <class T> inline int64_t packed_size(int64_t lanes, int64_t k, int64_t n) {
    return k * ((n + lanes - 1) / lanes * lanes);
}

}  // namespace recurra
