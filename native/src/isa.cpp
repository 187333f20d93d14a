#include "recurra/isa.hpp"

namespace recurra {

#if defined(__x86_64__) && !defined(RECURRA_ONLY_GENERIC)
extern const Isa isa_avx512, isa_avx2, isa_x86_64_v2;
#else
extern const Isa isa_generic;
#endif

const std::vector<const Isa*>& isas() {
#if defined(__x86_64__) && !defined(RECURRA_ONLY_GENERIC)
    static const std::vector<const Isa*> all{&isa_avx512, &isa_avx2, &isa_x86_64_v2};
#else
    static const std::vector<const Isa*> all{&isa_generic};
#endif
    return all;
}

const Isa* find_isa(const std::string& name) {
    for (const Isa* isa : isas()) {
        if (isa->name == name) return isa;
    }
    return nullptr;
}

}  // namespace recurra
