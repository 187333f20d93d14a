#include "recurra/xla.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <unordered_map>

#include "recurra/threads.hpp"

namespace recurra::xla {
namespace {

struct Failure : std::runtime_error {
    Failure(int code, const std::string& text) : std::runtime_error(text), code(code) {}
    int code;
};

template <class T> size_t size_of(const Tape<T>& tape) {
    size_t count = 0;
    for (const Stash<T>& stash : tape.stashes) {
        count += stash.slots.size();
        for (const auto& state : stash.states) count += state.size();
    }
    return count * sizeof(T);
}

using TapeOwner = std::unique_ptr<AnyTape>;

// Tapes by number, in the order in which they came.
class Tapes {
public:
    uint64_t keep(TapeOwner tape) {
        const size_t size = size_of(tape->f32) + size_of(tape->f64);
        const std::lock_guard<std::mutex> lock(mutex_);
        kept_.emplace(++last_, Kept{std::move(tape), size});
        bytes_ += size;
        make_way();
        return last_;
    }

    // Null: backward has used it already, or it had to make way.
    TapeOwner take(uint64_t number) {
        const std::lock_guard<std::mutex> lock(mutex_);
        const auto found = kept_.find(number);
        if (found == kept_.end()) return nullptr;
        TapeOwner tape = std::move(found->second.tape);
        bytes_ -= found->second.size;
        kept_.erase(found);
        return tape;
    }

    void bound(size_t bytes) {
        const std::lock_guard<std::mutex> lock(mutex_);
        most_ = bytes;
        make_way();
    }

    size_t bytes() {
        const std::lock_guard<std::mutex> lock(mutex_);
        return bytes_;
    }

    std::mutex& mutex() { return mutex_; }

private:
    struct Kept {
        TapeOwner tape;
        size_t size;
    };

    void make_way() {
        while (bytes_ > most_ && kept_.size() > 1) {
            bytes_ -= kept_.begin()->second.size;
            kept_.erase(kept_.begin());
        }
    }

    std::mutex mutex_;
    std::map<uint64_t, Kept> kept_;
    uint64_t last_ = 0;
    size_t bytes_ = 0, most_ = size_t(256) << 20;
};

struct Sites {
    std::shared_mutex mutex;
    std::unordered_map<int64_t, const Site> all;   // never removed: a program may be called at any time
};

// Never destroyed: a program may still run when the process ends.
Tapes& tapes() {
    static Tapes* const one = new Tapes;
    return *one;
}
Sites& sites() {
    static Sites* const one = new Sites;
    return *one;
}
std::mutex& guard_of_tapes() { return tapes().mutex(); }
std::shared_mutex& guard_of_sites() { return sites().mutex; }
const bool forks = keep_over_fork<&guard_of_tapes>() && keep_over_fork<&guard_of_sites>();

const Site& site(int64_t number) {
    const std::shared_lock<std::shared_mutex> lock(sites().mutex);
    const auto found = sites().all.find(number);
    if (found == sites().all.end()) {
        throw Failure(kNotFound, "a program calls Recurra's site " + std::to_string(number) +
            ", which this process does not know, expected one that was traced here: trace the program again");
    }
    return found->second;
}

// A call of a program, taken apart.
class Run {
public:
    Run(const Site& site, const Frame& frame) : site_(site), arguments_(frame.arguments), results_(frame.results) {
        const int64_t given = count(site.tensors, site.incoming) + site.backward, made = count(site.results, {}) + site.keep;
        if (arguments_.count != given || results_.count != made) {
            throw Failure(kInvalidArgument, site.name + ": the program has " + std::to_string(arguments_.count) +
                " arguments and " + std::to_string(results_.count) + " results, expected " + std::to_string(given) +
                " and " + std::to_string(made) + ": trace it again");
        }
        tensors_ = addresses(site.tensors, arguments_);
        read_lengths();
    }

    void forward() {
        TapeOwner tape(site_.keep ? new AnyTape : nullptr);
        site_.call.forward(tensors_, addresses(site_.results, results_), threads(), tape.get());
        if (!tape) return;
        const uint64_t number = tapes().keep(std::move(tape));
        std::memcpy(results_.at[results_.count - 1]->data, &number, sizeof number);
    }

