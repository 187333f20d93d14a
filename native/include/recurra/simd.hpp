// Vectors of the widest kind that this translation unit's ISA has; every intrinsic of the project lives here.
//
// All operations round once and element by element, so the same program gives the same bits on every ISA with fused
// multiply-add. The namespace carries the ISA's name: translation units with other flags never share a template.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define RECURRA_ISA avx512
#define RECURRA_BYTES 64
#elif defined(__AVX2__) && defined(__FMA__)
#define RECURRA_ISA avx2
#define RECURRA_BYTES 32
#elif defined(__x86_64__) && !defined(RECURRA_ONLY_GENERIC)
#define RECURRA_ISA x86_64_v2
#define RECURRA_BYTES 16
#else
#define RECURRA_ISA generic
#define RECURRA_BYTES 16
#endif

#define RECURRA_INLINED __attribute__((always_inline))
#define RECURRA_INLINE inline RECURRA_INLINED

namespace recurra {
inline namespace RECURRA_ISA {

template <class T> struct IntegerOf;
template <> struct IntegerOf<float> { using type = int32_t; };
template <> struct IntegerOf<double> { using type = int64_t; };

template <class T> struct Vec {
    using Scalar = T;
    using Integer = typename IntegerOf<T>::type;
    static constexpr int lanes = RECURRA_BYTES / sizeof(T);
    typedef T Raw __attribute__((vector_size(RECURRA_BYTES)));
    typedef T Unaligned __attribute__((vector_size(RECURRA_BYTES), aligned(sizeof(T))));
    typedef Integer Bits __attribute__((vector_size(RECURRA_BYTES)));

    Raw raw;

    static RECURRA_INLINE Vec load(const T* p) { return {*reinterpret_cast<const Unaligned*>(p)}; }
    RECURRA_INLINE void store(T* p) const { *reinterpret_cast<Unaligned*>(p) = raw; }
    static RECURRA_INLINE Vec set(T value) { return {value - Raw{}}; }

    // The first n lanes, 0 < n <= lanes; other lanes read as zero and are not written.
    static RECURRA_INLINE Vec load_part(const T* p, int n);
    RECURRA_INLINE void store_part(T* p, int n) const;

    friend RECURRA_INLINE Vec operator+(Vec a, Vec b) { return {a.raw + b.raw}; }
    friend RECURRA_INLINE Vec operator-(Vec a, Vec b) { return {a.raw - b.raw}; }
    friend RECURRA_INLINE Vec operator*(Vec a, Vec b) { return {a.raw * b.raw}; }
    friend RECURRA_INLINE Vec operator/(Vec a, Vec b) { return {a.raw / b.raw}; }
    RECURRA_INLINE Vec operator-() const { return {-raw}; }
    RECURRA_INLINE Bits bits() const { return (Bits)raw; }
    static RECURRA_INLINE Vec from_bits(Bits bits) { return {(Raw)bits}; }
};

template <class T> RECURRA_INLINE Vec<T> abs(Vec<T> a) {
    using V = Vec<T>;
    return V::from_bits(a.bits() & ~V::set(T(-0.0)).bits());
}

template <class T> RECURRA_INLINE Vec<T> copysign(Vec<T> magnitude, Vec<T> sign) {
    const auto top = Vec<T>::set(T(-0.0)).bits();
    return Vec<T>::from_bits((magnitude.bits() & ~top) | (sign.bits() & top));
}

// Lane i of a, then lane i of b, for the half of the lanes that begins at kFirst.
template <int kFirst, class T, int... I>
RECURRA_INLINE Vec<T> riffle(Vec<T> a, Vec<T> b, std::integer_sequence<int, I...>) {
    return {__builtin_shufflevector(a.raw, b.raw, (kFirst + I / 2 + I % 2 * Vec<T>::lanes)...)};
}

// Exchange rows and lanes: each riffle of the upper rows with the lower ones moves one bit of a lane's number into the
// row's, and one of the row's into the lane's.
template <class T> RECURRA_INLINE void transpose(Vec<T> (&rows)[Vec<T>::lanes]) {
    constexpr int L = Vec<T>::lanes;
    constexpr auto lanes = std::make_integer_sequence<int, L>{};
#pragma GCC unroll 4
    for (int done = 1; done < L; done *= 2) {
        Vec<T> next[L];
#pragma GCC unroll 8
        for (int i = 0; i < L / 2; ++i) {
            next[2 * i] = riffle<0>(rows[i], rows[i + L / 2], lanes);
            next[2 * i + 1] = riffle<L / 2>(rows[i], rows[i + L / 2], lanes);
        }
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) rows[i] = next[i];
    }
}

#if defined(__AVX512F__)

// Comparison masks are registers of their own here.
RECURRA_INLINE __mmask16 gt(Vec<float> a, Vec<float> b) { return _mm512_cmp_ps_mask(a.raw, b.raw, _CMP_GT_OQ); }
RECURRA_INLINE __mmask8 gt(Vec<double> a, Vec<double> b) { return _mm512_cmp_pd_mask(a.raw, b.raw, _CMP_GT_OQ); }
RECURRA_INLINE Vec<float> select(__mmask16 m, Vec<float> a, Vec<float> b) {
    return {_mm512_mask_blend_ps(m, b.raw, a.raw)};
}
RECURRA_INLINE Vec<double> select(__mmask8 m, Vec<double> a, Vec<double> b) {
    return {_mm512_mask_blend_pd(m, b.raw, a.raw)};
}
RECURRA_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
    return {_mm512_fmadd_ps(a.raw, b.raw, c.raw)};
}
RECURRA_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
    return {_mm512_fmadd_pd(a.raw, b.raw, c.raw)};
}
RECURRA_INLINE Vec<float> sqrt(Vec<float> a) { return {_mm512_sqrt_ps(a.raw)}; }
RECURRA_INLINE Vec<double> sqrt(Vec<double> a) { return {_mm512_sqrt_pd(a.raw)}; }
template <> RECURRA_INLINE Vec<float> Vec<float>::load_part(const float* p, int n) {
    return {_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p)};
}
template <> RECURRA_INLINE void Vec<float>::store_part(float* p, int n) const {
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), raw);
}
template <> RECURRA_INLINE Vec<double> Vec<double>::load_part(const double* p, int n) {
    return {_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1), p)};
}
template <> RECURRA_INLINE void Vec<double>::store_part(double* p, int n) const {
    _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1), raw);
}

