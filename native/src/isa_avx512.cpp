#include "recurra/elementwise_kernels.hpp"
#include "recurra/isa.hpp"
#include "recurra/product_kernels.hpp"
#include "zoo.hpp"

namespace recurra {

extern const Isa isa_avx512;
const Isa isa_avx512{
    "avx512",
    []() -> bool {
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma");
    },
    &ran, &kernels<float>, &kernels<double>, zoo<float>, zoo<double>, &elementwise,
};

}  // namespace recurra
