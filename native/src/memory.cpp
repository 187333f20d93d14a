#include "recurra/memory.hpp"

#include <cstdlib>
#include <map>
#include <mutex>
#include <new>

namespace recurra {
namespace {

std::mutex mutex;
std::multimap<size_t, void*> idle;
size_t idle_bytes = 0;

size_t rounded(size_t bytes) { return (bytes + 4095) / 4096 * 4096; }

}  // namespace

void* take(size_t bytes) {
    bytes = rounded(bytes);
    {
        std::lock_guard<std::mutex> lock(mutex);
        const auto found = idle.find(bytes);
        if (found != idle.end()) {
            void* memory = found->second;
            idle.erase(found);
            idle_bytes -= bytes;
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
        std::lock_guard<std::mutex> lock(mutex);
        if (idle_bytes + bytes <= kIdleBytes) {
            idle.emplace(bytes, memory);
            idle_bytes += bytes;
            return;
        }
    } catch (...) {  // no memory for the note of it: let it go
    }
    std::free(memory);
}

}  // namespace recurra
