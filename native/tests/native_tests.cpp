// Tests of the native core without Python, made to run under the sanitizers (`make sanitize`): every built-in cell, both
// types, every ISA of this machine, odd sizes, ragged rows, resets, reverse, checkpoints and threads. The truths are
// double precision, finite differences, and the bits of rows run alone. All ISAs with fused multiply-add have the same
// bits; `native_tests bits ISA` prints a number for those of each cell, to be held against another machine's.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <algorithm>
#include <iterator>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "recurra/isa.hpp"
#include "recurra/network.hpp"
#include "recurra/recurrence.hpp"
#include "recurra/scan.hpp"
#include "activations.hpp"
#include "zoo.hpp"
#include "zoo_layouts.hpp"

using namespace recurra;

namespace {

int passed = 0, failed = 0;

void check(bool good, const char* what, const char* cell, const char* isa) {
    good ? ++passed : ++failed;
    if (!good) std::printf("FAILED: %s, %s, %s\n", what, cell, isa);
}

// For each ISA, a number for the bits of everything in single precision, by cell or op (FNV-1a, all NaN alike).
std::map<std::string, std::map<std::string, uint64_t>> bits;

void note(const char* what, const Isa& isa, const std::vector<float>& values) {
    uint64_t& sum = bits[isa.name].try_emplace(what, 14695981039346656037u).first->second;
    for (const float value : values) {
        uint32_t word = 0x7fc00000;
        if (!std::isnan(value)) std::memcpy(&word, &value, sizeof(word));
        for (int byte = 0; byte < 4; ++byte) sum = (sum ^ (word >> (8 * byte) & 255)) * 1099511628211u;
    }
}

struct Case {
    int64_t T, B, I, H, P;
    bool ragged, reverse, reset;
    int threads;
    int64_t every;
};

// One problem in one type: random distinct numbers, the same ones in both types.
template <class T> struct Problem {
    Problem(const Layout& layout, const Isa& isa, int index, const Case& c)
        : c(c), cell{layout, {c.I, c.H, layout.projects ? c.P : c.H}, isa.zoo<T>()[index], isa.kernels<T>()} {
        std::mt19937 random(7);
        const double most = c.H < 100 ? 0.8 : 0.1;   // more would saturate many units' gates
        std::uniform_real_distribution<double> uniform(-most, most);
        const auto fill = [&](int64_t size) {
            std::vector<T> values(size);
            for (T& v : values) v = static_cast<T>(static_cast<float>(uniform(random)));
            return values;
        };
        const int64_t P = cell.sizes.output;
        W = fill(layout.input_gates * c.H * c.I), U = fill(layout.recurrent_gates * c.H * P);
        b = fill(layout.input_gates * c.H), cc = fill(layout.recurrent_gates * c.H), R = fill(P * c.H);
        for (int i = 0; i < layout.parameters; ++i) parameters.push_back(fill(c.H));
        x = fill(c.T * c.B * c.I);
        d_output = fill(c.T * c.B * P);
        for (int k = 0; k < layout.states; ++k) initial.push_back(fill(c.B * cell.width(k)));
        for (int64_t r = 0; r < c.B; ++r) lengths.push_back(c.ragged ? static_cast<int64_t>(random() % (c.T + 1)) : c.T);
        for (int64_t i = 0; i < c.T * c.B; ++i) reset.push_back(c.reset && random() % 4 == 0);
        for (int64_t r = 0; r < c.B; ++r) {   // what stands in the padding must not matter
            for (int64_t t = lengths[r]; t < c.T; ++t) {
                for (int64_t i = 0; i < c.I; ++i) x[(t * c.B + r) * c.I + i] = std::numeric_limits<T>::quiet_NaN();
            }
        }
        dx.resize(x.size()), dW.resize(W.size()), dU.resize(U.size()), db.resize(b.size()), dc.resize(cc.size()), dR.resize(R.size());
        for (const auto& p : parameters) dp.emplace_back(p.size());
        for (const auto& s : initial) d_initial.emplace_back(s.size());
    }

    Weights<T> weights() const {
        Weights<T> w{W.data(), U.data(), b.data(), cc.data(), R.data(), {}};
        for (const auto& p : parameters) w.parameters.push_back(p.data());
        return w;
    }

    Batch<T> batch() const {
        Batch<T> all{c.T, c.B, c.reverse, c.ragged ? lengths.data() : nullptr, c.reset ? reset.data() : nullptr, x.data(), {}};
        for (const auto& s : initial) all.initial.push_back(s.data());
        return all;
    }

    void forward(Tape<T>* tape) {
        const T nan = std::numeric_limits<T>::quiet_NaN();
        output.assign(c.T * c.B * cell.sizes.output, nan);
        Results<T> results;
        results.output = output.data();
        final.clear();
        for (const auto& s : initial) final.emplace_back(s.size(), nan);
        for (auto& s : final) results.final.push_back(s.data());
        gates.assign(c.T * c.B * cell.layout.gates * c.H, nan);
        if (tape) {
            tape->every = c.every;
            results.gates = gates.data();
        }
        recurra::forward(cell, weights(), batch(), results, c.threads, tape);
    }

    void backward() {
        Tape<T> tape;
        forward(&tape);
        for (auto* gradient : {&dW, &dU, &db, &dc, &dR}) std::fill(gradient->begin(), gradient->end(), std::numeric_limits<T>::quiet_NaN());
        for (auto& p : dp) std::fill(p.begin(), p.end(), std::numeric_limits<T>::quiet_NaN());
        Gradients<T> g;
        g.output = d_output.data();
        g.x = dx.data();
        g.W = dW.data(), g.U = dU.data(), g.b = db.data(), g.c_ = dc.data();
        g.R = dR.data();
        for (auto& p : dp) g.parameters.push_back(p.data());
        for (auto& s : d_initial) g.initial.push_back(s.data());
        recurra::backward(cell, weights(), batch(), tape, g);
    }

    double loss() {
        forward(nullptr);
        double sum = 0;
        for (size_t i = 0; i < output.size(); ++i) sum += output[i] * d_output[i];
        return sum;
    }

    Case c;
    Cell<T> cell;
    std::vector<T> W, U, b, cc, R, x, d_output, output, gates, dx, dW, dU, db, dc, dR;
    std::vector<std::vector<T>> parameters, initial, final, dp, d_initial;
    std::vector<int64_t> lengths;
    std::vector<uint8_t> reset;
};

template <class A, class B> bool close(const std::vector<A>& a, const std::vector<B>& b, double tolerance) {
    for (size_t i = 0; i < a.size(); ++i) {
        if (!(std::fabs(double(a[i]) - double(b[i])) <= tolerance * (1 + std::fabs(double(b[i]))))) return false;
    }
    return a.size() == b.size();
}

// The gradient of one weight array against central differences, at a few places.
bool differences(Problem<double>& p, std::vector<double>& at, const std::vector<double>& gradient) {
    for (size_t i = 0; i < at.size(); i += 1 + at.size() / 5) {
        const double kept = at[i], h = 1e-6;
        at[i] = kept + h;
        const double up = p.loss();
        at[i] = kept - h;
        const double down = p.loss();
        at[i] = kept;
        const double expected = (up - down) / (2 * h);
        if (!(std::fabs(gradient[i] - expected) <= 1e-5 * (1 + std::fabs(expected)))) return false;
    }
    return true;
}

// The bits of the first row alone are its bits in the batch.
bool alone(const Layout& layout, const Isa& isa, int cell, Problem<float>& p) {
    Case c = p.c;
    c.B = 1, c.threads = 1;
    Problem<float> one(layout, isa, cell, c);
    one.W = p.W, one.U = p.U, one.b = p.b, one.cc = p.cc, one.R = p.R, one.parameters = p.parameters;
    const int64_t P = p.cell.sizes.output, B = p.c.B;
    one.lengths = {p.lengths[0]};
    for (int64_t t = 0; t < c.T; ++t) {
        for (int64_t i = 0; i < c.I; ++i) one.x[t * c.I + i] = p.x[t * B * c.I + i];
        one.reset[t] = p.reset[t * B];
    }
    for (size_t k = 0; k < one.initial.size(); ++k) one.initial[k].assign(p.initial[k].begin(), p.initial[k].begin() + one.initial[k].size());
    one.forward(nullptr);
    for (int64_t t = 0; t < c.T; ++t) {
        for (int64_t i = 0; i < P; ++i) {
            if (one.output[t * P + i] != p.output[t * B * P + i]) return false;
        }
    }
    return true;
}

void run(const Layout& layout, const Isa& isa, int cell, const Case& c) {
    const char* name = zoo_names[cell].name;
    Problem<float> f32(layout, isa, cell, c);
    Problem<double> f64(layout, isa, cell, c);
    f32.backward();
    f64.backward();
    check(close(f32.output, f64.output, 1e-4), "output", name, isa.name);
    check(close(f32.gates, f64.gates, 1e-4), "gates", name, isa.name);
    for (size_t k = 0; k < f32.final.size(); ++k) check(close(f32.final[k], f64.final[k], 1e-4), "final state", name, isa.name);
    check(close(f32.dx, f64.dx, 2e-3), "gradient of x", name, isa.name);
    check(close(f32.dW, f64.dW, 2e-3), "gradient of W", name, isa.name);
    check(close(f32.dU, f64.dU, 2e-3), "gradient of U", name, isa.name);
    for (const auto* found : {&f32.output, &f32.gates, &f32.dx, &f32.dW, &f32.dU, &f32.db, &f32.dc}) note(name, isa, *found);
    for (const auto* found : {&f32.final, &f32.d_initial, &f32.dp}) {
        for (const auto& array : *found) note(name, isa, array);
    }
    if (c.B) check(alone(layout, isa, cell, f32), "bits of a row alone", name, isa.name);
    const std::vector<double> dW = f64.dW, dU = f64.dU, dc = f64.dc, dx = f64.dx;
    check(differences(f64, f64.W, dW), "differences of W", name, isa.name);
    check(differences(f64, f64.U, dU), "differences of U", name, isa.name);
    check(differences(f64, f64.cc, dc), "differences of c", name, isa.name);
    if (!c.ragged) check(differences(f64, f64.x, dx), "differences of x", name, isa.name);
    if (layout.projects) {
        const std::vector<double> dR = f64.dR;
        check(differences(f64, f64.R, dR), "differences of R", name, isa.name);
    }
    for (size_t k = 0; k < f64.initial.size(); ++k) {
        const std::vector<double> d = f64.d_initial[k];
        check(differences(f64, f64.initial[k], d), "differences of an initial state", name, isa.name);
    }
    for (int i = 0; i < layout.parameters; ++i) {
        const std::vector<double> dp = f64.dp[i];
        check(differences(f64, f64.parameters[i], dp), "differences of a parameter", name, isa.name);
    }
}

// Random numbers whose memory stays.
struct Source {
    explicit Source(int seed) : random(seed) {}
    std::vector<float> fill(int64_t size) {
        std::uniform_real_distribution<float> uniform(-0.7f, 0.7f);
        std::vector<float> values(size);
        for (float& v : values) v = uniform(random);
        return values;
    }
    std::mt19937 random;
};

// Adds an op of that name whose arrays have these shapes and random numbers.
void add(Network& network, Source& source, const char* name, const std::vector<std::vector<int64_t>>& shapes,
         const std::vector<double>& numbers = {}) {
    std::vector<std::vector<float>> memory;
    std::vector<Tensor> arrays;
    for (const auto& shape : shapes) {
        int64_t size = 1;
        for (const int64_t n : shape) size *= n;
        memory.push_back(source.fill(size));
    }
    for (size_t i = 0; i < shapes.size(); ++i) arrays.push_back({shapes[i].empty() ? nullptr : memory[i].data(), shapes[i]});
    network.add(find_op(name)({network.isa(), arrays, numbers, network.output(), network.input()}));
}

// Steps of some rows in all ways: rows alone, steps, chunks, rows apart, and the whole have the same bits. `x` has `bytes`
// for each row of a step.
void run_ways(const Network& network, const char* name, const void* x, int64_t T, int64_t B) {
    const char* in = static_cast<const char*>(x);
    const int64_t bytes = network.row_bytes(), O = network.output();
    States states(network.states(), B);
    const int64_t answers = network.answers(states.now(), T);
    std::vector<float> whole(answers * B * O), other(whole.size());
    Workspace scratch(network, B, T * B);
    Interruptible call;
    check(network.run_long(in, T, B, states, scratch, call, whole.data()) == answers, "answers of a network", name, network.isa().name);
    States again(network.states(), B);
    Workspace little(network, B, 2 * B);
    network.run_long(in, T, B, again, little, call, other.data());
    check(other == whole, "little scratch memory", name, network.isa().name);
    note((std::string("a network with ") + name).c_str(), network.isa(), whole);
    if (network.streams()) {
        Workspace small(network, B, 3 * B);
        states.clear();
        int64_t done = 0;
        for (int64_t t = 0, next = 1; t < T; ++next) {
            const int64_t n = std::min(next, T - t), expected = network.answers(states.now(), n);
            const int64_t got = network.run(in + t * B * bytes, n, B, states, small, other.data() + done * B * O);
            check(got == expected, "answers of a chunk", name, network.isa().name);
            done += got;
            t += n;
        }
        check(done == answers && other == whole, "chunks of a network", name, network.isa().name);
        std::fill(other.begin(), other.end(), 0.0f);
        std::vector<States> apart;   // each of its own, in blocks of two and a last one
        for (int64_t r = 0; r < B; ++r) apart.emplace_back(network.states(), 1);
        Workspace two(network, 2, 2);
        std::vector<float> step(B * O);
        done = 0;
        for (int64_t t = 0; t < T; ++t) {
            std::vector<RowStates> rows;
            for (States& state : apart) rows.push_back(state.row());
            network.step_apart(in + t * B * bytes, rows.data(), B, two, step.data());
            const bool answered = t % network.stride() == 0;
            if (answered) std::memcpy(other.data() + done++ * B * O, step.data(), B * O * sizeof(float));
            check(answered || std::isnan(step[0]), "a row without an answer", name, network.isa().name);
        }
        check(other == whole, "rows of a network apart", name, network.isa().name);
        if (network.stride() == 1) {   // of row r all but 7 r steps, one after the other
            std::vector<States> ragged;
            std::vector<RowStates> rows;
            std::vector<int64_t> steps;
            std::vector<char> mine;
            for (int64_t r = 0; r < B; ++r) {
                ragged.emplace_back(network.states(), 1);
                steps.push_back(std::max<int64_t>(0, T - 7 * r));
                for (int64_t t = 0; t < steps[r]; ++t) mine.insert(mine.end(), in + (t * B + r) * bytes, in + (t * B + r + 1) * bytes);
            }
            for (States& state : ragged) rows.push_back(state.row());
            std::vector<float> out(std::accumulate(steps.begin(), steps.end(), int64_t(0)) * O);
            network.run_apart(mine.data(), steps.data(), rows.data(), B, two, out.data());
            bool same = true;
            for (int64_t r = 0, at = 0; r < B; ++r) {
                for (int64_t t = 0; t < steps[r]; ++t) {
                    for (int64_t o = 0; o < O; ++o) same &= out[at++] == whole[(t * B + r) * O + o];
                }
            }
            check(same, "rows of a network of different lengths", name, network.isa().name);
        }
    }
    for (int64_t r = 0; r < B; ++r) {
        std::vector<char> mine;
        for (int64_t t = 0; t < T; ++t) mine.insert(mine.end(), in + (t * B + r) * bytes, in + (t * B + r + 1) * bytes);
        States alone(network.states(), 1);
        Workspace single(network, 1, T);
        std::vector<float> out(answers * O);
        network.run_long(mine.data(), T, 1, alone, single, call, out.data());
        bool same = true;
        for (int64_t t = 0; t < answers; ++t) {
            for (int64_t o = 0; o < O; ++o) same &= out[t * O + o] == whole[(t * B + r) * O + o];
        }
        check(same, "a row of a network alone", name, network.isa().name);
    }
}

// A network with every kind of op around a cell.
void run_network(const Layout& layout, const Isa& isa, int index, bool both) {
    constexpr int64_t T = 70, B = 5, I = 7, H = 19, P = 6, O = 17;
    const Case c{T, B, I, H, P, false, false, false, 1, 0};
    Problem<float> p(layout, isa, index, c), q(layout, isa, index, c);
    std::vector<const float*> begin;
    for (const auto& state : p.initial) begin.push_back(state.data());   // its first row
    std::vector<std::unique_ptr<Recurrence>> directions;
    directions.push_back(std::make_unique<Recurrence>(p.cell, p.weights(), begin));
    if (both) directions.push_back(std::make_unique<Recurrence>(q.cell, q.weights(), std::vector<const float*>()));
    const int64_t width = p.cell.sizes.output * (both ? 2 : 1);
    Source source(11);
    Network network(isa, 1, 1);
    add(network, source, "embedding", {{O, I}});
    add(network, source, "layer_norm", {{I}, {I}}, {1e-5});
    network.add(recurrent(std::move(directions)));
    if (both) add(network, source, "pool_last", {});
    add(network, source, "linear", {{O, width}, {O}});
    for (size_t i = 0; i < std::size(activation_names); ++i) add(network, source, "activation", {}, {double(i), 0.3});
    add(network, source, "pool_mean", {});
    add(network, source, "pool_all", {});
    add(network, source, "linear", {{O - 2, 3 * O}, {}});
    add(network, source, "softmax", {});
    std::vector<int64_t> ids(T * B);
    for (int64_t& id : ids) id = static_cast<int64_t>(source.random() % O);
    run_ways(network, zoo_names[index].name, ids.data(), T, B);
}

// Convolutions with strides, with everything that has states between them and behind them.
void run_strided(const Layout& layout, const Isa& isa, int index, int64_t stride, bool both = false) {
    constexpr int64_t T = 47, B = 5, I = 3, H = 9;
    Source source(13);
    Network network(isa, I, I);
    add(network, source, "convolution", {{5, 4, I}, {5}}, {2, 3});
    for (int layer = 0; layer < 2; ++layer) {
        const Case c{T, B, network.output(), H, H, false, false, false, 1, 0};
        Problem<float> p(layout, isa, index, c);
        std::vector<std::unique_ptr<Recurrence>> directions;
        for (int way = 0; way < (both && layer ? 2 : 1); ++way) {
            directions.push_back(std::make_unique<Recurrence>(p.cell, p.weights(), std::vector<const float*>()));
        }
        network.add(recurrent(std::move(directions)));
        add(network, source, "pool_attention", {{network.output()}});
        add(network, source, "convolution", {{4, layer ? 1 : 3, network.output()}, {}}, {1, double(stride)});
        add(network, source, "affine", {{4}, {4}});
        add(network, source, "pool_max", {});
    }
    check(network.stride() == 3 * stride * stride, "the stride of a network", zoo_names[index].name, isa.name);
    run_ways(network, zoo_names[index].name, source.fill(T * B * I).data(), T, B);
}

// Branches within branches, with states in several of them, put together in each way.
void run_branches(const Layout& layout, const Isa& isa, int index, int how) {
    constexpr int64_t T = 37, B = 5, I = 7;
    Source source(23);
    Network network(isa, I, I);
    add(network, source, "convolution", {{9, 3, I}, {9}}, {1, 1});
    const auto recur = [&](Network& to, int64_t H) {
        const Case c{T, B, to.output(), H, H, false, false, false, 1, 0};
        Problem<float> p(layout, isa, index, c);
        std::vector<std::unique_ptr<Recurrence>> directions;
        directions.push_back(std::make_unique<Recurrence>(p.cell, p.weights(), std::vector<const float*>()));
        to.add(recurrent(std::move(directions)));
    };
    Network first = network.branch(9), second = network.branch(9), inner = second.branch(17), none = second.branch(17);
    add(first, source, "linear", {{5, 9}, {5}});
    recur(first, 9);
    add(first, source, "pool_max", {});
    add(second, source, "linear", {{17, 9}, {}});
    recur(inner, 17);
    second.add(branches({&inner, &none}, 2 - how % 3, 17));
    add(second, source, "linear", {{9, 17}, {9}});
    network.add(branches({&first, &second}, how, 9));
    recur(network, 6);
    run_ways(network, (std::string(zoo_names[index].name) + " in branches").c_str(), source.fill(T * B * I).data(), T, B);
}

// A convolution in double precision, one tap after the other.
void run_convolution(const Isa& isa, int64_t O, int64_t K, int64_t I, int64_t dilation, int64_t stride) {
    constexpr int64_t T = 31;
    Source source(17);
    const auto W = source.fill(O * K * I), b = source.fill(O), x = source.fill(T * I);
    Network network(isa, I, I);
    network.add(find_op("convolution")({isa, {{W.data(), {O, K, I}}, {b.data(), {O}}}, {double(dilation), double(stride)}, I, I}));
    States states(network.states(), 1);
    Workspace scratch(network, 1, T);
    std::vector<float> out(network.answers(states.now(), T) * O);
    const int64_t answers = network.run(x.data(), T, 1, states, scratch, out.data());
    bool near = answers == (T + stride - 1) / stride;
    for (int64_t j = 0; j < answers; ++j) {
        for (int64_t o = 0; o < O; ++o) {
            double want = b[o];
            for (int64_t k = 0; k < K; ++k) {
                const int64_t t = j * stride - (K - 1 - k) * dilation;
                for (int64_t i = 0; t >= 0 && i < I; ++i) want += double(W[(o * K + k) * I + i]) * x[t * I + i];
            }
            near &= std::fabs(out[j * O + o] - want) < 1e-5;
        }
    }
    check(near, "a convolution", "convolution", isa.name);
    note("convolution", isa, out);
}

// N-grams behind an embedding: what the longest known beginning and those within it say, in double precision.
void run_ngrams(const Isa& isa) {
    constexpr int64_t T = 61, B = 3, V = 5, past = 2;
    // the nodes: nothing, 1, 3, (1 before it) 0 and 3, (3 before it) 3
    const std::vector<float> symbol{0, 1, 3, 0, 3, 3}, children{2, 2, 1, 0, 0, 0}, grams{3, 1, 0, 1, 2, 1}, spare{0.2f, 0.6f, 1, 0.5f, 0.25f, 0.1f};
    const std::vector<float> next{0, 1, 3, 3, 1, 0, 3, 4}, share{0.1f, 0.3f, 0.4f, 0.4f, 0.5f, 0.25f, 0.5f, 0.9f};
    const double mix = 0.3;
    Source source(29);
    const auto W = source.fill(V * V);
    std::vector<float> x(T * B);
    for (float& id : x) id = static_cast<float>(source.random() % 4 == 0 ? source.random() % V : 1 + 2 * (source.random() % 2));
    Network network(isa, 1, 1);
    network.add(find_op("embedding")({isa, {{W.data(), {V, V}}}, {double(V)}, 1, 1}));
    network.add(find_op("ngrams")({isa, {{symbol.data(), {6}}, {children.data(), {6}}, {grams.data(), {6}}, {spare.data(), {6}},
                                         {next.data(), {8}}, {share.data(), {8}}}, {double(past), mix}, V, 1}));
    run_ways(network, "n-grams", x.data(), T, B);
    States states(network.states(), B);
    Workspace scratch(network, B, T * B);
    std::vector<float> out(T * B * V);
    network.run(x.data(), T, B, states, scratch, out.data());
    bool near = true;
    for (int64_t t = 0; t < T; ++t) {
        for (int64_t r = 0; r < B; ++r) {
            std::vector<double> p(V, 1.0 / V), e(V);
            for (size_t node = 0, ago = 0;; ++ago) {
                size_t gram = 0, child = 1;
                for (size_t i = 0; i < node; ++i) gram += static_cast<size_t>(grams[i]), child += static_cast<size_t>(children[i]);
                for (double& v : p) v *= spare[node];
                for (size_t g = gram; g < gram + static_cast<size_t>(grams[node]); ++g) p[static_cast<size_t>(next[g])] += share[g];
                const size_t end = child + static_cast<size_t>(children[node]);
                while (child < end && ago < past && ago <= static_cast<size_t>(t) && symbol[child] != x[(t - ago) * B + r]) ++child;
                if (child == end || ago == past || ago > static_cast<size_t>(t)) break;
                node = child;
            }
            const float* const scores = W.data() + static_cast<int64_t>(x[t * B + r]) * V;
            double sum = 0;
            for (int64_t v = 0; v < V; ++v) sum += e[v] = std::exp(double(scores[v]));
            for (int64_t v = 0; v < V; ++v) near &= std::fabs(out[(t * B + r) * V + v] - std::log((1 - mix) * e[v] / sum + mix * p[v])) < 1e-5;
        }
    }
    check(near, "n-grams", "ngrams", isa.name);
}

// Pictures of which each is a step, in double precision, one tap after the other; and a picture alone among others.
void run_convolution_2d(const Isa& isa, int64_t O, int64_t K, int64_t L, int64_t C, int64_t rows, int64_t columns, int64_t hop, int64_t padding) {
    constexpr int64_t T = 3;
    Source source(19);
    const int64_t size = rows * columns * C;
    const auto W = source.fill(O * K * L * C), b = source.fill(O), x = source.fill(T * size);
    Network network(isa, size, size);
    network.add(find_op("convolution_2d")(
        {isa, {{W.data(), {O, K, L, C}}, {b.data(), {O}}}, {double(rows), double(columns), double(hop), double(padding)}, size, size}));
    const int64_t down = (rows + 2 * padding - K) / hop + 1, across = (columns + 2 * padding - L) / hop + 1;
    States states(network.states(), 1);
    Workspace scratch(network, 1, T);
    std::vector<float> out(T * network.output()), alone(network.output());
    network.run(x.data(), T, 1, states, scratch, out.data());
    bool near = network.output() == down * across * O;
    for (int64_t i = 0; near && i < T * down * across * O; ++i) {
        const int64_t o = i % O, left = i / O % across * hop - padding, top = i / O / across % down * hop - padding, t = i / O / across / down;
        double want = b[o];
        for (int64_t k = 0; k < K * L * C; ++k) {
            const int64_t c = k % C, l = left + k / C % L, r = top + k / C / L;
            if (r >= 0 && r < rows && l >= 0 && l < columns) want += double(W[o * K * L * C + k]) * x[t * size + (r * columns + l) * C + c];
        }
        near &= std::fabs(out[i] - want) < 1e-5;
    }
    check(near, "a convolution over pictures", "convolution_2d", isa.name);
    network.run(x.data() + 2 * size, 1, 1, states, scratch, alone.data());
    check(!std::memcmp(alone.data(), out.data() + 2 * network.output(), alone.size() * sizeof(float)), "a picture alone", "convolution_2d", isa.name);
    note("convolution_2d", isa, out);
}

// A forecast head behind a linear op, which reads an input beside it: its definition in double precision, rows alone, and chunks.
void run_forecast(const Isa& isa, int64_t N, int64_t P, int64_t U, int64_t F, int64_t S, int64_t Q) {
    constexpr int64_t T = 13, B = 3, I = 5;
    const int64_t middle = Q / 2;
    Source source(5);
    const auto fill = [&](int64_t size) { return source.fill(size); };
    const auto A = fill(U * P), Bx = fill(U * (F + S)), e = fill(N * U), W = fill(S * U), w = fill(N * S), C = fill(Q * U),
               c = fill(N * Q), D = fill(N * P), first = fill(P * I);
    auto k = fill(N * Q);
    for (float& v : k) v = std::fabs(v);
    Network network(isa, I + N * (F + S), I);
    network.add(find_op("linear")({isa, {{first.data(), {P, I}}, {}}, {}, I, I}));
    const std::vector<Tensor> arrays{{A.data(), {U, P}}, {Bx.data(), {U, F + S}}, {e.data(), {N, U}}, {W.data(), {S, U}}, {w.data(), {N, S}},
                                     {C.data(), {Q, U}}, {c.data(), {N, Q}}, {D.data(), {N, P}}, {k.data(), {N, Q}}};
    network.add(find_op("forecast")({isa, arrays, {double(middle), double(I)}, P, network.input()}));
    const int64_t in = network.input(), out = network.output();
    const auto x = fill(T * B * in);
    std::vector<float> whole(T * B * out), other(whole.size());
    States states(network.states(), B), one(network.states(), 1);
    Workspace scratch(network, B, T * B), small(network, B, 2 * B), single(network, 1, 1);
    network.run(x.data(), T, B, states, scratch, whole.data());
    network.run(x.data(), T, B, states, small, other.data());
    check(other == whole, "chunks of a forecast", "forecast", isa.name);
    bool near = true, ordered = true;
    for (int64_t i = 0; i < T * B; ++i) {
        network.run(x.data() + i * in, 1, 1, one, single, other.data() + i * out);
        std::vector<double> h(P);
        for (int64_t p = 0; p < P; ++p) {
            for (int64_t j = 0; j < I; ++j) h[p] += double(first[p * I + j]) * x[i * in + j];
        }
        for (int64_t n = 0; n < N; ++n) {
            const float* known = x.data() + i * in + I + n * (F + S);
            std::vector<double> u(U), trust(S), v(Q), want(Q);
            for (int64_t a = 0; a < U; ++a) {
                double sum = e[n * U + a];
                for (int64_t p = 0; p < P; ++p) sum += A[a * P + p] * h[p];
                for (int64_t f = 0; f < F + S; ++f) sum += double(Bx[a * (F + S) + f]) * known[f];
                u[a] = std::tanh(sum);
            }
            double total = 0, at = 0;
            for (int64_t s = 0; s < S; ++s) {
                double sum = w[n * S + s];
                for (int64_t a = 0; a < U; ++a) sum += W[s * U + a] * u[a];
                total += trust[s] = std::exp(sum);
            }
            for (int64_t q = 0; q < Q; ++q) {
                v[q] = c[n * Q + q];
                for (int64_t a = 0; a < U; ++a) v[q] += C[q * U + a] * u[a];
            }
            for (int64_t s = 0; s < S; ++s) at += trust[s] / total * known[F + s];
            for (int64_t p = 0; p < P; ++p) at += D[n * P + p] * h[p];
            want[middle] = at + v[middle];
            for (int64_t q = middle + 1; q < Q; ++q) want[q] = want[q - 1] + k[n * Q + q] * std::log1p(std::exp(v[q]));
            for (int64_t q = middle - 1; q >= 0; --q) want[q] = want[q + 1] - k[n * Q + q] * std::log1p(std::exp(v[q]));
            for (int64_t q = 0; q < Q; ++q) {
                const float* got = whole.data() + i * out + n * Q;
                near &= std::fabs(got[q] - want[q]) < 1e-5 * (1 + std::fabs(want[q]));
                ordered &= q == 0 || got[q] >= got[q - 1];
            }
        }
    }
    check(near, "a forecast", "forecast", isa.name);
    note("forecast", isa, whole);
    check(ordered, "quantiles in order", "forecast", isa.name);
    check(other == whole, "a row of a forecast alone", "forecast", isa.name);
}

}  // namespace

