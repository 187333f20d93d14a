// A fixed crew of threads, made once and asleep between calls.
#pragma once

#include <atomic>
#include <functional>

namespace recurra {

// Run work(0) ... work(count - 1), each once, on the caller and at most count - 1 helpers, and wait for all of them.
// The first exception of any is thrown again here. Calls from several threads take turns.
void parallel(int count, const std::function<void(int)>& work);

// How many threads the user wants for a batch; 0: nobody has said.
inline std::atomic<int> chosen_threads{0};

// How many helper threads exist; they are made when first needed and never again.
int helpers() noexcept;

}  // namespace recurra
