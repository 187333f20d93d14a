#include "recurra/threads.hpp"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace recurra {
namespace {

struct Crew {
    std::mutex turn;                 // one call at a time
    std::mutex mutex;                // guards everything below
    std::condition_variable called, finished;
    std::vector<std::thread> threads;
    const std::function<void(int)>* work = nullptr;
    int next = 0, count = 0, busy = 0;
    std::exception_ptr error;

    void serve() {
        std::unique_lock<std::mutex> lock(mutex);
        for (;;) {
            called.wait(lock, [&] { return next < count; });
            run(lock);
        }
    }

    // Take and do pieces until none is left. The lock is held on entry and on return.
    void run(std::unique_lock<std::mutex>& lock) {
        while (next < count) {
            const int mine = next++;
            const auto* todo = work;
            ++busy;
            lock.unlock();
            std::exception_ptr failed;
            try {
                (*todo)(mine);
            } catch (...) {
                failed = std::current_exception();
            }
            lock.lock();
            if (failed && !error) error = failed;
            if (--busy == 0 && next == count) finished.notify_all();
        }
    }
};

std::atomic<Crew*> crew{nullptr};
std::mutex making;

Crew& the_crew() {
    std::lock_guard<std::mutex> lock(making);
    if (!crew) {
        crew = new Crew;  // never destroyed: its threads sleep until the process ends
#if defined(__unix__) || defined(__APPLE__)
        static const int registered = pthread_atfork(nullptr, nullptr, [] {
            crew = nullptr;  // a forked child has none of the threads; it makes its own crew
            new (&making) std::mutex;
        });
        (void)registered;
#endif
    }
    return *crew;
}

}  // namespace

void parallel(int count, const std::function<void(int)>& work) {
    if (count <= 1) {
        if (count == 1) work(0);
        return;
    }
    Crew& c = the_crew();
    std::lock_guard<std::mutex> turn(c.turn);
    std::unique_lock<std::mutex> lock(c.mutex);
    while (static_cast<int>(c.threads.size()) < count - 1) {
        c.threads.emplace_back([&c] { c.serve(); });
    }
    c.work = &work;
    c.next = 0;
    c.count = count;
    c.error = nullptr;
    for (int i = 1; i < count; ++i) c.called.notify_one();   // the others of the crew sleep on
    c.run(lock);
    c.finished.wait(lock, [&] { return c.busy == 0 && c.next == c.count; });
    if (c.error) std::rethrow_exception(c.error);
}

int helpers() noexcept {
    Crew* c = crew;
    return c ? static_cast<int>(c->threads.size()) : 0;
}

}  // namespace recurra
