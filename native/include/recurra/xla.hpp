// The engine as a target of XLA's foreign function interface: compiled programs call it on their own buffers, without
// Python. A program carries the number of a site, which says what to run, and from forward to backward the number of a
// tape, which stays here.
#pragma once

#include <string>
#include <vector>

#include "recurra/call.hpp"
#include "recurra/xla_interface.hpp"

namespace recurra::xla {

// A place in a program. Each address of `call` is that of an argument or of a result, given by its index; -1: not there.
//
// Forward: arguments are `tensors`, results are `results` and, with `keep`, last the number of the tape.
// Backward: arguments are `tensors`, `incoming` and last the number of the tape, results are `results`.
struct Site {
    std::string name;                // for errors
    Call call;
    bool backward, keep;
    std::vector<int> tensors, incoming, results;
    int threads;                     // unless the user has chosen
};

void add(int64_t number, Site site);
bool knows(int64_t number);

// At most so many bytes of tapes, or one tape, wait for backward: the oldest make way, and backward runs forward again.
void bound_tapes(size_t bytes);

// How many bytes of tapes wait.
size_t waiting_bytes();

// What XLA calls. Null, or an error that XLA owns.
Error* handle(Frame* frame) noexcept;

}  // namespace recurra::xla
