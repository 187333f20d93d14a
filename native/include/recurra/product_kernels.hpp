// The product kernels of one ISA; included once by its translation unit.
#pragma once

#include "recurra/product_tiles.hpp"

namespace recurra {
inline namespace RECURRA_ISA {

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

// Panels of a packed w that are deeper than this are done as strips, and of others where so many blocks of rows pass.
constexpr int64_t kStripDepth = 128, kManyBlocks = 8;

// Calls each(function, tiling, before, a, init, out) for every tile or strip, the last four relative to the memory of the whole.
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
        const int64_t most = max_rows(static_cast<int>(width));
        const T* w = p.w.data + n * depth + p.w.first * w_row;
        Tiling<T> tiling{p.before_row, p.before_k, p.a_row, p.a_k, p.w.k - p.before_k, w, w_row, width * L * depth, p.init_row,
                         p.out_row, static_cast<int>(rest < columns ? L - (columns - rest) : L), p.w_row == 0, p.rows, w, 0};
        if (p.before_k == 0 && (p.w_row ? p.rows >= kManyBlocks * most : p.w.k > kStripDepth && p.rows > most)) {
            if (panel + 1 == panels.count) tiling.panel = 0;
            each((half ? strips<T, A>.half : strips<T, A>.one)[width], tiling, 0, 0, n, n);
            continue;
        }
        each_block(p.rows, most, [&](int64_t row, int64_t block) RECURRA_INLINED {
            each(functions[block - 1], tiling, row * p.before_row, row * p.a_row, row * p.init_row + n, row * p.out_row + n);
        });
    }
}

template <class T, class Each> RECURRA_INLINE void each_tile(const Product<T>& p, Each each) {
    if (p.rows <= 0 || p.w.n <= 0) return;
    if (p.a_k == 1) each_tile<T, true>(p, each);
    else each_tile<T, false>(p, each);
}

template <class T> static void multiply(const Product<T>& p) noexcept {
    each_tile(p, [&](TileFunction<T> function, const Tiling<T>& tiling, int64_t before, int64_t a, int64_t init, int64_t out) {
        function(tiling, p.before ? p.before + before : nullptr, p.a + a, p.init ? p.init + init : nullptr, p.out + out);
    });
}

// So much of a goes past all panels of w while it stays in the second-level cache.
template <class T> constexpr int64_t kPassed = (384 << 10) / sizeof(T);

// The size of the first of the fewest equal parts that have at most so much each.
constexpr int64_t first_part(int64_t all, int64_t most) {
    const int64_t parts = (all + most - 1) / most;
    return (all + parts - 1) / parts;
}

template <class T> static void product(const Product<T>& whole) noexcept {
    if (whole.before_k || whole.rows * whole.w.k <= kPassed<T>) return multiply(whole);
    Product<T> p = whole;
    for (int64_t row = 0; row < whole.rows; row += p.rows) {
        p.rows = first_part(whole.rows - row, kPassed<T> / kDepth);
        p.out = whole.out + row * whole.out_row;
        p.init = whole.init ? whole.init + row * whole.init_row : nullptr;
        p.init_row = whole.init_row;
        for (int64_t k = 0; k < whole.w.k; k += p.w.k, p.init = p.out, p.init_row = p.out_row) {
            p.w = rows_of(whole.w, k, first_part(whole.w.k - k, kPassed<T> / p.rows));
            if (p.w_row) p.w.data += k * p.w_row, p.w.first = 0;
            p.a = whole.a + row * whole.a_row + k * whole.a_k;
            multiply(p);
        }
    }
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