    void backward() {
        uint64_t number;
        std::memcpy(&number, arguments_.at[arguments_.count - 1]->data, sizeof number);
        TapeOwner tape = tapes().take(number);
        if (!tape) {
            tape.reset(new AnyTape);
            site_.call.forward(tensors_, {0}, threads(), tape.get());
        }
        site_.call.backward(tensors_, addresses(site_.incoming, arguments_), addresses(site_.results, results_), *tape);
    }

private:
    static int64_t count(const std::vector<int>& a, const std::vector<int>& b) {
        int last = -1;
        for (const auto* indices : {&a, &b}) {
            for (const int index : *indices) last = std::max(last, index);
        }
        return last + 1;
    }

    static Addresses addresses(const std::vector<int>& indices, const Buffers& buffers) {
        Addresses all;
        for (const int index : indices) all.push_back(index < 0 ? 0 : reinterpret_cast<uintptr_t>(buffers.at[index]->data));
        return all;
    }

    // As the engine takes them; JAX has 32 bits unless it is told otherwise.
    void read_lengths() {
        const int index = site_.tensors[site_.tensors.size() - 2];
        if (index < 0) return;
        const Buffer& buffer = *arguments_.at[index];
        const int64_t rows = site_.call.rows(), steps = site_.call.steps();
        for (int64_t r = 0; r < rows; ++r) {
            lengths_.push_back(buffer.dtype == kInt32 ? static_cast<const int32_t*>(buffer.data)[r]
                                                      : static_cast<const int64_t*>(buffer.data)[r]);
        }
        const auto [least, most] = std::minmax_element(lengths_.begin(), lengths_.end());
        if (rows > 0 && (*least < 0 || *most > steps)) {
            throw Failure(kInvalidArgument, site_.name + ": `lengths` go from " + std::to_string(*least) + " to " +
                std::to_string(*most) + ", expected 0 to " + std::to_string(steps) + ", the steps of x");
        }
        tensors_[site_.tensors.size() - 2] = reinterpret_cast<uintptr_t>(lengths_.data());
    }

    int threads() const {
        const int chosen = chosen_threads;
        return site_.call.rows() < 2 ? 1 : chosen ? chosen : site_.threads;
    }

    const Site& site_;
    const Buffers &arguments_, &results_;
    Addresses tensors_;
    std::vector<int64_t> lengths_;
};

void execute(const Frame& frame) {
    const Site& found = site(*static_cast<const int64_t*>(frame.attributes.at[0]->value));
    try {
        Run run(found, frame);
        found.backward ? run.backward() : run.forward();
    } catch (const std::bad_alloc&) {
        throw Failure(kInternal, found.name + ": memory is exhausted, expected room for its tape: use smaller batches");
    }
}

Error* error(const Frame& frame, int code, const char* text) noexcept {
    ErrorArguments arguments{sizeof(ErrorArguments), nullptr, text, code};
    return frame.api->make_error(&arguments);
}

}  // namespace

void add(int64_t number, Site site) {
    const std::unique_lock<std::shared_mutex> lock(sites().mutex);
    sites().all.emplace(number, std::move(site));
}

bool knows(int64_t number) {
    const std::shared_lock<std::shared_mutex> lock(sites().mutex);
    return sites().all.count(number) > 0;
}

void bound_tapes(size_t bytes) { tapes().bound(bytes); }

size_t waiting_bytes() { return tapes().bytes(); }

Error* handle(Frame* frame) noexcept {
    for (Extension* e = frame->extension; e; e = e->next) {
        if (e->kind != kMetadata) continue;
        Version& version = reinterpret_cast<MetadataExtension*>(e)->metadata->version;
        version.major = kMajor;
        version.minor = kMinor;
        return nullptr;
    }
    if (frame->stage != kExecute) return nullptr;
    try {
        execute(*frame);
        return nullptr;
    } catch (const Failure& failure) {
        return error(*frame, failure.code, failure.what());
    } catch (const std::exception& other) {
        return error(*frame, kInternal, other.what());
    }
}

}  // namespace recurra::xla
