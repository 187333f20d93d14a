// How the sequences of a beam search go on, in the Python module.

#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include "bindings.hpp"

#include <algorithm>
#include <cmath>

namespace recurra::bindings {
namespace {

using namespace nb::literals;

// A way for a sequence to go on: by which of its rows, with which symbol, and log p of all symbols then.
struct Way {
    double total;
    int64_t row, symbol;

    bool operator<(const Way& other) const {
        return total != other.total ? total > other.total : row != other.row ? row < other.row : symbol < other.symbol;
    }
};

// The `count` most probable symbols of n, the best first, of equal ones the first; fewer where others have no p above 0.
void most_probable(const float* p, int64_t n, int64_t count, std::vector<int64_t>& best) {
    constexpr int64_t kTogether = 16;
    best.clear();
    float least = 0;   // that has to be passed
    for (int64_t from = 0; from < n; from += kTogether) {
        const int64_t to = std::min(n, from + kTogether);
        bool any = false;
        for (int64_t v = from; v < to; ++v) any |= p[v] > least;
        for (int64_t v = from; any && v < to; ++v) {
            if (!(p[v] > least)) continue;
            if (static_cast<int64_t>(best.size()) == count) best.pop_back();
            size_t at = best.size();
            while (at > 0 && p[v] > p[best[at - 1]]) --at;
            best.insert(best.begin() + at, v);
            if (static_cast<int64_t>(best.size()) == count) least = p[best.back()];
        }
    }
}

// The best ways on for each of N sequences, which have as many rows of p [rows, n] each, and in `totals` [rows] log p of
// what each has written; -inf: it takes no part. Ways are ordered by their totals, then rows, then symbols; `taken` [N, most]
// is the row within its sequence, or -1 where there are no more.
void ways_on(const Array& p, const Array& totals, const Result& taken, const Result& symbols, const Result& results) {
    expect(p.ndim() == 2 && taken.ndim() == 2 && taken.shape(0) > 0 && p.shape(0) % taken.shape(0) == 0, "the rows are not those of the sequences");
    const int64_t rows = p.shape(0), n = p.shape(1), N = taken.shape(0), most = taken.shape(1), beam = rows / N;
    const float* row = pointer<float>(p, rows * n);
    const double* before = pointer<double>(totals, rows);
    int64_t *which = pointer<int64_t>(taken, N * most), *symbol = pointer<int64_t>(symbols, N * most);
    double* total = pointer<double>(results, N * most);
    std::vector<int64_t> best;
    std::vector<Way> ways;
    for (int64_t s = 0; s < N; ++s, which += most, symbol += most, total += most) {
        ways.clear();
        for (int64_t r = 0; r < beam; ++r, ++before, row += n) {
            if (std::isinf(*before)) continue;
            most_probable(row, n, std::min(n, beam + 1), best);
            for (const int64_t v : best) ways.push_back({*before + std::log(static_cast<double>(row[v])), r, v});
        }
        std::sort(ways.begin(), ways.end());
        for (int64_t i = 0; i < most; ++i) {
            const bool there = i < static_cast<int64_t>(ways.size());
            which[i] = there ? ways[i].row : -1;
            if (there) symbol[i] = ways[i].symbol, total[i] = ways[i].total;
        }
    }
}

}  // namespace

void bind_beam(nb::module_& m) { m.def("ways_on", &ways_on, "p"_a, "totals"_a, "taken"_a, "symbols"_a, "results"_a); }

}  // namespace recurra::bindings
