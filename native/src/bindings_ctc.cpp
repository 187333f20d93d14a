// The search over outputs of connectionist temporal classification in the Python module.

#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include "bindings.hpp"

#include <nanobind/stl/tuple.h>

#include "recurra/ctc.hpp"

namespace recurra::bindings {
namespace {

using namespace nb::literals;

template <class T> std::vector<T> copied(const Array& array) {
    const T* at = pointer<T>(array, static_cast<int64_t>(array.size()));
    return {at, at + array.size()};
}

struct SharedLexicon {
    std::shared_ptr<Lexicon> lexicon = std::make_shared<Lexicon>();

    SharedLexicon(int letters, int space, int order, const std::vector<double>& weights, int begin, int end, const Array& spelled,
                  const Array& word, const Array& within, const Array& hot, const Array& grams, const Array& logarithm, const Array& back) {
        Lexicon& l = *lexicon;
        l.letters = letters;
        l.space = space;
        l.model = order > 0;
        l.order = std::max(order, 1);
        expect(weights.size() == 3, "a search has three weights");
        l.weight = weights[0], l.bonus = weights[1], l.unknown = weights[2];
        l.begin = begin;
        l.end = end;
        l.spelled = copied<int32_t>(spelled);
        l.word = copied<int32_t>(word);
        l.within = copied<uint8_t>(within);
        l.hot = copied<double>(hot);
        l.grams = copied<int64_t>(grams);
        l.logarithm = copied<double>(logarithm);
        l.back = copied<double>(back);
        l.check();
    }
};

using State = std::tuple<std::vector<int64_t>, std::vector<int64_t>, std::vector<double>, std::vector<double>, int64_t, int64_t>;

State state(const PrefixBeam& beam) {
    PrefixBeam::State s = beam.state();
    return {std::move(s.prefixes), std::move(s.entries), std::move(s.values), std::move(s.sums), s.now, s.first};
}

void restore(PrefixBeam& beam, State given) {
    auto& [prefixes, entries, values, sums, now, first] = given;
    beam.restore({std::move(prefixes), std::move(entries), std::move(values), std::move(sums), now, first});
}

nb::list text(const PrefixBeam& beam, bool whole) {
    nb::list found;
    for (const auto& one : beam.text(whole)) found.append(nb::make_tuple(one.letter, one.step, one.sure));
    return found;
}

}  // namespace

void bind_ctc(nb::module_& m) {
    nb::class_<SharedLexicon>(m, "Lexicon")
        .def(nb::init<int, int, int, const std::vector<double>&, int, int, const Array&, const Array&, const Array&, const Array&, const Array&,
                      const Array&, const Array&>(),
             "letters"_a, "space"_a, "order"_a, "weights"_a, "begin"_a, "end"_a, "spelled"_a, "word"_a, "within"_a, "hot"_a, "grams"_a,
             "logarithm"_a, "back"_a);
    nb::class_<PrefixBeam>(m, "PrefixBeam")
        .def("__init__", [](PrefixBeam* self, const SharedLexicon& shared, int64_t beam, double width) {
            new (self) PrefixBeam(shared.lexicon, beam, width);
        }, "lexicon"_a, "beam"_a, "width"_a)
        .def("reset", &PrefixBeam::reset, "step"_a)
        .def("push", [](PrefixBeam& self, const Array& logs) {
            self.push(pointer<double>(logs, self.letters() + 1));
        }, "logs"_a)
        .def_prop_ro("step", &PrefixBeam::step)
        .def_prop_ro("begun", &PrefixBeam::begun)
        .def("text", &text, "whole"_a)
        .def("common", &PrefixBeam::common)
        .def("state", &state)
        .def("restore", &restore, "state"_a);
}

}  // namespace recurra::bindings
