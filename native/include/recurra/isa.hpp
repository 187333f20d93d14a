// The instruction sets that this build has kernels for, and the one in use.
#pragma once

#include <string>
#include <vector>

#include "recurra/elementwise.hpp"
#include "recurra/product.hpp"
#include "recurra/tile.hpp"

namespace recurra {

struct Isa {
    const char* name;
    bool (*available)();
    const bool* ran;                 // whether one of its product kernels has run in this process
    const Kernels<float>* f32;
    const Kernels<double>* f64;
    const Routines<float>* zoo_f32;
    const Routines<double>* zoo_f64;
    const Elementwise* elementwise;

    template <class T> const Kernels<T>* kernels() const;
    template <class T> const Routines<T>* zoo() const;
};

template <> inline const Kernels<float>* Isa::kernels<float>() const { return f32; }
template <> inline const Kernels<double>* Isa::kernels<double>() const { return f64; }
template <> inline const Routines<float>* Isa::zoo<float>() const { return zoo_f32; }
template <> inline const Routines<double>* Isa::zoo<double>() const { return zoo_f64; }

// Every ISA of this build, the best first.
const std::vector<const Isa*>& isas();

// The ISA of that name, or null.
const Isa* find_isa(const std::string& name);

}  // namespace recurra
