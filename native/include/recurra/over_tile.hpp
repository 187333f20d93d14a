// Runs a routine over all rows and units of a tile: whole vectors, then the rest of a row as a part of one.
#pragma once

#include "recurra/simd.hpp"
#include "recurra/tile.hpp"
#include "vmath.hpp"

namespace recurra {
inline namespace RECURRA_ISA {

template <class T> struct Whole {
    RECURRA_INLINE Vec<T> load(const T* p) const { return Vec<T>::load(p); }
    RECURRA_INLINE void store(T* p, Vec<T> v) const { v.store(p); }
};

template <class T> struct Part {
    int n;
    RECURRA_INLINE Vec<T> load(const T* p) const { return Vec<T>::load_part(p, n); }
    RECURRA_INLINE void store(T* p, Vec<T> v) const { v.store_part(p, n); }
};

template <class T, class Routine> static void over_tile(const Tile<T>* tile) {
    const Tile<T> t = *tile;  // a copy of its own, which no store can change
    constexpr int64_t L = Vec<T>::lanes;
    for (int64_t r = 0; r < t.rows; ++r) {
        int64_t u = 0;
        for (; u + L <= t.units; u += L) Routine::at(t, r, u, Whole<T>{});
        if (u < t.units) Routine::at(t, r, u, Part<T>{static_cast<int>(t.units - u)});
    }
}

}  // namespace RECURRA_ISA
}  // namespace recurra