// Sizes that come no more, as of ragged batches, do not keep new ones from being found again.
// A product is its definition to the last bit, one multiply-add after the other, however it is cut into tiles, strips and
// parts; and nothing beside its result is written.
template <class T> void run_product(const Isa& isa, int64_t rows, int64_t K, int64_t N, bool packed, bool across, bool biased) {
    Source source(static_cast<int>(rows + K + N));
    const auto fill = [&](int64_t size) {
        const std::vector<float> values = source.fill(size);
        return std::vector<T>(values.begin(), values.end());
    };
    const bool fused = std::strcmp(isa.name, "x86-64-v2") != 0;
    const int64_t above = 3, w_row = N + 5, out_row = N + 7;
    const std::vector<T> a = fill(rows * K), w = fill((above + K) * w_row + 64), bias = fill(N);
    std::vector<T> out = fill(rows * out_row), expected = out;
    Buffer<T> memory(packed_size<T>(isa.kernels<T>()->lanes, above + K, N));
    Product<T> product{a.data(), across ? 1 : K, across ? rows : 1, rows, {const_cast<T*>(w.data()) + above * w_row, K, N},
                       biased ? bias.data() : out.data(), biased ? 0 : out_row, out.data(), out_row, w_row};
    if (packed) {
        const Packed<T> whole{memory.data(), above + K, N};
        isa.kernels<T>()->pack(whole, w.data(), w_row, 1, 0, above + K);
        product.w = rows_of(whole, above, K);
        product.w_row = 0;
    }
    for (int64_t r = 0; r < rows; ++r) {
        for (int64_t n = 0; n < N; ++n) {
            T sum = biased ? bias[n] : expected[r * out_row + n];
            for (int64_t k = 0; k < K; ++k) {
                const T x = a[across ? k * rows + r : r * K + k], y = w[(above + k) * w_row + n];
                sum = fused ? std::fma(x, y, sum) : x * y + sum;
            }
            expected[r * out_row + n] = sum;
        }
    }
    isa.kernels<T>()->product(product);
    check(!std::memcmp(out.data(), expected.data(), out.size() * sizeof(T)), "a product", packed ? "packed" : "apart", isa.name);
}

