// What comes from outside is checked where memory depends on it, whoever has checked it before.
#pragma once

#include <cstdint>
#include <new>
#include <stdexcept>

namespace recurra {

// More numbers than any memory holds, and few enough that sizes made of them fit 64 bits.
constexpr int64_t kMostNumbers = int64_t(1) << 48;

inline void expect(bool holds, const char* otherwise) {
    if (!holds) throw std::invalid_argument(otherwise);
}

// The product of sizes. Throws std::bad_alloc where it is beyond any memory, so that no size wraps around.
inline int64_t times(int64_t a, int64_t b) {
    int64_t product;
    if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &product) || product > kMostNumbers) throw std::bad_alloc();
    return product;
}
template <class... More> int64_t times(int64_t a, int64_t b, More... more) { return times(times(a, b), more...); }

}  // namespace recurra
