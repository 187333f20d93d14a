// The product kernels of one ISA; included once by its translation unit.
#pragma once

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
// With few rows a tile takes several panels at once, or the chain of additions would leave the units idle.
constexpr int kFewRows = 2;
constexpr int kManyPanels = RECURRA_BYTES == 64 ? 2 : 4;

// The panels of n columns: as equal as can be, so that none is a narrow rest.
struct Panels {
    int64_t vectors, count;
    template <class T> static RECURRA_INLINE Panels of(int64_t n) {
        const int64_t vectors = (n + Vec<T>::lanes - 1) / Vec<T>::lanes;
        return {vectors, (vectors + kMaxVectors - 1) / kMaxVectors};
    }
    RECURRA_INLINE int64_t begin(int64_t panel) const { return panel * vectors / count; }
    RECURRA_INLINE int width(int64_t panel) const { return static_cast<int>(begin(panel + 1) - begin(panel)); }
};

template <class T> struct TileArgs {
    const T* a;
    int64_t a_row, a_k, k;
    const T* w;             // first panel; the next ones follow
    const T* init;
    int64_t init_row;
    T* out;
    int64_t out_row;
    int last;               // lanes of the last vector that exist
};

// One tile: R rows, P panels of V vectors, all accumulators in registers.
template <class T, int R, int V, int P, bool kRowsApart>
static void tile(const TileArgs<T>& t) noexcept {
    using X = Vec<T>;
    constexpr int L = X::lanes, N = V * P;
    X sum[R][N];
    for (int r = 0; r < R; ++r) {
        for (int v = 0; v < N; ++v) {
            const T* from = t.init + r * t.init_row + v * L;
            if (!t.init) sum[r][v] = X::set(0);
            else if (v == N - 1 && t.last < L) sum[r][v] = X::load_part(from, t.last);
            else sum[r][v] = X::load(from);
        }
    }
    const int64_t row = kRowsApart ? t.a_row : 1, step = kRowsApart ? 1 : t.a_k;
    const int64_t panel = t.k * V * L;
    const T* a = t.a;
    const T* w = t.w;
    for (int64_t k = 0; k < t.k; ++k, a += step, w += V * L) {
        X column[N];
#pragma GCC unroll 8
        for (int v = 0; v < N; ++v) column[v] = X::load(w + (v / V) * panel + (v % V) * L);
#pragma GCC unroll 12
        for (int r = 0; r < R; ++r) {
            const X value = X::set(a[r * row]);
#pragma GCC unroll 8
            for (int v = 0; v < N; ++v) sum[r][v] = fma(value, column[v], sum[r][v]);
        }
    }
    for (int r = 0; r < R; ++r) {
        for (int v = 0; v < N; ++v) {
            T* to = t.out + r * t.out_row + v * L;
            if (v == N - 1 && t.last < L) sum[r][v].store_part(to, t.last);
            else sum[r][v].store(to);
        }
    }
}

template <class T> using TileFunction = void (*)(const TileArgs<T>&) noexcept;

// The tile function for a number of rows, at most max_rows(V).
template <class T, int V, int P, bool A, int R = max_rows(V)>
static RECURRA_INLINE TileFunction<T> tile_for(int rows) {
    if constexpr (R == 1) return tile<T, 1, V, P, A>;
    else return rows == R ? tile<T, R, V, P, A> : tile_for<T, V, P, A, R - 1>(rows);
}

template <class T, int V, bool A>
static RECURRA_INLINE TileFunction<T> tile_of(int rows, bool many) {
    if (many) return tile_for<T, V, kManyPanels, A, kFewRows>(rows);
    return tile_for<T, V, 1, A>(rows);
}

template <class T, bool A> static TileFunction<T> choose(int rows, int vectors, bool many) {
    switch (vectors) {
        case 1: return tile_of<T, 1, A>(rows, many);
        case 2: return tile_of<T, 2, A>(rows, many);
#if RECURRA_BYTES == 64
        case 3: return tile_of<T, 3, A>(rows, many);
        default: return tile_of<T, 4, A>(rows, many);
#else
        default: return nullptr;
#endif
    }
}

template <class T, bool A> static void product_by(const Product<T>& p) noexcept {
    constexpr int64_t L = Vec<T>::lanes;
    const Panels panels = Panels::of<T>(p.w.n);
    for (int64_t j = 0; j < panels.count;) {
        const int width = panels.width(j);
        bool many = p.rows <= kFewRows && j + kManyPanels <= panels.count;
        for (int i = 1; many && i < kManyPanels; ++i) many = panels.width(j + i) == width;
        const int64_t first = panels.begin(j) * L, end = j + (many ? kManyPanels : 1);
        const int64_t beyond = panels.begin(end) * L - p.w.n;
        const int last = static_cast<int>(end == panels.count && beyond > 0 ? L - beyond : L);
        const int64_t blocks = (p.rows + max_rows(width) - 1) / max_rows(width);
        int64_t r = 0;
        for (int64_t b = 0; b < blocks; ++b) {
            const int rows = static_cast<int>((b + 1) * p.rows / blocks - r);
            const TileArgs<T> t{p.a + r * p.a_row, p.a_row, p.a_k, p.w.k, p.w.data + first * p.w.k,
                                p.init ? p.init + r * p.init_row + first : nullptr, p.init_row,
                                p.out + r * p.out_row + first, p.out_row, last};
            choose<T, A>(rows, width, many)(t);
            r += rows;
        }
        j = end;
    }
}

static bool ran = false;   // told to tests, which force an ISA and want to know that it did the work

template <class T> static void product(const Product<T>& p) noexcept {
    __atomic_store_n(&ran, true, __ATOMIC_RELAXED);
    if (p.rows <= 0 || p.w.n <= 0) return;
    if (p.a_k == 1) product_by<T, true>(p);
    else product_by<T, false>(p);
}

template <class T>
static void pack(const Packed<T>& to, const T* source, int64_t k_stride, int64_t n_stride, int64_t first,
                 int64_t count) noexcept {
    constexpr int64_t L = Vec<T>::lanes;
    const Panels panels = Panels::of<T>(to.n);
    for (int64_t j = 0; j < panels.count; ++j) {
        const int64_t width = panels.width(j) * L, n0 = panels.begin(j) * L;
        const int64_t real = to.n - n0 < width ? to.n - n0 : width;
        T* out = to.data + n0 * to.k + first * width;
        const T* in = source + n0 * n_stride;
        for (int64_t k = 0; k < count; ++k, out += width) {
            if (n_stride == 1) memcpy(out, in + k * k_stride, real * sizeof(T));
            else for (int64_t n = 0; n < real; ++n) out[n] = in[n * n_stride + k * k_stride];
            for (int64_t n = real; n < width; ++n) out[n] = 0;
        }
    }
}

template <class T>
static void add_rows(const T* a, int64_t a_row, int64_t rows, int64_t n, T* sum) noexcept {
    using X = Vec<T>;
    int64_t i = 0;
    for (; i + X::lanes <= n; i += X::lanes) {
        X total = X::load(sum + i);
        for (int64_t r = 0; r < rows; ++r) total = total + X::load(a + r * a_row + i);
        total.store(sum + i);
    }
    for (; i < n; ++i) {
        for (int64_t r = 0; r < rows; ++r) sum[i] += a[r * a_row + i];
    }
}

template <class T> inline constexpr Kernels<T> kernels{Vec<T>::lanes, product<T>, pack<T>, add_rows<T>};

}  // namespace RECURRA_ISA
}  // namespace recurra