void run_products(const Isa& isa) {
    const int64_t sizes[][3] = {{1, 300, 70}, {7, 129, 33}, {13, 300, 70}, {50, 520, 17}, {110, 129, 66}, {400, 300, 34}, {130, 800, 9}};
    for (const auto& [rows, K, N] : sizes) {
        for (int way = 0; way < 8; ++way) {
            if (way < 4 || rows < 100) run_product<float>(isa, rows, K, N, way & 1, way & 2, way & 4);
            if (way >= 4 || rows < 100) run_product<double>(isa, rows, K, N, way & 1, way & 2, way & 4);
        }
    }
}

// Rows of a recurrence are a thread's by at least fours; without a matrix of the state, by ones.
void run_parts(const std::vector<Layout>& layouts, const Isa& isa) {
    const auto parts = [&](const char* name, int64_t rows, int threads) {
        int cell = 0;
        while (std::strcmp(zoo_names[cell].name, name)) ++cell;
        Problem<float> p(layouts[cell], isa, cell, {3, rows, 2, 5, 5, false, false, false, threads, 0});
        Tape<float> tape;
        p.forward(&tape);
        return tape.parts.size();
    };
    check(parts("lstm", 9, 16) == 3 && parts("lstm", 4, 2) == 1 && parts("lstm", 40, 3) == 3, "parts", "lstm", isa.name);
    check(parts("mingru", 9, 16) == 9, "parts", "mingru", isa.name);
}

