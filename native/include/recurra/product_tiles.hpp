// The tiles that a product is made of, and strips of them, for one ISA; included once by its translation unit.
#pragma once

#include <utility>

#include "recurra/product.hpp"
#include "recurra/simd.hpp"

namespace recurra {
inline namespace RECURRA_ISA {

// How many vectors of columns and rows a tile of accumulators has, so that they fill the register file.
constexpr int kMaxVectors = RECURRA_BYTES == 64 ? 4 : 2;
constexpr int max_rows(int vectors) {
    if (RECURRA_BYTES == 64) return vectors == 4 ? 6 : vectors == 3 ? 8 : 12;
    return vectors == 2 ? 6 : 8;
}
// With few rows a tile takes several panels at once, so many at most.
constexpr int kManyPanels = RECURRA_BYTES == 64 ? 2 : 4;

// The last vector of a tile where half of one is enough: R sums. Without halves it has nothing.
template <class T, int R, bool kHalf> struct Tail {
    RECURRA_INLINE void begin(int, const T*, int) {}
    RECURRA_INLINE void column(const T*) {}
    RECURRA_INLINE void add(int, Vec<T>) {}
    RECURRA_INLINE void end(int, T*, int) const {}
};
#if RECURRA_BYTES == 64
template <class T, int R> struct Tail<T, R, true> {
    Half<T> sum[R], w;
    RECURRA_INLINE void begin(int r, const T* from, int n) {
        sum[r] = from ? Half<T>::load_part(from, n) : Half<T>::of(Vec<T>::set(0));
    }
    RECURRA_INLINE void column(const T* from) { w = Half<T>::load(from); }
    RECURRA_INLINE void add(int r, Vec<T> value) { sum[r] = fma(Half<T>::of(value), w, sum[r]); }
    RECURRA_INLINE void end(int r, T* to, int n) const { sum[r].store_part(to, n); }
};
#endif
constexpr bool kHalves = RECURRA_BYTES == 64;

// One tile: R rows, P panels of V vectors, all accumulators in registers.
template <class T, int R, int V, int P, bool kRowsApart, bool kHalf>
static void tile(const Tiling<T>& tiling, const T* before, const T* a, const T* init, T* out) noexcept {
    const Tiling<T> t = tiling;   // a copy of its own, which no store can change
    using X = Vec<T>;
    constexpr int L = X::lanes, N = V * P - (kHalf ? 1 : 0);   // whole vectors
    X sum[R][N + 1];   // one more than are used, for there may be none
    Tail<T, R, kHalf> tail;
    // Unrolled like the sums themselves: an array that a loop walks through lives in memory until then.
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
        const T* from = init ? init + r * t.init_row : nullptr;
#pragma GCC unroll 8
        for (int v = 0; v < N; ++v) {
            if (!init) sum[r][v] = X::set(0);
            else if (!kHalf && v == N - 1 && t.last < L) sum[r][v] = X::load_part(from + v * L, t.last);
            else sum[r][v] = X::load(from + v * L);
        }
        tail.begin(r, init ? from + N * L : nullptr, t.last);
    }
    const T* w = t.w;
    const auto add = [&](const T* from, int64_t row, int64_t step, int64_t count) RECURRA_INLINED {
        for (int64_t k = 0; k < count; ++k, from += step, w += t.w_row) {
            X column[N + 1];
            if (R > kFewRows) __builtin_prefetch(t.ahead + k * t.ahead_row, 0, 2);   // to the second-level cache
#pragma GCC unroll 8
            for (int v = 0; v < N; ++v) column[v] = X::load(w + (v / V) * t.panel + (v % V) * L);
            tail.column(w + N * L);
#pragma GCC unroll 12
            for (int r = 0; r < R; ++r) {
                const X value = X::set(from[r * row]);
#pragma GCC unroll 8
                for (int v = 0; v < N; ++v) sum[r][v] = fma(value, column[v], sum[r][v]);
                tail.add(r, value);
            }
        }
    };
    if (kRowsApart) add(before, t.before_row, 1, t.before_k);
    add(a, kRowsApart ? t.a_row : 1, kRowsApart ? 1 : t.a_k, t.k);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
        for (int v = 0; v < N; ++v) {
            T* to = out + r * t.out_row + v * L;
            if (!kHalf && v == N - 1 && t.last < L) sum[r][v].store_part(to, t.last);
            else sum[r][v].store(to);
        }
        tail.end(r, out + r * t.out_row + N * L, t.last);
    }
}

