#include "recurra/memory.hpp"

#include <cstdlib>
#include <map>
#include <mutex>
#include <new>

namespace recurra {
namespace {

// Never destroyed: buffers of other static objects may come back when the process ends.
struct Idle {
    std::mutex mutex;
    std::multimap<size_t, void*> memory;
    size_t bytes = 0;
};
Idle& idle() {
    static Idle* const one = new Idle;
    return *one;
}

size_t rounded(size_t bytes) { return (bytes + 4095) / 4096 * 4096; }

}  // namespace

void* take(size_t bytes) {
    bytes = rounded(bytes);
    {
        std::lock_guard<std::mutex> lock(idle().mutex);
        const auto found = idle().memory.find(bytes);
        if (found != idle().memory.end()) {
            void* memory = found->second;
            idle().memory.erase(found);
            idle().bytes -= bytes;
            return memory;
        }
    }
    void* memory = std::aligned_alloc(64, bytes);
    if (!memory) throw std::bad_alloc();
    return memory;
}

void give_back(void* memory, size_t bytes) noexcept {
    bytes = rounded(bytes);
    try {
        std::lock_guard<std::mutex> lock(idle().mutex);
        if (idle().bytes + bytes <= kIdleBytes) {
            idle().memory.emplace(bytes, memory);
            idle().bytes += bytes;
            return;
        }
    } catch (...) {  // no memory for the note of it: let it go
    }
    std::free(memory);
}

}  // namespace recurra
