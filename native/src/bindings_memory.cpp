// Idle memory as tensors of other libraries, by DLPack: what a training step returns is large, and would otherwise be
// paid for in fresh pages every time.

#include "bindings.hpp"

#include "recurra/memory.hpp"

namespace recurra::bindings {
namespace {

// DLPack's DLManagedTensor, whose layout its specification fixes.
struct Managed {
    nb::dlpack::dltensor tensor;
    void* context;
    void (*release)(Managed*);
};

struct Block {
    Managed managed;                // first, so that its address is the block's
    Buffer<char> memory;
    std::vector<int64_t> shape;
};

void release(Managed* managed) { delete reinterpret_cast<Block*>(managed); }

// A DLPack capsule of an array with undefined contents; whoever takes it owns it, and may let it go in any thread.
nb::object block(std::vector<int64_t> shape, bool f32) {
    int64_t bytes = f32 ? sizeof(float) : sizeof(double);
    for (const int64_t width : shape) bytes *= width;
    Block* made = new Block{{}, Buffer<char>(bytes), std::move(shape)};
    const uint8_t bits = f32 ? 32 : 64, floating = static_cast<uint8_t>(nb::dlpack::dtype_code::Float);
    made->managed.tensor = {made->memory.data(), {1, 0}, static_cast<int32_t>(made->shape.size()), {floating, bits, 1},
                            made->shape.data(), nullptr, 0};
    made->managed.release = release;
    PyObject* capsule = PyCapsule_New(made, "dltensor", [](PyObject* unused) {   // renamed by whoever took the array
        if (PyCapsule_IsValid(unused, "dltensor")) release(static_cast<Managed*>(PyCapsule_GetPointer(unused, "dltensor")));
    });
    if (!capsule) {
        release(&made->managed);
        throw nb::python_error();
    }
    return nb::steal(capsule);
}

}  // namespace

void bind_memory(nb::module_& m) { m.def("block", &block, nb::arg("shape"), nb::arg("f32")); }

}  // namespace recurra::bindings
