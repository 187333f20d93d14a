// The product kernels of one ISA; included once by its translation unit.
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

// How n columns are cut into panels: full ones, but no single vector as the last, which would load nearly as often as
// it adds.
template <class T> struct Panels {
    static constexpr int64_t L = Vec<T>::lanes;
    int64_t vectors, count;
    RECURRA_INLINE explicit Panels(int64_t n) : vectors((n + L - 1) / L), count((vectors + kMaxVectors - 1) / kMaxVectors) {}
    RECURRA_INLINE int64_t begin(int64_t panel) const {   // in vectors
        if (panel == count) return vectors;
        return panel * kMaxVectors - (single() && panel == count - 1 ? 1 : 0);
    }
    RECURRA_INLINE int64_t full() const { return single() ? count - 2 : vectors / kMaxVectors; }
    RECURRA_INLINE bool single() const { return kMaxVectors > 2 && count > 1 && vectors % kMaxVectors == 1; }
    RECURRA_INLINE int64_t width(int64_t panel) const { return begin(panel + 1) - begin(panel); }
};

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

// Calls each(function, tiling, before, a, init, out) for every tile, the last four relative to the memory of the whole.
template <class T, bool A, class Each> RECURRA_INLINE void each_tile(const Product<T>& p, Each each) {
    constexpr int64_t L = Vec<T>::lanes;
    const Panels<T> panels(p.w.n);
    const Tables<T, A>& table = tables<T, A>;
    const int64_t depth = p.w_row ? 1 : p.w.depth;
    for (int64_t panel = 0, taken; panel < panels.count; panel += taken) {
        const int64_t full = p.rows <= kFewRows ? panels.full() - panel : 0;
        taken = full < 2 ? 1 : full < kManyPanels ? full : kManyPanels;
        const int64_t width = panels.width(panel), n = panels.begin(panel) * L;
        const int64_t columns = width * L * taken, rest = p.w.n - n;
        const bool half = kHalves && rest <= columns - L / 2;
        const TileFunction<T>* functions = taken > 1 ? table.many[taken] : (half ? table.half : table.one)[width];
        const int64_t w_row = p.w_row ? p.w_row : width * L;
        const Tiling<T> tiling{p.before_row, p.before_k, p.a_row, p.a_k, p.w.k - p.before_k,
                               p.w.data + n * depth + p.w.first * w_row, w_row, width * L * depth, p.init_row, p.out_row,
                               static_cast<int>(rest < columns ? L - (columns - rest) : L)};
        // Blocks of rows as equal as can be: the last would otherwise be too small to hide the latency of its sums.
        const int64_t most = max_rows(static_cast<int>(width));
        int64_t blocks = p.rows <= most ? 1 : (p.rows + most - 1) / most;
        for (int64_t row = 0; row < p.rows; --blocks) {
            const int64_t block = blocks == 1 ? p.rows - row : (p.rows - row + blocks - 1) / blocks;
            each(functions[block - 1], tiling, row * p.before_row, row * p.a_row, row * p.init_row + n, row * p.out_row + n);
            row += block;
        }
    }
}

template <class T, class Each> RECURRA_INLINE void each_tile(const Product<T>& p, Each each) {
    if (p.rows <= 0 || p.w.n <= 0) return;
    if (p.a_k == 1) each_tile<T, true>(p, each);
    else each_tile<T, false>(p, each);
}

template <class T> static void product(const Product<T>& p) noexcept {
    each_tile(p, [&](TileFunction<T> function, const Tiling<T>& tiling, int64_t before, int64_t a, int64_t init, int64_t out) {
        function(tiling, p.before ? p.before + before : nullptr, p.a + a, p.init ? p.init + init : nullptr, p.out + out);
    });
}

template <class T> static int64_t cut(const Product<T>& p, TileCall<T>* calls) noexcept {
    int64_t count = 0;
    each_tile(p, [&](TileFunction<T> function, const Tiling<T>& tiling, int64_t before, int64_t a, int64_t init, int64_t out) {
        if (calls) calls[count] = {function, tiling, before, a, init, out, 0};
        ++count;
    });
    return count;
}

static bool ran = false;   // told to tests, which force an ISA and want to know that it did the work

