// N-grams beside a network: what the last symbols alone say of the next one, mixed with what comes in.
//
//     p_0 = 1 / V
//     p_n = spare(h_n) p_n-1 + share(h_n, .)        h_n: the last n - 1 symbols, as long as they are known
//     out = log((1 - mix) softmax(x) + mix p)
//
// The known beginnings are a tree, from the last symbol back: a node's children are the symbols before it, in order, and the
// nodes lie one level after the other. Each has the symbols that were seen after it.

#include <algorithm>
#include <cmath>

#include "ops.hpp"

namespace recurra {

namespace {

constexpr double kLeast = 1e-30;   // the smallest probability that has a logarithm

// By its series, in double: the same on every machine, which the C library's is not.
double logarithm(double x) noexcept {
    if (x < kLeast) x = kLeast;
    int exponent;
    double m = std::frexp(x, &exponent);
    if (m < 0.7071067811865476) m *= 2, --exponent;
    const double s = (m - 1) / (m + 1), square = s * s;
    double sum = 0;
    for (int k = 21; k > 0; k -= 2) sum = sum * square + 2.0 / k;
    return exponent * 0.6931471805599453 + s * sum;
}

struct NGrams {
    const Isa* isa;
    int64_t V, past;                     // symbols, and how many of the last ones are remembered
    float mix;
    std::vector<int32_t> symbol, next;   // of each node the one before its parent's; of each n-gram the one that follows
    std::vector<int64_t> child, gram;    // where those of each node begin, and one end more
    Buffer<float> spare, share, none;    // none: what the state begins with

    static int64_t room(const void* data, int64_t, int64_t) { return static_cast<const NGrams*>(data)->V; }

    // The state: the last symbols, the latest first, and -1 where there was none yet.
    static const float* run(const void* data, void*, Chunk& c) noexcept {
        const NGrams& op = *static_cast<const NGrams*>(data);
        op.isa->elementwise->softmax(c.x, c.steps * c.rows, op.V, c.to);
        for (int64_t i = 0; i < c.steps * c.rows; ++i) {
            const int64_t s = i / c.rows, r = i % c.rows;
            float* const last = c.now[0] + r * op.past;
            std::memmove(last + 1, last, (op.past - 1) * sizeof(float));
            *last = c.row[(s * c.every * c.rows + r) * c.row_width];
            op.follow(last, c.room);
            op.join(c.room, c.to + i * op.V);
        }
        return c.to;
    }

    void follow(const float* last, float* p) const noexcept {
        std::fill(p, p + V, 1.0f / static_cast<float>(V));
        int64_t node = 0;
        for (int64_t k = 0;; ++k) {
            for (int64_t v = 0; v < V; ++v) p[v] *= spare[node];
            for (int64_t g = gram[node]; g < gram[node + 1]; ++g) p[next[g]] += share[g];
            if (k == past || !(last[k] >= 0 && last[k] < static_cast<float>(V))) return;
            const int32_t wanted = static_cast<int32_t>(last[k]);
            const auto end = symbol.begin() + child[node + 1], at = std::lower_bound(symbol.begin() + child[node], end, wanted);
            if (at == end || *at != wanted) return;
            node = at - symbol.begin();
        }
    }

    void join(const float* p, float* to) const noexcept {
        for (int64_t v = 0; v < V; ++v) to[v] = static_cast<float>(logarithm((1.0 - mix) * to[v] + static_cast<double>(mix) * p[v]));
    }

    // Of each node its symbol, how many children and n-grams it has, and its spare [C]; of each n-gram the symbol that
    // follows, and its share [N]; the most past symbols, and the mix.
    static Op make(const Ingredients& in) {
        const Tensor& symbol = in.array(0, {-1});
        const int64_t C = symbol.shape[0], V = in.width;
        const Tensor &children = in.array(1, {C}), &grams = in.array(2, {C}), &spare = in.array(3, {C});
        const Tensor& next = in.array(4, {-1});
        const Tensor& share = in.array(5, {next.shape[0]});
        const int64_t past = in.whole(0, 1, kMost);
        expect(in.numbers.size() > 1 && in.numbers[1] > 0 && in.numbers[1] < 1, "the mix of n-grams is no share");
        const std::vector<float> none(past, -1.0f);
        auto made = std::make_shared<NGrams>(NGrams{&in.isa, V, past, static_cast<float>(in.numbers[1]), whole(symbol, V), whole(next, V),
                                                    begins(children, 1, C), begins(grams, 0, next.shape[0]), copy_of(spare),
                                                    copy_of(share), copy_of(none.data(), past)});
        Op op{V, V, &run};
        op.states = {{past, made->none.data()}};
        op.room = &room;
        op.data = std::move(made);
        return op;
    }

    static std::vector<int32_t> whole(const Tensor& from, int64_t below) {
        std::vector<int32_t> found(from.shape[0]);
        for (size_t i = 0; i < found.size(); ++i) {
            expect(from.data[i] >= 0 && from.data[i] < static_cast<float>(below), "a symbol of an n-gram is none");
            found[i] = static_cast<int32_t>(from.data[i]);
        }
        return found;
    }

    // Where those of each node begin, the first at `first`, and the end, which is `end`. Children come behind their parent, so
    // that no way goes round.
    static std::vector<int64_t> begins(const Tensor& counts, int64_t first, int64_t end) {
        std::vector<int64_t> found{first};
        for (int64_t i = 0; i < counts.shape[0]; ++i) {
            expect(counts.data[i] >= 0 && counts.data[i] <= static_cast<float>(end - found.back()), "there are more n-grams than their nodes have");
            expect(first == 0 || counts.data[i] == 0 || found.back() > i, "a node of n-grams is its own child");
            found.push_back(found.back() + static_cast<int64_t>(counts.data[i]));
        }
        expect(found.back() == end, "there are fewer n-grams than their nodes have");
        return found;
    }

    static constexpr int64_t kMost = 64;
};

}  // namespace

const OpTable ngrams_ops{{"ngrams", &NGrams::make}};

}  // namespace recurra
