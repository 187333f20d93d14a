#include "recurra/elementwise_kernels.hpp"
#include "recurra/isa.hpp"
#include "recurra/product_kernels.hpp"
#include "zoo.hpp"

namespace recurra {

extern const Isa isa_x86_64_v2;
const Isa isa_x86_64_v2{
    "x86-64-v2",
    []() -> bool {
        return __builtin_cpu_supports("sse4.2");
    },
    &ran, &kernels<float>, &kernels<double>, zoo<float>, zoo<double>, &elementwise,
};

}  // namespace recurra