// Rows of w as they stand: each as a row of the panel, zero past the last column.
template <class T>
static void pack_rows(const T* in, int64_t stride, int64_t count, int64_t real, T* out, int64_t width) noexcept {
    constexpr int64_t L = Vec<T>::lanes;
    for (int64_t k = 0; k < count; ++k, in += stride, out += width) {
        int64_t n = 0;
        for (; n + L <= real; n += L) Vec<T>::load(in + n).store(out + n);
        if (n < real) Vec<T>::load_part(in + n, static_cast<int>(real - n)).store(out + n);
    }
}

// The first n lanes, or all of them if n is more.
template <class T> static RECURRA_INLINE Vec<T> load_first(const T* from, int64_t n) {
    return n < Vec<T>::lanes ? Vec<T>::load_part(from, static_cast<int>(n)) : Vec<T>::load(from);
}
template <class T> static RECURRA_INLINE void store_first(Vec<T> v, T* to, int64_t n) {
    if (n < Vec<T>::lanes) v.store_part(to, static_cast<int>(n));
    else v.store(to);
}

// As many rows of a matrix as there are lanes, transposed; what lies beyond its edges is zero.
template <class T> struct Square {
    static constexpr int L = Vec<T>::lanes;
    Vec<T> column[L];

    RECURRA_INLINE Square(const T* from, int64_t stride, int64_t rows, int64_t columns) {
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) column[i] = i < rows ? load_first(from + i * stride, columns) : Vec<T>::set(0);
        transpose(column);
    }
};

// to[c][r] = a[r][c] for c < columns and r < to_row, zero where a has no such row.
template <class T>
static void turn(const T* a, int64_t a_row, int64_t rows, int64_t columns, T* to, int64_t to_row) noexcept {
    constexpr int L = Vec<T>::lanes;
    for (int64_t r = 0; r < to_row; r += L) {
        for (int64_t c = 0; c < columns; c += L) {
            const Square<T> square(a + r * a_row + c, a_row, rows - r, columns - c);
#pragma GCC unroll 16
            for (int i = 0; i < L; ++i) {
                if (i < columns - c) store_first(square.column[i], to + (c + i) * to_row + r, to_row - r);
            }
        }
    }
}

template <class T>
static void pack(const Packed<T>& to, const T* source, int64_t k_stride, int64_t n_stride, int64_t first,
                 int64_t count) noexcept {
    __atomic_store_n(&ran, true, __ATOMIC_RELAXED);   // here, since every product needs a pack, and it is not in the hot path
    const Panels<T> panels(to.n);
    for (int64_t panel = 0; panel < panels.count; ++panel) {
        const int64_t n0 = panels.begin(panel) * panels.L, width = panels.width(panel) * panels.L;
        const int64_t real = to.n - n0 < width ? to.n - n0 : width;
        T* out = to.data + n0 * to.depth + (to.first + first) * width;
        if (n_stride == 1) pack_rows(source + n0, k_stride, count, real, out, width);
        else turn(source + n0 * n_stride, n_stride, real, count, out, width);
    }
}

// V vectors of columns, the last one of so many lanes.
template <int V, class T>
static RECURRA_INLINE void add_columns(const T* a, int64_t a_row, int64_t rows, T* sum, int64_t last) noexcept {
    constexpr int L = Vec<T>::lanes;
    Vec<T> total[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) total[v] = load_first(sum + v * L, v == V - 1 ? last : L);
    for (int64_t r = 0; r < rows; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) total[v] = total[v] + load_first(a + r * a_row + v * L, v == V - 1 ? last : L);
    }
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store_first(total[v], sum + v * L, v == V - 1 ? last : L);
}

template <class T>
static void add_rows(const T* a, int64_t a_row, int64_t rows, int64_t n, T* sum) noexcept {
    constexpr int L = Vec<T>::lanes, V = 4;   // side by side, or each vector would wait for its own last sum
    int64_t i = 0;
    for (; i + V * L <= n; i += V * L) add_columns<V>(a + i, a_row, rows, sum + i, L);
    for (; i < n; i += L) add_columns<1>(a + i, a_row, rows, sum + i, n - i < L ? n - i : L);
}

template <class T> inline constexpr Kernels<T> kernels{Vec<T>::lanes, product<T>, cut<T>, pack<T>, add_rows<T>, turn<T>};

}  // namespace RECURRA_ISA
}  // namespace recurra