void run_memory() {
    for (size_t i = 0; i < 2 * (kIdleBytes >> 20); ++i) {
        const size_t bytes = (size_t(1) << 20) + (i << 12);
        give_back(take(bytes), bytes);
    }
    const size_t large = kIdleBytes / 2;
    char* memory = static_cast<char*>(take(large));
    std::memset(memory, 77, large);
    give_back(memory, large);
    char* again = static_cast<char*>(take(large));
    check(again == memory && again[0] == 77 && again[large - 1] == 77, "the last block is found again", "-", "-");
    char* other = static_cast<char*>(take(large));
    check(other != again, "and only once", "-", "-");
    give_back(again, large);
    give_back(other, large);
    char* beyond = static_cast<char*>(take(2 * kIdleBytes));
    beyond[2 * kIdleBytes - 1] = 1;
    give_back(beyond, 2 * kIdleBytes);
}

int main(int count, char** words) {
    run_memory();
    const Case cases[] = {
        {7, 5, 3, 19, 6, false, false, false, 1, 0}, {9, 7, 5, 33, 12, true, true, true, 2, 0},
        {9, 6, 1, 16, 16, true, false, false, 2, 4}, {5, 3, 40, 1, 1, false, true, true, 1, 2},
        {0, 3, 4, 8, 3, false, false, false, 1, 0},  {6, 0, 4, 8, 3, true, false, false, 2, 0},
        {1, 1, 2, 70, 65, false, false, false, 1, 0},
    };
    const std::vector<Layout> layouts = zoo_layouts();
    for (const Isa* isa : isas()) {
        if (!isa->available()) continue;
        for (size_t cell = 0; cell < layouts.size(); ++cell) {
            for (const bool both : {false, true}) run_network(layouts[cell], *isa, static_cast<int>(cell), both);
            for (const int64_t stride : {1, 2}) run_strided(layouts[cell], *isa, static_cast<int>(cell), stride);
            if (cell < 2) run_strided(layouts[cell], *isa, static_cast<int>(cell), 2, true);
            for (int how = 0; how < 4 && cell < 2; ++how) run_branches(layouts[cell], *isa, static_cast<int>(cell), how);
            for (const Case& c : cases) run(layouts[cell], *isa, static_cast<int>(cell), c);
            const Case wide{3, 9, 265, 251, 251, false, false, false, 2, 0};
            if (!std::strcmp(zoo_names[cell].name, "lstm")) run(layouts[cell], *isa, static_cast<int>(cell), wide);
        }
        run_products(*isa);
        run_parts(layouts, *isa);
        run_convolution(*isa, 5, 4, 3, 2, 3);
        run_convolution(*isa, 1, 1, 1, 1, 1);
        run_convolution(*isa, 17, 3, 9, 5, 2);
        run_convolution_2d(*isa, 5, 3, 2, 3, 7, 6, 2, 1);
        run_convolution_2d(*isa, 1, 1, 1, 1, 1, 1, 1, 0);
        run_convolution_2d(*isa, 17, 3, 3, 4, 2, 9, 1, 3);
        run_ngrams(*isa);
        check(find_op("none") == nullptr, "an op that is none", "none", isa->name);
        run_forecast(*isa, 48, 64, 32, 11, 3, 3);
        run_forecast(*isa, 7, 19, 5, 1, 2, 4);
        run_forecast(*isa, 1, 1, 1, 0, 1, 1);
        check(*isa->ran, "the ISA ran", "all", isa->name);
    }
    if (bits.count("avx512") && bits.count("avx2")) {
        for (const auto& [name, sum] : bits["avx512"]) check(sum == bits["avx2"][name], "bits of AVX-512 and AVX2", name.c_str(), "both");
    }
    if (count == 3 && !std::strcmp(words[1], "bits")) {
        for (const auto& [name, sum] : bits[words[2]]) std::printf("%016llx %s\n", static_cast<unsigned long long>(sum), name.c_str());
    }
    std::fprintf(stderr, "%d passed, %d failed\n", passed, failed);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
