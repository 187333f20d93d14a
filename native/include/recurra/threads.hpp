// A fixed crew of threads, made once and asleep between calls.
#pragma once

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <new>
#include <thread>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace recurra {

// Run work(0) ... work(count - 1), each once, on the caller and at most count - 1 helpers, and wait for all of them.
// The first exception of any is thrown again here. Calls from several threads take turns.
void parallel(int count, const std::function<void(int)>& work);

// How many threads the user wants for a batch; 0: nobody has said.
inline std::atomic<int> chosen_threads{0};

// How many helper threads exist; they are made when first needed and never again.
int helpers() noexcept;

// From now on nobody holds the lock that `lock_of` gives, which is never destroyed, while the process is copied by fork():
// what it guards is whole in the child, and the child's lock is free.
template <auto lock_of> bool keep_over_fork() {
#if defined(__unix__) || defined(__APPLE__)
    using Lock = std::remove_reference_t<decltype(lock_of())>;
    pthread_atfork([] { lock_of().lock(); }, [] { lock_of().unlock(); }, [] { new (&lock_of()) Lock; });
#endif
    return true;
}

// A call was asked to end; nothing that it was to give is there.
struct Interrupted : std::exception {
    const char* what() const noexcept override { return "interrupted"; }
};

// Set in a thread that makes long calls, where somebody can ask it to end them: whether they have.
inline thread_local bool (*asked_to_end)() = nullptr;

// One long call, from whose chunks of work, in any thread, `look` is called.
class Interruptible {
public:
    // Whether the thread that made this is asked to end, which it finds out ten times a second.
    bool ends() {
        if (ended_.load(std::memory_order_relaxed)) return true;
        if (!asked_to_end || std::this_thread::get_id() != caller_) return false;
        const auto now = std::chrono::steady_clock::now();
        if (now < next_) return false;
        next_ = now + kPause;
        if (asked_to_end()) ended_ = true;
        return ended_;
    }

    // Throws Interrupted where it is.
    void look() {
        if (ends()) throw Interrupted();
    }

private:
    static constexpr std::chrono::milliseconds kPause{100};
    const std::thread::id caller_ = std::this_thread::get_id();
    std::chrono::steady_clock::time_point next_ = std::chrono::steady_clock::now() + kPause;
    std::atomic<bool> ended_{false};
};

}  // namespace recurra
