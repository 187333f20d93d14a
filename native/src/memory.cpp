#include "recurra/memory.hpp"

#include <cstdlib>
#include <deque>
#include <list>
#include <mutex>
#include <new>
#include <unordered_map>

#if defined(_WIN32)
#include <malloc.h>
#elif defined(__linux__)
#include <sys/mman.h>
#endif

#include "recurra/threads.hpp"

namespace recurra {
namespace {

#if defined(_WIN32)   // whose C library has no aligned_alloc
void* allocate(size_t bytes) { return _aligned_malloc(bytes, 64); }
void release(void* memory) noexcept { _aligned_free(memory); }
#else
// Large blocks ask for large pages: weights that a step reads from one end to the other lie in more small ones than the
// processor remembers.
constexpr size_t kLargePage = size_t(2) << 20;
void* allocate(size_t bytes) {
#if defined(MADV_HUGEPAGE)
    if (bytes >= kLargePage) {
        void* memory = std::aligned_alloc(kLargePage, bytes / kLargePage * kLargePage + (bytes % kLargePage ? kLargePage : 0));
        if (memory) madvise(memory, bytes / kLargePage * kLargePage, MADV_HUGEPAGE);
        return memory;
    }
#endif
    return std::aligned_alloc(64, bytes);
}
void release(void* memory) noexcept { std::free(memory); }
#endif

struct Block {
    size_t bytes;
    void* memory;
};

// Idle blocks, the oldest first, and the places of those of each size in that order. Never destroyed: buffers of other
// static objects may come back when the process ends.
struct Idle {
    std::mutex mutex;
    std::list<Block> blocks;
    std::unordered_map<size_t, std::deque<std::list<Block>::iterator>> of_size;
    size_t bytes = 0;
};
Idle& idle() {
    static Idle* const one = new Idle;
    return *one;
}

std::mutex& guard() { return idle().mutex; }
const bool forks = keep_over_fork<&guard>();

// To lines, and large ones to pages, so that sizes which differ little find each other's memory.
size_t rounded(size_t bytes) {
    const size_t unit = bytes < 4096 ? 64 : 4096;
    return (bytes + unit - 1) / unit * unit;
}

}  // namespace

void* take(size_t bytes) {
    bytes = rounded(bytes);
    {
        std::lock_guard<std::mutex> lock(idle().mutex);
        const auto found = idle().of_size.find(bytes);
        if (found != idle().of_size.end() && !found->second.empty()) {
            const auto block = found->second.back();   // the last one used, for it may still be in a cache
            void* memory = block->memory;
            found->second.pop_back();
            idle().blocks.erase(block);
            idle().bytes -= bytes;
            return memory;
        }
    }
    void* memory = allocate(bytes);
    if (!memory) throw std::bad_alloc();
    return memory;
}

void give_back(void* memory, size_t bytes) noexcept {
    bytes = rounded(bytes);
    std::list<Block> old;
    try {
        std::lock_guard<std::mutex> lock(idle().mutex);
        if (bytes <= kIdleBytes) {
            std::list<Block> own{{bytes, memory}};
            idle().of_size[bytes].push_back(own.begin());
            idle().blocks.splice(idle().blocks.end(), own);
            idle().bytes += bytes;
            memory = nullptr;
        }
        while (idle().bytes > kIdleBytes) {   // sizes that nobody asks for any more make way
            const auto oldest = idle().blocks.begin();
            const auto places = idle().of_size.find(oldest->bytes);
            places->second.pop_front();
            if (places->second.empty()) idle().of_size.erase(places);
            idle().bytes -= oldest->bytes;
            old.splice(old.end(), idle().blocks, oldest);
        }
    } catch (const std::bad_alloc&) {  // no memory for the note of it: let it go
    }
    release(memory);
    for (const Block& block : old) release(block.memory);
}

}  // namespace recurra
