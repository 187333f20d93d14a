// Networks and their sessions in the Python module. A step uses NumPy's own interface, because a general array argument
// costs more than a small step. What does not fit is left to Python, which knows how to say so.

#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include "bindings.hpp"

#include <nanobind/stl/string.h>

#include <numpy/arrayobject.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "recurra/network.hpp"
#include "recurra/recurrence.hpp"
#include "activations.hpp"

namespace recurra::bindings {
namespace {

using namespace nb::literals;

// A network, and the scratch memory of steps of one row, which share it because they hold Python's lock.
struct SharedNetwork {
    SharedNetwork(const std::string& isa, int64_t row, int64_t first) : network(known(isa), row, first) {}
    explicit SharedNetwork(Network made) : network(std::move(made)) {}
    SharedNetwork(const SharedNetwork&) = delete;

    static const Isa& known(const std::string& name) {
        const Isa* isa = find_isa(name);
        expect(isa && isa->available(), "this machine has no such instruction set");
        return *isa;
    }

    Network network;
    std::unique_ptr<Workspace> single, many;
    uint64_t calls = 0;   // of step_many
    bool whole = false;   // once it has a session, no op is added

    Workspace& of_one_row() {
        if (!single) single = std::make_unique<Workspace>(network, 1, 1);
        return *single;
    }
};

// Rows of a block of step_many: enough for the products to run at full speed, few enough for the second-level cache.
int64_t block_of(const Network& network) { return std::min<int64_t>(96, network.at_once()); }

// A live state. `dimensions`: 2 for rows of vectors, 1 for the vectors of a single row.
struct Session {
    Session(nb::object owner, int64_t rows, int dimensions)
        : shared(nb::cast<SharedNetwork*>(owner)), keep(std::move(owner)), rows(rows), dimensions(dimensions),
          states(shared->network.states(), rows) {
        expect(rows > 0 && (dimensions == 2 || (dimensions == 1 && rows == 1)), "a session has no row, or more than its dimensions");
        shared->whole = true;
        if (rows > 1) own = std::make_unique<Workspace>(shared->network, rows, rows);
    }
    Session(const Session&) = delete;

    SharedNetwork* shared;
    nb::object keep;
    int64_t rows;
    int dimensions;
    States states;
    std::unique_ptr<Workspace> own;
    uint64_t call = 0;    // the last step_many that has seen this session

