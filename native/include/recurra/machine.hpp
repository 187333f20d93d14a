// What one core of this machine can do at best, measured: the bounds that benchmarks stand beside.
#pragma once

#include <cstdint>
#include <string>

namespace recurra {

// Multiply-adds per second in an ISA's vectors of floats (4 bytes) or doubles (8), from registers alone; where the ISA
// does not fuse them, a product and a sum count as one. 0 if this machine lacks the ISA, or the size is another one.
double fma_peak(const std::string& isa, int dtype_bytes) noexcept;

// Bytes per second of loads, in the widest vectors of this machine, from an array of `bytes` that is read over and over:
// from its start each time or to and fro, where the end of the last time is still near, whichever is faster.
// Throws std::bad_alloc.
double bandwidth(int64_t bytes);

}  // namespace recurra
