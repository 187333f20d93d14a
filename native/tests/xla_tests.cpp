// Tests of the engine as a target of XLA, without XLA: frames made by hand, under the sanitizers like the other native
// tests (`make sanitize`). The truth is the engine called directly, to the last bit.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "recurra/xla.hpp"
#include "zoo.hpp"
#include "zoo_layouts.hpp"

using namespace recurra;

namespace recurra::xla {
struct Error {
    std::string text;
    int code;
};
}  // namespace recurra::xla

namespace {

int passed = 0, failed = 0;

void check(bool good, const char* what, const std::string& name) {
    good ? ++passed : ++failed;
    if (!good) std::printf("FAILED: %s, %s\n", what, name.c_str());
}

using Values = std::vector<float>;

// A call frame over arrays that others own.
class FrameOf {
public:
    FrameOf(int64_t site, std::vector<xla::Buffer> arguments, std::vector<xla::Buffer> results)
        : site_(site), arguments_(std::move(arguments)), results_(std::move(results)) {
        for (xla::Buffer& b : arguments_) argument_at_.push_back(&b);
        for (xla::Buffer& b : results_) result_at_.push_back(&b);
        api.make_error = [](xla::ErrorArguments* a) { return new xla::Error{a->message, a->code}; };
        frame.size = sizeof frame;
        frame.api = &api;
        frame.stage = xla::kExecute;
        frame.arguments = {sizeof(xla::Buffers), nullptr, static_cast<int64_t>(arguments_.size()), nullptr, argument_at_.data()};
        frame.results = {sizeof(xla::Buffers), nullptr, static_cast<int64_t>(results_.size()), nullptr, result_at_.data()};
        frame.attributes = {sizeof(xla::Attributes), nullptr, 1, nullptr, nullptr, &scalar_at_};
    }
    FrameOf(const FrameOf&) = delete;

    // What the handler says, and its code; empty: it went well.
    std::string run(int* code = nullptr) {
        xla::Error* error = xla::handle(&frame);
        if (!error) return "";
        const std::string text = error->text;
        if (code) *code = error->code;
        delete error;
        return text;
    }

    xla::Frame frame{};
    xla::Api api{};

private:
    int64_t site_;
    xla::Scalar scalar_{xla::kInt64, &site_};
    xla::Scalar* scalar_at_ = &scalar_;
    std::vector<xla::Buffer> arguments_, results_;
    std::vector<xla::Buffer*> argument_at_, result_at_;
};

xla::Buffer buffer(void* data, int dtype = 11) { return {sizeof(xla::Buffer), nullptr, dtype, data, 0, nullptr}; }

// One cell with initial states and lengths: the sites 2 * cell and 2 * cell + 1.
struct Problem {
    static constexpr int64_t T = 6, B = 5, I = 3, H = 9;

    Problem(const Layout& layout, const Isa& isa, int index) : layout(layout), P(layout.projects ? 4 : H), first(2 * index) {
        std::mt19937 random(7);
        std::uniform_real_distribution<float> uniform(-0.8f, 0.8f);
        const auto fill = [&](int64_t size) {
            Values values(size);
            for (float& v : values) v = uniform(random);
            return values;
        };
        std::vector<int64_t> sizes{T * B * I, layout.input_gates * H * I, layout.recurrent_gates * H * P, layout.input_gates * H,
                                   layout.recurrent_gates * H};
        if (layout.projects) sizes.push_back(P * H);
        for (int i = 0; i < layout.parameters; ++i) sizes.push_back(H);
        for (int k = 0; k < layout.states; ++k) sizes.push_back(B * (k ? H : P));
        for (const int64_t size : sizes) arrays.push_back(fill(size));
        seeds.push_back(fill(T * B * P));
        for (int k = 0; k < layout.states; ++k) seeds.push_back(fill(B * (k ? H : P)));

        const int count = static_cast<int>(arrays.size());
        for (int i = 0; i < 5; ++i) tensors.push_back(i);
        tensors.push_back(layout.projects ? 5 : -1);
        for (int i = 5 + layout.projects; i < count; ++i) tensors.push_back(i);
        const std::vector<int> gradients = tensors;
        tensors.push_back(count);
        tensors.push_back(-1);
        std::vector<int> made, incoming;
        for (int k = 0; k <= layout.states; ++k) {
            made.push_back(k);
            incoming.push_back(count + 1 + k);
        }
        const Kernel kernel{layout, isa.zoo<float>()[index], isa.zoo<double>()[index], &isa};
        const Call call(kernel, true, T, B, I, H, P, false, 0);
        xla::add(first, {"forward", call, false, true, tensors, {}, made, 2});
        xla::add(first + 1, {"backward", call, true, false, tensors, incoming, gradients, 2});
        truth(call);
    }

    // The results and the gradients by the engine itself.
    void truth(const Call& call) {
        std::vector<int64_t> ends(lengths.begin(), lengths.end());
        Addresses given, to, back;
        for (const int i : tensors) given.push_back(i < 0 ? 0 : reinterpret_cast<uintptr_t>(i < int(arrays.size()) ? static_cast<void*>(arrays[i].data()) : ends.data()));
        results = like(seeds);
        gradients = like(arrays);
        for (Values& r : results) to.push_back(reinterpret_cast<uintptr_t>(r.data()));
        Addresses incoming;
        for (Values& s : seeds) incoming.push_back(reinterpret_cast<uintptr_t>(s.data()));
        for (size_t i = 0; i + 2 < tensors.size(); ++i) back.push_back(tensors[i] < 0 ? 0 : reinterpret_cast<uintptr_t>(gradients[tensors[i]].data()));
        AnyTape tape;
        call.forward(given, to, 2, &tape);
        call.backward(given, incoming, back, tape);
    }