    Workspace& scratch() { return own ? *own : shared->of_one_row(); }
};

PyArrayObject* as_array(PyObject* o) { return reinterpret_cast<PyArrayObject*>(o); }

bool is_plain(PyObject* o, int type, int dimensions) {
    PyArrayObject* a = as_array(o);
    return PyArray_Check(o) && PyArray_TYPE(a) == type && PyArray_NDIM(a) == dimensions && PyArray_IS_C_CONTIGUOUS(a) &&
           PyArray_ISALIGNED(a) && PyArray_ISNOTSWAPPED(a);
}

bool ids_fit(const int64_t* ids, int64_t count, int64_t vocabulary) {
    for (int64_t i = 0; i < count; ++i) {
        if (ids[i] < 0 || ids[i] >= vocabulary) return false;
    }
    return true;
}

// The memory of one step's input, or null where x does not fit. `id` holds a single id given as a number.
const void* input_of(const Network& network, PyObject* x, int64_t rows, int dimensions, int64_t* id) {
    if (network.vocabulary()) {
        const void* ids = id;
        if (dimensions == 1 && !PyArray_Check(x) && PyIndex_Check(x)) {
            *id = PyNumber_AsSsize_t(x, nullptr);
            if (*id == -1 && PyErr_Occurred()) PyErr_Clear();
        } else {
            if (!is_plain(x, NPY_INT64, dimensions - 1) || (dimensions == 2 && PyArray_DIMS(as_array(x))[0] != rows)) return nullptr;
            ids = PyArray_DATA(as_array(x));
        }
        return ids_fit(static_cast<const int64_t*>(ids), rows, network.vocabulary()) ? ids : nullptr;
    }
    if (!is_plain(x, NPY_FLOAT32, dimensions)) return nullptr;
    const npy_intp* shape = PyArray_DIMS(as_array(x));
    if (shape[dimensions - 1] != network.input() || (dimensions == 2 && shape[0] != rows)) return nullptr;
    const void* row = PyArray_DATA(as_array(x));
    return network.ids_fit(static_cast<const float*>(row), rows) ? row : nullptr;
}

bool output_fits(const Network& network, PyObject* out, int64_t rows, int dimensions) {
    if (!is_plain(out, NPY_FLOAT32, dimensions) || !PyArray_ISWRITEABLE(as_array(out))) return false;
    const npy_intp* shape = PyArray_DIMS(as_array(out));
    return shape[dimensions - 1] == network.output() && (dimensions == 1 || shape[0] == rows);
}

PyObject* new_output(const Network& network, int64_t rows, int dimensions) {
    npy_intp shape[2] = {rows, network.output()};
    return PyArray_SimpleNew(dimensions, shape + 2 - dimensions, NPY_FLOAT32);
}

// Not implemented: something does not fit, and nothing was done. None: the network does not answer at this step.
PyObject* step(Session& session, PyObject* x, PyObject* out) {
    const Network& network = session.shared->network;
    int64_t id;
    const void* in = input_of(network, x, session.rows, session.dimensions, &id);
    const bool given = out != Py_None;
    if (!in || !network.streams() || (given && !output_fits(network, out, session.rows, session.dimensions))) {
        return Py_NewRef(Py_NotImplemented);
    }
    PyObject* result = given ? Py_NewRef(out) : new_output(network, session.rows, session.dimensions);
    if (!result) return nullptr;
    float* to = static_cast<float*>(PyArray_DATA(as_array(result)));
    if (network.run(in, 1, session.rows, session.states, session.scratch(), to)) return result;
    Py_DECREF(result);
    Py_RETURN_NONE;
}

// The memory of x and of out where they are rows [count, width] (width 0: ids [count]) and answers, by whatever more
// dimensions; throws std::invalid_argument where they are not.
std::pair<const void*, float*> memory_of(const Network& network, nb::handle x, nb::handle out, int64_t rows, int64_t answers) {
    PyArrayObject *from = as_array(x.ptr()), *to = as_array(out.ptr());
    const bool ids = network.vocabulary() > 0;
    expect(PyArray_Check(x.ptr()) && is_plain(x.ptr(), ids ? NPY_INT64 : NPY_FLOAT32, PyArray_NDIM(from)), "x is another array");
    expect(PyArray_SIZE(from) == (ids ? rows : times(rows, network.input())), "x has another size");
    expect(!ids || ids_fit(static_cast<const int64_t*>(PyArray_DATA(from)), rows, network.vocabulary()), "x has an unknown number");
    expect(ids || network.ids_fit(static_cast<const float*>(PyArray_DATA(from)), rows), "x has an unknown number");
    expect(PyArray_Check(out.ptr()) && is_plain(out.ptr(), NPY_FLOAT32, PyArray_NDIM(to)) && PyArray_ISWRITEABLE(to), "out is another array");
    expect(PyArray_SIZE(to) == times(answers, network.output()), "out has another size");
    return {PyArray_DATA(from), static_cast<float*>(PyArray_DATA(to))};
}

// x is [T, rows, I] (or ids [T, rows]), out [answers, rows, O]. Where the call is asked to end, the states are as they were.
void run(Session& session, nb::handle x, nb::handle out) {
    const Network& network = session.shared->network;
    expect(PyArray_Check(x.ptr()) && PyArray_NDIM(as_array(x.ptr())) > 0, "x is no array of steps");
    const int64_t steps = PyArray_DIMS(as_array(x.ptr()))[0], rows = session.rows, positions = times(steps, rows);
    auto [in, to] = memory_of(network, x, out, positions, times(network.answers(session.states.now(), steps), rows));
    Workspace scratch(network, rows, std::min(positions, network.at_once()));
    const States before = session.states.copy();
    const LongCall call;
    Interruptible ends;
    try {
        network.run_long(in, steps, rows, session.states, scratch, ends, to);
    } catch (...) {
        session.states = before.copy();
        throw;
    }
}

// The sessions of a list, each once and of one row of this network; `bad` is the index of the first that is not, or -1.
std::vector<Session*> each_once(SharedNetwork& shared, const nb::list& sessions, int64_t& bad) {
    const int64_t count = static_cast<int64_t>(nb::len(sessions));
    std::vector<Session*> found(count);
    ++shared.calls;
    PyTypeObject* known = nullptr;   // the last type that was found to be a session's
    for (bad = 0; bad < count; ++bad) {
        const nb::handle item = PyList_GetItem(sessions.ptr(), bad);
        if (bad + kAhead < count) {
            const char* later = reinterpret_cast<const char*>(PyList_GetItem(sessions.ptr(), bad + kAhead));
            for (size_t byte = 0; byte < sizeof(Session); byte += 64) __builtin_prefetch(later + byte, 1);
        }
        if (Py_TYPE(item.ptr()) != known && !nb::isinstance<Session>(item)) return found;
        if (!nb::inst_ready(item)) return found;
        known = Py_TYPE(item.ptr());
        Session& session = *nb::inst_ptr<Session>(item);
        if (session.shared != &shared || session.dimensions != 1 || session.call == shared.calls) return found;
        session.call = shared.calls;
        found[bad] = &session;
    }
    bad = -1;
    return found;
}

std::vector<RowStates> rows_of(const std::vector<Session*>& sessions) {
    std::vector<RowStates> rows;
    rows.reserve(sessions.size());
    for (const Session* session : sessions) rows.push_back(session->states.row());
    return rows;
}

Workspace& of_many(SharedNetwork& shared) {
    const int64_t block = block_of(shared.network);
    if (!shared.many) shared.many = std::make_unique<Workspace>(shared.network, block, block);
    return *shared.many;
}

bool unknown_id(const Network& network, nb::handle x) {
    return network.vocabulary() && is_plain(x.ptr(), NPY_INT64, 1) &&
           !ids_fit(static_cast<const int64_t*>(PyArray_DATA(as_array(x.ptr()))), PyArray_SIZE(as_array(x.ptr())), network.vocabulary());
}

// x is [N, I] (or ids [N]), out [N, O]. Returns -1, or the index of the first session that cannot take part (N: an id is
// unknown), and then nothing was done.
int64_t step_many(nb::handle self, nb::list sessions, nb::handle x, nb::handle out) {
    SharedNetwork& shared = *nb::cast<SharedNetwork*>(self);
    int64_t bad;
    const std::vector<Session*> found = each_once(shared, sessions, bad);
    const int64_t count = static_cast<int64_t>(found.size());
    if (bad >= 0) return bad;
    if (unknown_id(shared.network, x)) return count;
    const auto [in, to] = memory_of(shared.network, x, out, count, count);
    shared.network.step_apart(in, rows_of(found).data(), count, of_many(shared), to);
    return -1;
}

// steps[i] steps of each session, one session's after another's: x [sum of steps, I] (or ids), out [sum of steps, O], NaN
// where there is no answer. Returns as step_many.
int64_t run_many(nb::handle self, nb::list sessions, const std::vector<int64_t>& steps, nb::handle x, nb::handle out) {
    SharedNetwork& shared = *nb::cast<SharedNetwork*>(self);
    const Network& network = shared.network;
    int64_t bad, total = 0;
    const std::vector<Session*> found = each_once(shared, sessions, bad);
    if (bad >= 0) return bad;
    expect(steps.size() == found.size(), "there are more or fewer sessions than counts of steps");
    const int64_t most = PyArray_Check(x.ptr()) ? PyArray_SIZE(as_array(x.ptr())) : 0;
    for (const int64_t n : steps) {
        expect(n >= 0 && n <= most - total, "a session has steps that are not in x");
        total += n;
    }
    if (unknown_id(network, x)) return static_cast<int64_t>(found.size());
    auto [in, to] = memory_of(network, x, out, total, total);
    if (network.stride() == 1) {
        network.run_apart(in, steps.data(), rows_of(found).data(), static_cast<int64_t>(found.size()), of_many(shared), to);
        return -1;
    }
    const char* at = static_cast<const char*>(in);
    for (size_t i = 0; i < found.size(); ++i) {
        for (int64_t t = 0; t < steps[i]; ++t, at += network.row_bytes(), to += network.output()) {
            if (!network.run(at, 1, 1, found[i]->states, shared.of_one_row(), to)) std::fill(to, to + network.output(), std::nanf(""));
        }
    }
    return -1;
}

// Calls each(state, in the array, bytes) for a session's states and as many arrays [rows, width].
template <class A, class Each> void each_state(Session& session, const std::vector<A>& arrays, Each each) {
    const std::vector<StateSpec>& specs = session.shared->network.states();
    expect(arrays.size() == specs.size() || (arrays.empty() && !session.shared->network.streams()), "there are more or fewer arrays than states");
    std::vector<decltype(pointer<float>(arrays[0], 0))> at;
    for (size_t k = 0; k < arrays.size(); ++k) at.push_back(pointer<float>(arrays[k], times(session.rows, specs[k].width)));
    for (size_t k = 0; k < at.size(); ++k) each(session.states.now()[k], at[k], session.rows * specs[k].width * sizeof(float));
}

void read(Session& session, const std::vector<Result>& to) {
    each_state(session, to, [](const float* state, float* array, size_t bytes) { std::memcpy(array, state, bytes); });
}

void write(Session& session, const std::vector<Array>& from) {
    each_state(session, from, [](float* state, const float* array, size_t bytes) { std::memcpy(state, array, bytes); });
}

// Calls each(state, bytes before it, bytes of it) for the states of a session; returns the bytes of all.
template <class Each> size_t each_in_line(Session& session, Each each) {
    const std::vector<StateSpec>& specs = session.shared->network.states();
    size_t at = 0;
    for (size_t k = 0; k < specs.size(); ++k) {
        const size_t bytes = session.rows * specs[k].width * sizeof(float);
        each(session.states.now()[k], at, bytes);
        at += bytes;
    }
    return at;
}

// All states, one after the other, [rows, width] each.
nb::bytes to_bytes(Session& session) {
    nb::bytes all(nullptr, each_in_line(session, [](float*, size_t, size_t) {}));
    char* to = PyBytes_AsString(all.ptr());
    each_in_line(session, [to](const float* state, size_t at, size_t bytes) { std::memcpy(to + at, state, bytes); });
    return all;
}

void from_bytes(Session& session, nb::bytes all) {
    expect(all.size() == each_in_line(session, [](float*, size_t, size_t) {}), "there are more or fewer bytes than states");
    each_in_line(session, [&](float* state, size_t at, size_t bytes) { std::memcpy(state, all.c_str() + at, bytes); });
}

void read_one(Session& session, size_t state, const Result& to) {
    const std::vector<StateSpec>& specs = session.shared->network.states();
    expect(state < specs.size(), "there is no such state");
    const int64_t count = session.rows * specs[state].width;
    std::memcpy(pointer<float>(to, count), session.states.now()[state], count * sizeof(float));
}

// Row r of some states becomes what row order[r] was.
void take(Session& session, const std::vector<int64_t>& order, const std::vector<size_t>& which) {
    const std::vector<StateSpec>& specs = session.shared->network.states();
    expect(static_cast<int64_t>(order.size()) == session.rows, "an order has other rows than its session");
    for (const int64_t r : order) expect(r >= 0 && r < session.rows, "a row of an order is none of the session");
    for (const size_t k : which) expect(k < specs.size(), "there is no such state");
    for (const size_t k : which) {
        float* const now = session.states.now()[k];
        const int64_t width = specs[k].width;
        const std::vector<float> before(now, now + session.rows * width);
        for (int64_t r = 0; r < session.rows; ++r) std::memcpy(now + r * width, before.data() + order[r] * width, width * sizeof(float));
    }
}

Tensor tensor_of(const Maybe<Array>& array) {
    if (!array) return {};
    Tensor tensor{pointer<float>(*array, static_cast<int64_t>(array->size()))};
    for (size_t i = 0; i < array->ndim(); ++i) tensor.shape.push_back(array->shape(i));
    return tensor;
}

}  // namespace

void bind_network(nb::module_& m) {
    if (_import_array() < 0) throw nb::python_error();
    m.attr("activations") = [] {
        nb::dict all;
        int i = 0;
        for (const char* name : activation_names) all[name] = i++;
        return all;
    }();

    nb::class_<SharedNetwork>(m, "Network")
        .def(nb::init<const std::string&, int64_t, int64_t>(), "isa"_a, "row"_a, "first"_a)
        .def("add", [](SharedNetwork& n, const std::string& name, const std::vector<Maybe<Array>>& arrays,
                       const std::vector<double>& numbers, int64_t width) {
            expect(!n.whole, "a network with sessions takes no more ops");
            std::vector<Tensor> tensors;
            for (const Maybe<Array>& array : arrays) tensors.push_back(tensor_of(array));
            const MakeOp make = find_op(name);
            if (!make) throw nb::key_error(name.c_str());
            n.network.add(make({n.network.isa(), tensors, numbers, width, n.network.input()}));
        }, "name"_a, "arrays"_a, "numbers"_a, "width"_a)
        .def("add_recurrent", [](SharedNetwork& n, const Kernel& kernel, const std::vector<const WeightArrays*>& weights, int64_t hidden,
                                 const std::vector<std::vector<Array>>& initial) {
            expect(!n.whole, "a network with sessions takes no more ops");
            expect(initial.size() == weights.size(), "there are more or fewer initial states than directions");
            std::vector<std::unique_ptr<Recurrence>> directions;
            for (size_t d = 0; d < weights.size(); ++d) {
                const Cell<float> cell = weights[d]->cell<float>(kernel, hidden);
                directions.push_back(std::make_unique<Recurrence>(cell, weights_of(cell, *weights[d]), of_states(cell, initial[d], 1)));
            }
            n.network.add(recurrent(std::move(directions)));
        })
        .def("branch", [](const SharedNetwork& n, int64_t first) { return new SharedNetwork(n.network.branch(first)); }, "first"_a)
        .def("add_branches", [](SharedNetwork& n, const std::vector<const SharedNetwork*>& chains, int how, int64_t width) {
            expect(!n.whole, "a network with sessions takes no more ops");
            std::vector<const Network*> networks;
            for (const SharedNetwork* chain : chains) networks.push_back(&chain->network);
            n.network.add(branches(networks, how, width));
        }, "chains"_a, "how"_a, "width"_a)
        .def("add_fields", [](SharedNetwork& n, const Kernel& kernel, const WeightArrays& weights, int64_t size, int64_t width) {
            expect(!n.whole, "a network with sessions takes no more ops");
            const Cell<float> cell = weights.cell<float>(kernel, size);
            n.network.add(fields(cell, weights_of(cell, weights), width));
        })
        .def("step_many", &step_many, "sessions"_a, "x"_a, "out"_a)
        .def("run_many", &run_many, "sessions"_a, "steps"_a, "x"_a, "out"_a);

    nb::class_<Session>(m, "Session")
        .def(nb::init<nb::object, int64_t, int>(), "network"_a, "rows"_a, "dimensions"_a)
        .def("step", [](Session& session, nb::handle x, nb::handle out) -> nb::object {
            PyObject* result = step(session, x.ptr(), out.ptr());
            if (result == Py_NotImplemented) {   // the Python class has a method that says what is wrong
                Py_DECREF(result);
                return nb::find(session).attr("_refuse")(x, out);
            }
            return nb::steal(result);
        }, "x"_a.none(), "out"_a.none() = nb::none())
        .def("_run", &run, "x"_a, "out"_a)
        .def("_answers", [](Session& session, int64_t steps) { return session.shared->network.answers(session.states.now(), steps); })
        .def("reset", [](Session& session) { session.states.clear(); })
        .def("to_bytes", &to_bytes, "All states as bytes: float32, one after the other, [rows, width] each.")
        .def("_from_bytes", &from_bytes, "states"_a)
        .def("_read", &read)
        .def("_read_one", &read_one)
        .def("_take", &take)
        .def("_write", &write);
}

}  // namespace recurra::bindings