// Tile functions by rows - 1: of one panel, and of one that ends in half a vector.
template <class T, int V, bool A> struct TileTable {
    TileFunction<T> one[max_rows(V)], half[max_rows(V)];
    template <int... R> constexpr explicit TileTable(std::integer_sequence<int, R...>)
        : one{tile<T, R + 1, V, 1, A, false>...}, half{tile<T, R + 1, V, 1, A, kHalves>...} {}
};
template <class T, int V, bool A>
static constexpr TileTable<T, V, A> tile_table{std::make_integer_sequence<int, max_rows(V)>{}};

// Those of several full panels, by panels, then by rows - 1.
template <class T, bool A, int P> static constexpr TileFunction<T> of_panels[kFewRows] = {
    tile<T, 1, kMaxVectors, P, A, false>, tile<T, 2, kMaxVectors, P, A, false>};

template <class T, bool A> struct Tables {
    const TileFunction<T> *one[kMaxVectors + 1], *half[kMaxVectors + 1], *many[kManyPanels + 1];
    template <int... V, int... P>
    constexpr Tables(std::integer_sequence<int, V...>, std::integer_sequence<int, P...>)
        : one{nullptr, tile_table<T, V + 1, A>.one...}, half{nullptr, tile_table<T, V + 1, A>.half...},
          many{nullptr, nullptr, of_panels<T, A, P + 2>...} {}
};
template <class T, bool A>
static constexpr Tables<T, A> tables{std::make_integer_sequence<int, kMaxVectors>{},
                                     std::make_integer_sequence<int, kManyPanels - 1>{}};

// Blocks of rows as equal as can be: the last would otherwise be too small to hide the latency of its sums.
template <class Each> RECURRA_INLINE void each_block(int64_t rows, int64_t most, Each each) {
    int64_t blocks = rows <= most ? 1 : (rows + most - 1) / most;
    for (int64_t row = 0; row < rows; --blocks) {
        const int64_t block = blocks == 1 ? rows - row : (rows - row + blocks - 1) / blocks;
        each(row, block);
        row += block;
    }
}

// So many rows of w, in one panel, stay in the second-level cache while all rows of a go past.
constexpr int64_t kDepth = 256;

// All tiles of a panel of V vectors. While the rows of a go past one part of w the next part is on its way, some of it
// with each block of rows, and so are the sums of the next block. Between two parts of w the sums wait in `out`.
template <class T, int V, bool A, bool kHalf>
static void strip(const Tiling<T>& whole, const T*, const T* a, const T* init, T* out) noexcept {
    constexpr int64_t L = Vec<T>::lanes, line = 64 / sizeof(T), lines = (V * L + line - 1) / line;
    const TileFunction<T>* functions = kHalf ? tile_table<T, V, A>.half : tile_table<T, V, A>.one;
    alignas(64) T copy[kDepth * V * L];
    Tiling<T> t = whole;
    const T* w = whole.w;
    for (int64_t left = whole.k; left > 0; left -= t.k, a += t.k * t.a_k, w += t.k * whole.w_row, init = out, t.init_row = t.out_row) {
        const int64_t parts = (left + kDepth - 1) / kDepth;
        t.k = (left + parts - 1) / parts;
        t.w = w;
        if (!whole.packed) {
            for (int64_t k = 0; k < t.k; ++k) {
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) Vec<T>::load(w + k * whole.w_row + v * L).store(copy + (k * V + v) * L);
            }
            t.w = copy;
            t.w_row = V * L;
        }
        const T* next = left > t.k ? w + t.k * whole.w_row : whole.panel ? whole.w + whole.panel : nullptr;
        int64_t asked = 0;
        each_block(whole.rows, max_rows(V), [&](int64_t row, int64_t block) RECURRA_INLINED {
            for (int64_t r = row + block; init && r < row + 2 * block && r < whole.rows; ++r) {
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) __builtin_prefetch(init + r * t.init_row + v * L, 1, 3);
            }
            const bool asks = next && asked < lines;
            t.ahead = asks ? next + asked++ * (whole.packed ? t.k * line : line) : t.w;
            t.ahead_row = !asks ? 0 : whole.packed ? line : whole.w_row;
            functions[block - 1](t, nullptr, a + row * t.a_row, init ? init + row * t.init_row : nullptr, out + row * t.out_row);
        });
    }
}

template <class T, bool A> struct Strips {
    TileFunction<T> one[kMaxVectors + 1], half[kMaxVectors + 1];
    template <int... V> constexpr explicit Strips(std::integer_sequence<int, V...>)
        : one{nullptr, strip<T, V + 1, A, false>...}, half{nullptr, strip<T, V + 1, A, kHalves>...} {}
};
template <class T, bool A> static constexpr Strips<T, A> strips{std::make_integer_sequence<int, kMaxVectors>{}};

}  // namespace RECURRA_ISA
}  // namespace recurra