    static std::vector<Values> like(const std::vector<Values>& arrays) {
        std::vector<Values> made;
        for (const Values& a : arrays) made.emplace_back(a.size(), std::numeric_limits<float>::quiet_NaN());
        return made;
    }

    std::vector<xla::Buffer> given() {
        std::vector<xla::Buffer> all;
        for (Values& a : arrays) all.push_back(buffer(a.data()));
        all.push_back(buffer(lengths.data(), xla::kInt32));
        return all;
    }

    std::string forward(std::vector<Values>& made, uint64_t& number) {
        std::vector<xla::Buffer> to;
        for (Values& m : made) to.push_back(buffer(m.data()));
        to.push_back(buffer(&number));
        return FrameOf(first, given(), to).run();
    }

    std::string backward(std::vector<Values>& made, uint64_t number) {
        std::vector<xla::Buffer> from = given(), to;
        for (Values& s : seeds) from.push_back(buffer(s.data()));
        from.push_back(buffer(&number));
        for (Values& m : made) to.push_back(buffer(m.data()));
        return FrameOf(first + 1, from, to).run();
    }

    const Layout& layout;
    int64_t P, first;
    std::vector<Values> arrays, seeds, results, gradients;
    std::vector<int32_t> lengths{6, 0, 3, 5, 1};
    std::vector<int> tensors;
};

void run(Problem& p, const std::string& name) {
    const size_t before = xla::waiting_bytes();
    std::vector<Values> made = Problem::like(p.seeds), back = Problem::like(p.arrays), again = back;
    uint64_t number = 0;
    check(p.forward(made, number).empty(), "forward", name);
    check(made == p.results, "results", name);
    check(xla::waiting_bytes() > before, "a tape waits", name);
    check(p.backward(back, number).empty() && back == p.gradients, "gradients", name);
    check(xla::waiting_bytes() == before, "the tape is gone", name);
    check(p.backward(again, number).empty() && again == p.gradients, "gradients without the tape", name);

    uint64_t early = 0, late = 0;
    xla::bound_tapes(1);
    p.forward(made, early);
    p.forward(made, late);
    const size_t one = xla::waiting_bytes();
    again = Problem::like(p.arrays);
    check(p.backward(again, early).empty() && again == p.gradients, "gradients of a tape that made way", name);
    check(one > 0 && xla::waiting_bytes() == one, "the youngest tape stays", name);
    p.backward(again, late);
    check(xla::waiting_bytes() == 0, "no tape waits", name);
    xla::bound_tapes(size_t(256) << 20);
}

void run_together(Problem& p) {
    std::vector<std::thread> threads;
    std::vector<int> good(4);
    for (size_t i = 0; i < good.size(); ++i) {
        threads.emplace_back([&, i] {
            for (int k = 0; k < 50; ++k) {
                std::vector<Values> made = Problem::like(p.seeds), back = Problem::like(p.arrays);
                uint64_t number = 0;
                good[i] += p.forward(made, number).empty() && p.backward(back, number).empty() && made == p.results && back == p.gradients;
            }
        });
    }
    for (std::thread& t : threads) t.join();
    for (const int count : good) check(count == 50, "four threads at once", "together");
}

void refuse(Problem& p) {
    int code = 0;
    check(FrameOf(-1, {}, {}).run(&code) == "a program calls Recurra's site -1, which this process does not know, expected one "
          "that was traced here: trace the program again" && code == xla::kNotFound, "an unknown site", "refuse");
    const std::string text = FrameOf(p.first, p.given(), {}).run(&code);
    check(text.find("results, expected") != std::string::npos && code == xla::kInvalidArgument, "results are missing", "refuse");
    std::vector<Values> made = Problem::like(p.seeds);
    uint64_t number = 0;
    for (const int32_t wrong : {-1, 7}) {
        p.lengths[2] = wrong;
        check(p.forward(made, number).find("expected 0 to 6, the steps of x") != std::string::npos, "lengths", "refuse");
    }
    p.lengths[2] = 3;
    check(number == 0, "no tape of what was refused", "refuse");

    xla::Metadata metadata{sizeof(xla::Metadata), {sizeof(xla::Version), nullptr, -1, -1}};
    xla::MetadataExtension extension{{sizeof(xla::Extension), xla::kMetadata, nullptr}, &metadata};
    FrameOf asked(-1, {}, {});
    asked.frame.extension = &extension.base;
    check(asked.run().empty() && metadata.version.major == 0 && metadata.version.minor == 1, "the version", "refuse");
    FrameOf early(-1, {}, {});
    early.frame.stage = 0;
    check(early.run().empty(), "other stages", "refuse");
}

}  // namespace

int main() {
    const Isa& isa = *[] {
        for (const Isa* one : isas()) if (one->available()) return one;
        std::abort();
    }();
    const std::vector<Layout> layouts = zoo_layouts();
    for (size_t i = 0; i < layouts.size(); ++i) {
        Problem problem(layouts[i], isa, static_cast<int>(i));
        run(problem, "cell " + std::to_string(i));
        if (i == 0) run_together(problem);
        if (i == 0) refuse(problem);
    }
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
