#include "recurra/machine.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "recurra/memory.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace recurra {
namespace {

// Enough independent sums to hide a multiplication and an addition on two units each, and few enough for 16 registers.
constexpr int kChains = 12;
constexpr int64_t kRounds = 1 << 14;
constexpr int64_t kMinBytes = 1 << 20;   // read between two looks at the clock
volatile double sink;

// Calls per second of the quickest of many calls.
template <class F> double fastest(F call) {
    using Clock = std::chrono::steady_clock;
    double best = 1;
    const auto end = Clock::now() + std::chrono::milliseconds(60);
    while (Clock::now() < end) {
        const auto start = Clock::now();
        call();
        best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
    }
    return 1 / best;
}

#define RECURRA_VECTOR(T, BYTES) typedef T V __attribute__((vector_size(BYTES), aligned(BYTES), may_alias))

// kRounds * kChains * lanes multiply-adds; FMA(a, b, c) is a * b + c.
#define RECURRA_CHAIN(NAME, TARGET, T, BYTES, FMA)                                                                    \
    TARGET void NAME() {                                                                                              \
        RECURRA_VECTOR(T, BYTES);                                                                                     \
        const V a = V{} + T(0.5 + 1e-9 * sink), b = V{} + T(1 + 1e-9 * sink);                                         \
        V sum[kChains];                                                                                               \
        for (int i = 0; i < kChains; ++i) sum[i] = b * T(i);                                                          \
        for (int64_t round = 0; round < kRounds; ++round) {                                                           \
            _Pragma("GCC unroll 12") for (int i = 0; i < kChains; ++i) sum[i] = FMA(sum[i], a, b);                    \
        }                                                                                                             \
        for (int i = 1; i < kChains; ++i) sum[0] += sum[i];                                                           \
        sink = double(sum[0][0]);                                                                                     \
    }

// All of [from, from + bytes), a multiple of 8 vectors, `times` over; with `back`, every other time from the end.
#define RECURRA_READ(NAME, TARGET, BYTES)                                                                             \
    TARGET void NAME(const char* from, int64_t bytes, int64_t times, bool back) {                                     \
        RECURRA_VECTOR(int64_t, BYTES);                                                                               \
        constexpr int64_t step = 8 * BYTES;                                                                           \
        V all[8] = {};                                                                                                \
        for (int64_t i = 0; i < times; ++i) {                                                                         \
            const bool down = back && i % 2;                                                                          \
            const int64_t way = down ? -step : step;                                                                  \
            const char* p = down ? from + bytes - step : from;                                                        \
            for (int64_t left = bytes; left > 0; left -= step, p += way) {                                            \
                _Pragma("GCC unroll 8") for (int v = 0; v < 8; ++v) all[v] ^= reinterpret_cast<const V*>(p)[v];       \
            }                                                                                                         \
            __asm__ volatile("" : "+r"(from)); /* or the compiler reads once */                                       \
        }                                                                                                             \
        for (int v = 1; v < 8; ++v) all[0] ^= all[v];                                                                 \
        sink = double(all[0][0] & 1);                                                                                 \
    }

using Chain = void (*)();
using Read = void (*)(const char*, int64_t, int64_t, bool);

struct Unit {
    const char* isa;
    bool available;
    int64_t vector_bytes;
    Chain f32, f64;
    Read read;
};

#if defined(__x86_64__)
#define RECURRA_AVX512 __attribute__((target("avx512f")))
#define RECURRA_AVX2 __attribute__((target("avx2,fma")))
#define RECURRA_UNFUSED(A, B, C) ((A) * (B) + (C))
RECURRA_CHAIN(chain_512_f32, RECURRA_AVX512, float, 64, _mm512_fmadd_ps)
RECURRA_CHAIN(chain_512_f64, RECURRA_AVX512, double, 64, _mm512_fmadd_pd)
RECURRA_CHAIN(chain_256_f32, RECURRA_AVX2, float, 32, _mm256_fmadd_ps)
RECURRA_CHAIN(chain_256_f64, RECURRA_AVX2, double, 32, _mm256_fmadd_pd)
RECURRA_CHAIN(chain_128_f32, , float, 16, RECURRA_UNFUSED)
RECURRA_CHAIN(chain_128_f64, , double, 16, RECURRA_UNFUSED)
RECURRA_READ(read_512, RECURRA_AVX512, 64)
RECURRA_READ(read_256, RECURRA_AVX2, 32)
RECURRA_READ(read_128, , 16)

const Unit units[] = {
    {"avx512", bool(__builtin_cpu_supports("avx512f")), 64, chain_512_f32, chain_512_f64, read_512},
    {"avx2", __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"), 32, chain_256_f32, chain_256_f64,
     read_256},
    {"x86-64-v2", true, 16, chain_128_f32, chain_128_f64, read_128},
};
#else
template <class V> inline V fused(V a, V b, V c) {
    for (size_t i = 0; i < sizeof(V) / sizeof(a[0]); ++i) c[i] = std::fma(a[i], b[i], c[i]);
    return c;
}
RECURRA_CHAIN(chain_f32, , float, 16, fused)
RECURRA_CHAIN(chain_f64, , double, 16, fused)
RECURRA_READ(read, , 16)

const Unit units[] = {{"generic", true, 16, chain_f32, chain_f64, read}};
#endif

}  // namespace

double fma_peak(const std::string& isa, int dtype_bytes) noexcept {
    for (const Unit& unit : units) {
        if (unit.isa != isa || !unit.available || (dtype_bytes != 4 && dtype_bytes != 8)) continue;
        const double calls = fastest(dtype_bytes == 4 ? unit.f32 : unit.f64);
        return calls * double(kRounds * kChains * (unit.vector_bytes / dtype_bytes));
    }
    return 0;
}

double bandwidth(int64_t bytes) {
    const Unit& unit = *std::find_if(std::begin(units), std::end(units), [](const Unit& u) { return u.available; });
    const int64_t step = 8 * unit.vector_bytes;
    bytes = std::max<int64_t>(1, (bytes + step / 2) / step) * step;
    const Buffer<char> memory(bytes);
    std::fill_n(memory.data(), bytes, char(1));
    const int64_t times = std::max<int64_t>(2, kMinBytes / bytes);
    const auto read = [&](bool back) { return fastest([&] { unit.read(memory.data(), bytes, times, back); }); };
    return std::max(read(false), read(true)) * double(bytes * times);
}

}  // namespace recurra
