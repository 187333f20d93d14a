// Networks and their sessions in the Python module. A step uses NumPy's own interface, because a general array argument
// costs more than a small step. What does not fit is left to Python, which knows how to say so.

#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include "bindings.hpp"

#include <nanobind/stl/string.h>

#include <numpy/arrayobject.h>

#include <cstring>

#include "recurra/network.hpp"
#include "recurra/recurrence.hpp"
#include "activations.hpp"

namespace recurra::bindings {
namespace {

using namespace nb::literals;

// A network, and the scratch memory of steps of one row, which share it because they hold Python's lock.
struct SharedNetwork {
    SharedNetwork(const std::string& isa, int64_t row, int64_t first) : network(*find_isa(isa), row, first) {}
    SharedNetwork(const SharedNetwork&) = delete;

    Network network;
    std::unique_ptr<Workspace> single, many;
    uint64_t calls = 0;   // of step_many

    Workspace& of_one_row() {
        if (!single) single = std::make_unique<Workspace>(network, 1, 1);
        return *single;
    }
};

// Rows of a block of step_many: enough for the products to run at full speed, few enough for the second-level cache.
constexpr int64_t kBlock = 96;

// A live state. `dimensions`: 2 for rows of vectors, 1 for the vectors of a single row.
struct Session {
    Session(nb::object owner, int64_t rows, int dimensions)
        : shared(nb::cast<SharedNetwork*>(owner)), keep(std::move(owner)), rows(rows), dimensions(dimensions),
          states(shared->network.states(), rows) {
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
    return shape[dimensions - 1] == network.input() && (dimensions == 1 || shape[0] == rows) ? PyArray_DATA(as_array(x)) : nullptr;
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

// Python has checked the shapes of x [T, rows, I] (or ids [T, rows]) and out [answers, rows, O], and the ids.
void run(Session& session, nb::handle x, nb::handle out) {
    const Network& network = session.shared->network;
    PyArrayObject *from = as_array(x.ptr()), *to = as_array(out.ptr());
    const void* in = PyArray_DATA(from);
    const int64_t steps = PyArray_DIMS(from)[0], positions = steps * session.rows;
    const int64_t chunk = std::max<int64_t>(session.rows, std::min<int64_t>(positions, 192));
    Workspace scratch(network, session.rows, network.streams() ? chunk : positions);
    nb::gil_scoped_release released;
    network.run(in, steps, session.rows, session.states, scratch, static_cast<float*>(PyArray_DATA(to)));
}

// Python has checked the shapes of x [N, I] (or ids [N]) and out [N, O]. Returns -1, or the index of the first session
// that cannot take part (N: an id is unknown), and then nothing was done.
int64_t step_many(nb::handle self, nb::list sessions, nb::handle x, nb::handle out) {
    SharedNetwork& shared = *nb::cast<SharedNetwork*>(self);
    const Network& network = shared.network;
    const int64_t count = static_cast<int64_t>(nb::len(sessions));
    std::vector<RowStates> states(count);
    ++shared.calls;
    PyTypeObject* known = nullptr;   // the last type that was found to be a session's
    for (int64_t i = 0; i < count; ++i) {
        const nb::handle item = PyList_GetItem(sessions.ptr(), i);
        if (i + kAhead < count) {
            const char* later = reinterpret_cast<const char*>(PyList_GetItem(sessions.ptr(), i + kAhead));
            for (size_t byte = 0; byte < sizeof(Session); byte += 64) __builtin_prefetch(later + byte, 1);
        }
        if (Py_TYPE(item.ptr()) != known && !nb::isinstance<Session>(item)) return i;
        if (!nb::inst_ready(item)) return i;
        known = Py_TYPE(item.ptr());
        Session& session = *nb::inst_ptr<Session>(item);
        if (session.shared != &shared || session.dimensions != 1 || session.call == shared.calls) return i;
        session.call = shared.calls;
        states[i] = session.states.row();
    }
    const void* in = PyArray_DATA(as_array(x.ptr()));
    if (network.vocabulary() && !ids_fit(static_cast<const int64_t*>(in), count, network.vocabulary())) return count;
    if (!shared.many) shared.many = std::make_unique<Workspace>(network, kBlock, kBlock);
    network.step_apart(in, states.data(), count, *shared.many, static_cast<float*>(PyArray_DATA(as_array(out.ptr()))));
    return -1;
}

// Between a session's states and arrays [rows, width] that Python has made or checked.
void exchange(Session& session, const std::vector<Array>& arrays, bool store) {
    const std::vector<StateSpec>& specs = session.shared->network.states();
    for (size_t k = 0; k < specs.size() && k < arrays.size(); ++k) {
        const size_t bytes = session.rows * specs[k].width * sizeof(float);
        if (store) std::memcpy(arrays[k].data(), session.states.now()[k], bytes);
        else std::memcpy(session.states.now()[k], arrays[k].data(), bytes);
    }
}

Tensor tensor_of(const Maybe& array) {
    if (!array) return {};
    Tensor tensor{pointer<const float>(array)};
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
        .def("add", [](SharedNetwork& n, const std::string& name, const std::vector<Maybe>& arrays, const std::vector<double>& numbers,
                       int64_t width) {
            std::vector<Tensor> tensors;
            for (const Maybe& array : arrays) tensors.push_back(tensor_of(array));
            const MakeOp make = find_op(name);
            if (!make) throw nb::key_error(name.c_str());
            n.network.add(make({n.network.isa(), tensors, numbers, width}));
        }, "name"_a, "arrays"_a, "numbers"_a, "width"_a)
        .def("add_recurrent", [](SharedNetwork& n, const Kernel& kernel, const std::vector<const WeightArrays*>& weights, int64_t hidden,
                                 const std::vector<std::vector<Array>>& initial) {
            std::vector<std::unique_ptr<Recurrence>> directions;
            for (size_t d = 0; d < weights.size(); ++d) {
                const WeightArrays& w = *weights[d];
                directions.push_back(std::make_unique<Recurrence>(w.cell<float>(kernel, hidden), w.weights<float>(),
                                                                  pointers<const float>(initial.at(d))));
            }
            n.network.add(recurrent(std::move(directions)));
        })
        .def("step_many", &step_many, "sessions"_a, "x"_a, "out"_a);

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
        .def("_read", [](Session& session, const std::vector<Array>& to) { exchange(session, to, true); })
        .def("_write", [](Session& session, const std::vector<Array>& from) { exchange(session, from, false); });
}

}  // namespace recurra::bindings
