#include "recurra/elementwise_kernels.hpp"
#include "recurra/isa.hpp"
#include "recurra/product_kernels.hpp"
#include "zoo.hpp"

namespace recurra {

extern const Isa isa_generic;
const Isa isa_generic{
    "generic",
    []() -> bool {
        return true;
    },
    &ran, &kernels<float>, &kernels<double>, zoo<float>, zoo<double>, &elementwise,
};

}  // namespace recurra
