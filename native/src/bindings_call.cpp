// A cell at fixed sizes on arrays given by their addresses: called by Python, for tensors hand out addresses much faster
// than arrays, and by XLA.

#include <nanobind/stl/string.h>

#include "bindings.hpp"
#include "recurra/threads.hpp"
#include "recurra/xla.hpp"

namespace recurra::bindings {

using namespace nb::literals;

void bind_call(nb::module_& m) {
    m.def("choose_threads", [](int count) { chosen_threads = count; }, "count"_a);
    m.def("chosen_threads", [] { return chosen_threads.load(); });

    const nb::call_guard<LongCall> released;
    nb::class_<Call>(m, "Call")
        .def(nb::init<const Kernel&, bool, int64_t, int64_t, int64_t, int64_t, int64_t, bool, int64_t>())
        .def("forward", &Call::forward, released, "tensors"_a, "results"_a, "threads"_a, "tape"_a.none())
        .def("backward", &Call::backward, released);

    m.def("xla_handler", [] { return nb::capsule(reinterpret_cast<const void*>(&xla::handle), "xla._CUSTOM_CALL_TARGET"); });
    m.def("xla_knows", &xla::knows, "number"_a);
    m.def("xla_add", [](int64_t number, const std::string& name, const Call& call, bool backward, bool keep, std::vector<int> tensors,
                        std::vector<int> incoming, std::vector<int> results, int threads) {
        xla::add(number, {name, call, backward, keep, std::move(tensors), std::move(incoming), std::move(results), threads});
    }, "number"_a, "name"_a, "call"_a, "backward"_a, "keep"_a, "tensors"_a, "incoming"_a, "results"_a, "threads"_a);
    m.def("xla_bound_tapes", &xla::bound_tapes, "most"_a);
    m.def("xla_waiting_bytes", &xla::waiting_bytes);
}

}  // namespace recurra::bindings