// The lower half of a vector, for sums whose last columns fill no more: on some machines half a vector costs half.
template <class T> struct Half;
template <> struct Half<float> {
    __m256 raw;
    static constexpr int lanes = 8;
    static RECURRA_INLINE Half of(Vec<float> a) { return {_mm512_castps512_ps256(a.raw)}; }
    static RECURRA_INLINE Half load(const float* p) { return {_mm256_loadu_ps(p)}; }
    static RECURRA_INLINE Half load_part(const float* p, int n) {
        return {_mm256_maskz_loadu_ps(static_cast<__mmask8>((1u << n) - 1), p)};
    }
    RECURRA_INLINE void store_part(float* p, int n) const {
        _mm256_mask_storeu_ps(p, static_cast<__mmask8>((1u << n) - 1), raw);
    }
};
template <> struct Half<double> {
    __m256d raw;
    static constexpr int lanes = 4;
    static RECURRA_INLINE Half of(Vec<double> a) { return {_mm512_castpd512_pd256(a.raw)}; }
    static RECURRA_INLINE Half load(const double* p) { return {_mm256_loadu_pd(p)}; }
    static RECURRA_INLINE Half load_part(const double* p, int n) {
        return {_mm256_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1), p)};
    }
    RECURRA_INLINE void store_part(double* p, int n) const {
        _mm256_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1), raw);
    }
};
RECURRA_INLINE Half<float> fma(Half<float> a, Half<float> b, Half<float> c) {
    return {_mm256_fmadd_ps(a.raw, b.raw, c.raw)};
}
RECURRA_INLINE Half<double> fma(Half<double> a, Half<double> b, Half<double> c) {
    return {_mm256_fmadd_pd(a.raw, b.raw, c.raw)};
}

