#include "recurra/elementwise_kernels.hpp"
#include "recurra/isa.hpp"
#include "recurra/product_kernels.hpp"
#include "zoo.hpp"

namespace recurra {

extern const Isa isa_avx2;
const Isa isa_avx2{
    "avx2",
    []() -> bool {
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    },
    &ran, &kernels<float>, &kernels<double>, zoo<float>, zoo<double>, &elementwise,
};

}  // namespace recurra
