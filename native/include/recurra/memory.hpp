// Scratch memory that outlives a call, so that training does not pay for fresh pages in every step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "recurra/check.hpp"

namespace recurra {

// At most this many bytes wait for their next use; beyond it, the oldest go back to the system.
constexpr size_t kIdleBytes = size_t(64) << 20;

void* take(size_t bytes);                        // aligned to a cache line, contents undefined; throws std::bad_alloc
void give_back(void* memory, size_t bytes) noexcept;

// An owned array of trivial values, taken from the idle memory. Contents are undefined until written. Throws std::bad_alloc.
template <class T> class Buffer {
public:
    Buffer() = default;
    explicit Buffer(int64_t size) : size_(times(size, 1)), data_(size ? static_cast<T*>(take(size * sizeof(T))) : nullptr) {}
    Buffer(Buffer&& other) noexcept : size_(std::exchange(other.size_, 0)), data_(std::exchange(other.data_, nullptr)) {}
    Buffer& operator=(Buffer&& other) noexcept {
        std::swap(size_, other.size_);
        std::swap(data_, other.data_);
        return *this;
    }
    ~Buffer() {
        if (data_) give_back(data_, size_ * sizeof(T));
    }
    T* data() const { return data_; }
    int64_t size() const { return size_; }
    T& operator[](int64_t i) const { return data_[i]; }

private:
    int64_t size_ = 0;
    T* data_ = nullptr;
};

}  // namespace recurra