#else

template <class T> RECURRA_INLINE typename Vec<T>::Bits gt(Vec<T> a, Vec<T> b) { return a.raw > b.raw; }
template <class T> RECURRA_INLINE Vec<T> select(typename Vec<T>::Bits m, Vec<T> a, Vec<T> b) {
    return Vec<T>::from_bits((a.bits() & m) | (b.bits() & ~m));
}
#if defined(__AVX2__) && defined(__FMA__)
// Lane i takes part where i < n.
RECURRA_INLINE __m256i first_lanes(Vec<float>, int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
RECURRA_INLINE __m256i first_lanes(Vec<double>, int n) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}
template <> RECURRA_INLINE Vec<float> Vec<float>::load_part(const float* p, int n) {
    return {_mm256_maskload_ps(p, first_lanes(Vec<float>{}, n))};
}
template <> RECURRA_INLINE void Vec<float>::store_part(float* p, int n) const {
    _mm256_maskstore_ps(p, first_lanes(*this, n), raw);
}
template <> RECURRA_INLINE Vec<double> Vec<double>::load_part(const double* p, int n) {
    return {_mm256_maskload_pd(p, first_lanes(Vec<double>{}, n))};
}
template <> RECURRA_INLINE void Vec<double>::store_part(double* p, int n) const {
    _mm256_maskstore_pd(p, first_lanes(*this, n), raw);
}
RECURRA_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
    return {_mm256_fmadd_ps(a.raw, b.raw, c.raw)};
}
RECURRA_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
    return {_mm256_fmadd_pd(a.raw, b.raw, c.raw)};
}
RECURRA_INLINE Vec<float> sqrt(Vec<float> a) { return {_mm256_sqrt_ps(a.raw)}; }
RECURRA_INLINE Vec<double> sqrt(Vec<double> a) { return {_mm256_sqrt_pd(a.raw)}; }
#else
template <class T> RECURRA_INLINE Vec<T> Vec<T>::load_part(const T* p, int n) {
    T whole[lanes] = {};
    for (int i = 0; i < n; ++i) whole[i] = p[i];
    return load(whole);
}
template <class T> RECURRA_INLINE void Vec<T>::store_part(T* p, int n) const {
    for (int i = 0; i < n; ++i) p[i] = raw[i];
}
#if defined(__x86_64__) && !defined(RECURRA_ONLY_GENERIC)
template <class T> RECURRA_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) { return a * b + c; }  // no fused instruction
RECURRA_INLINE Vec<float> sqrt(Vec<float> a) { return {_mm_sqrt_ps(a.raw)}; }
RECURRA_INLINE Vec<double> sqrt(Vec<double> a) { return {_mm_sqrt_pd(a.raw)}; }
#else
RECURRA_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
    for (int i = 0; i < Vec<float>::lanes; ++i) c.raw[i] = __builtin_fmaf(a.raw[i], b.raw[i], c.raw[i]);
    return c;
}
RECURRA_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
    for (int i = 0; i < Vec<double>::lanes; ++i) c.raw[i] = __builtin_fma(a.raw[i], b.raw[i], c.raw[i]);
    return c;
}
RECURRA_INLINE Vec<float> sqrt(Vec<float> a) {
    for (int i = 0; i < Vec<float>::lanes; ++i) a.raw[i] = __builtin_sqrtf(a.raw[i]);
    return a;
}
RECURRA_INLINE Vec<double> sqrt(Vec<double> a) {
    for (int i = 0; i < Vec<double>::lanes; ++i) a.raw[i] = __builtin_sqrt(a.raw[i]);
    return a;
}
#endif
#endif
#endif

}  // namespace RECURRA_ISA
}  // namespace recurra
