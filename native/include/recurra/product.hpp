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
    T* data;             // packed_size(depth, n) values, aligned to a cache line, owned by the caller
    int64_t k, n;
    int64_t depth = k;   // of these rows the matrix is k,
    int64_t first = 0;   // from this one on
};

template <class T> inline Packed<T> rows_of(const Packed<T>& w, int64_t first, int64_t count) {
    return {w.data, count, w.n, w.depth, w.first + first};
}

template <class T> struct Product {
    const T* a;             // a[r][k] at a + r * a_row + k * a_k; one of the two strides is 1
    int64_t a_row, a_k;
    int64_t rows;
    Packed<T> w;
    const T* init;          // init[r][n] at init + r * init_row + n; null: zero; may be `out` itself
    int64_t init_row;
    T* out;                 // out[r][n] at out + r * out_row + n; does not overlap a or w
    int64_t out_row;
    int64_t w_row = 0;      // not 0: w is not packed, w[k][n] at w.data + k * w_row + n, readable for one vector more
    const T* before = nullptr;            // of the k so many come from here, before those of a; then both have a stride
    int64_t before_row = 0, before_k = 0; // of 1 from one k to the next
};

// What does not change when a tile of a product is done again with other rows: strides, and a part of w. A strip is all
// tiles of a panel, with the rows of w taken some at a time.
template <class T> struct Tiling {
    int64_t before_row, before_k, a_row, a_k, k;
    const T* w;             // the first panel
    int64_t w_row, panel;   // from one k to the next, and from one panel to the next; of a strip 0: there is no next
    int64_t init_row, out_row;
    int last;               // lanes of the last vector that exist
    bool packed;
    int64_t rows;           // of a strip
    const T* ahead;         // what will be needed soon: a line of it, and so far from there the next, for each k
    int64_t ahead_row;
};

template <class T> using TileFunction = void (*)(const Tiling<T>&, const T* before, const T* a, const T* init, T* out) noexcept;

// One tile of a product that was cut: its memory begins so far from that of the whole.
template <class T> struct alignas(64) TileCall {
    TileFunction<T> function;
    Tiling<T> tiling;
    int64_t before, a, init, out;
    int64_t operand;        // of several a's, which; for the caller
};

// So few rows would leave the units idle in a chain of additions, unless many columns are summed at once.
constexpr int64_t kFewRows = 2;

// One ISA's kernels for one type. Nothing allocates or throws.
template <class T> struct Kernels {
    int64_t lanes;
    void (*product)(const Product<T>&) noexcept;
    // The tiles of a product, for products to come of the same shape; `calls` may be null. Returns how many they are.
    int64_t (*cut)(const Product<T>&, TileCall<T>* calls) noexcept;
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
