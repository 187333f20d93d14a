#include "recurra/ctc.hpp"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "recurra/check.hpp"

namespace recurra {
namespace {

constexpr double FLOOR = -30.0;    // of the logarithm of a probability

double sum(double a, double b) {
    if (a < b) std::swap(a, b);
    return b == NEVER ? a : a + std::log1p(std::exp(b - a));
}

}  // namespace

int32_t Lexicon::after(int32_t entry, int32_t word) const {
    if (entry < 0 || word < 0) return -1;
    const int64_t key = static_cast<int64_t>(entry) << 32 | word;
    const auto at = std::lower_bound(grams.begin(), grams.end(), key);
    return at != grams.end() && *at == key ? static_cast<int32_t>(at - grams.begin()) + 1 : -1;
}

double Lexicon::score(const int32_t* history, int count, int32_t word) const {
    int32_t known = 0;
    for (int i = 0; i < count && known >= 0; ++i) known = after(known, history[i]);
    const int32_t whole = after(known, word);
    if (whole >= 0 && !std::isnan(logarithm[whole])) return logarithm[whole];
    if (!count) return logarithm[0];    // of what is not there
    const double shorter = score(history + 1, count - 1, word);
    return (known >= 0 && !std::isnan(logarithm[known]) ? back[known] : 0.0) + shorter;
}

void Lexicon::check() const {
    const auto nodes = static_cast<int64_t>(word.size()), entries = static_cast<int64_t>(grams.size()) + 1;
    expect(letters > 0 && space >= 0 && space <= letters && order >= 1, "a lexicon's sizes cannot be");
    expect(nodes > 0 && static_cast<int64_t>(spelled.size()) == nodes * (letters + 1), "a lexicon's trie has another size");
    expect(static_cast<int64_t>(within.size()) == nodes && static_cast<int64_t>(hot.size()) == nodes, "a lexicon's words have another size");
    expect(static_cast<int64_t>(logarithm.size()) == entries && static_cast<int64_t>(back.size()) == entries, "a model's entries have another size");
    expect(std::all_of(spelled.begin(), spelled.end(), [&](int32_t n) { return n >= -1 && n < nodes; }), "a lexicon's trie leads out of it");
    expect(std::is_sorted(grams.begin(), grams.end()), "a model's entries are not sorted");
}

// A prefix as its last letter and the prefix before it; it lives as long as a beam, or a longer prefix, holds it.
struct PrefixBeam::Prefix {
    Prefix* before;
    int letter;
    int64_t step;
    double sure, value;
    int32_t node;                 // of the word so far; -1: the lexicon has none that begins so
    bool wordless;                // whether the word so far is empty
    int words = 1;                // how many of the last ones are known
    int32_t history[MOST_HISTORY];
    int64_t holders = 0;
    int64_t place = -1;           // in `found`
    bool kept = false;            // whether it is in the beam
    std::vector<Prefix*> children{};
};

PrefixBeam::PrefixBeam(std::shared_ptr<const Lexicon> lexicon, int64_t beam, double width)
    : lexicon(std::move(lexicon)), beam(beam), width(width), p(static_cast<size_t>(this->lexicon->letters) + 1) {
    expect(beam > 0, "a beam keeps nothing");
    expect(this->lexicon->order <= MOST_HISTORY + 1, "a language model looks back too far");
    reset(0);
}

PrefixBeam::~PrefixBeam() { clear(); }

void PrefixBeam::clear() {
    for (const Entry& e : beams) drop(e.prefix);
    beams.clear();
}

void PrefixBeam::hold(Prefix* prefix) { ++prefix->holders; }

void PrefixBeam::drop(Prefix* prefix) {
    while (prefix && --prefix->holders == 0) {
        Prefix* before = prefix->before;
        if (before) {
            auto& siblings = before->children;
            siblings.erase(std::remove(siblings.begin(), siblings.end(), prefix), siblings.end());
        }
        delete prefix;
        prefix = before;
    }
}

void PrefixBeam::reset(int64_t step) {
    clear();
    now = first = step;
    auto* root = new Prefix{nullptr, 0, step, 0.0, 0.0, 0, true, 1, {lexicon->begin}};
    hold(root);
    root->kept = true;
    beams.assign(1, {root, 0.0, NEVER});
}

void PrefixBeam::add(Prefix* prefix, double blank, double letter) {
    if (prefix->place < 0) {
        prefix->place = static_cast<int64_t>(found.size());
        hold(prefix);
        found.push_back({prefix, blank, letter});
        return;
    }
    Entry& entry = found[static_cast<size_t>(prefix->place)];
    entry.blank = sum(entry.blank, blank);
    entry.letter = sum(entry.letter, letter);
}

void PrefixBeam::push(const double* logs) {
    const int count = lexicon->letters + 1;
    for (int k = 0; k < count; ++k) p[k] = logs[k] > FLOOR ? logs[k] : FLOOR;
    chosen.clear();
    if (beam == 1) chosen.push_back(static_cast<int>(std::max_element(logs, logs + count) - logs));
    else {
        for (int k = 0; k < count; ++k) if (p[k] > width) chosen.push_back(k);
    }
    found.clear();
    for (const Entry& e : beams) {
        const double whole = sum(e.blank, e.letter);
        for (const int k : chosen) {
            if (k == 0) {
                add(e.prefix, whole + p[0], NEVER);
                continue;
            }
            double longer = whole + p[k];
            if (k == e.prefix->letter) {
                add(e.prefix, NEVER, e.letter + p[k]);
                longer = e.blank + p[k];
            }
            if (longer == NEVER) continue;
            const auto& children = e.prefix->children;
            const auto at = std::find_if(children.begin(), children.end(), [k](const Prefix* c) { return c->kept && c->letter == k; });
            Prefix* child = at != children.end() ? *at : grown(e.prefix, k, p[k]);
            if (p[k] > child->sure) child->sure = p[k], child->step = now;
            add(child, NEVER, longer);
        }
    }
    std::vector<std::pair<double, size_t>> ranked(found.size());
    for (size_t i = 0; i < found.size(); ++i) ranked[i] = {-(sum(found[i].blank, found[i].letter) + found[i].prefix->value), i};
    const size_t kept = std::min<size_t>(static_cast<size_t>(beam), ranked.size());
    std::partial_sort(ranked.begin(), ranked.begin() + static_cast<int64_t>(kept), ranked.end());
    std::vector<Entry> before;
    before.swap(beams);
    double best = NEVER;
    for (size_t i = 0; i < kept; ++i) {
        beams.push_back(found[ranked[i].second]);
        best = std::max(best, sum(beams.back().blank, beams.back().letter));
    }
    for (const Entry& e : before) e.prefix->kept = false;
    for (Entry& e : beams) {
        hold(e.prefix);
        e.prefix->kept = true;
        e.blank -= best;
        e.letter -= best;
    }
    for (const Entry& e : found) e.prefix->place = -1;
    for (const Entry& e : found) drop(e.prefix);
    for (const Entry& e : before) drop(e.prefix);
    ++now;
}

PrefixBeam::Prefix* PrefixBeam::grown(Prefix* prefix, int letter, double sure) {
    auto* child = new Prefix(*prefix);
    child->before = prefix;
    child->letter = letter;
    child->step = now;
    child->sure = sure;
    child->holders = 0;
    child->place = -1;
    child->kept = false;
    child->children.clear();
    hold(prefix);
    prefix->children.push_back(child);
    const Lexicon& l = *lexicon;
    const auto begins = [&l](int32_t node) { return node >= 0 && l.within[static_cast<size_t>(node)]; };
    if (letter != l.space) {
        child->node = prefix->node < 0 ? -1 : l.spelled[static_cast<size_t>(prefix->node * (l.letters + 1) + letter)];
        child->wordless = false;
        if (l.model && !begins(child->node) && begins(prefix->node)) child->value += l.unknown;
    } else if (!prefix->wordless) {
        child->value += of_word(*prefix);
        if (child->words == MOST_HISTORY) {
            std::copy(child->history + 1, child->history + MOST_HISTORY, child->history);
            --child->words;
        }
        child->history[child->words++] = prefix->node < 0 ? -1 : l.word[static_cast<size_t>(prefix->node)];
        child->node = 0;
        child->wordless = true;
    }
    return child;
}

double PrefixBeam::of_word(const Prefix& prefix) const {
    const Lexicon& l = *lexicon;
    const auto node = static_cast<size_t>(prefix.node);
    double value = prefix.node < 0 ? 0.0 : l.hot[node];
    if (!l.model) return value;
    const int known = std::min(prefix.words, l.order - 1);
    value += l.weight * l.score(prefix.history + prefix.words - known, known, prefix.node < 0 ? -1 : l.word[node]) + l.bonus;
    if (prefix.node >= 0 && l.within[node] == 1) value += l.unknown;
    return value;
}

double PrefixBeam::as_whole(const Entry& entry) const {
    const Prefix& prefix = *entry.prefix;
    double value = sum(entry.blank, entry.letter) + prefix.value + (prefix.wordless ? 0.0 : of_word(prefix));
    if (!lexicon->model) return value;
    int32_t words[MOST_HISTORY + 1];
    std::copy(prefix.history, prefix.history + prefix.words, words);
    int count = prefix.words;
    if (!prefix.wordless) words[count++] = prefix.node < 0 ? -1 : lexicon->word[static_cast<size_t>(prefix.node)];
    const int known = std::min(count, lexicon->order - 1);
    return value + lexicon->weight * lexicon->score(words + count - known, known, lexicon->end);
}

std::vector<PrefixBeam::Letter> PrefixBeam::text(bool whole) const {
    const Entry* best = &beams.front();
    if (whole) {
        double most = as_whole(*best);
        for (const Entry& e : beams) {
            const double value = as_whole(e);
            if (value > most) most = value, best = &e;
        }
    }
    std::vector<Letter> letters;
    for (const Prefix* at = best->prefix; at->before; at = at->before) letters.push_back({at->letter, at->step, at->sure});
    std::reverse(letters.begin(), letters.end());
    return letters;
}

int64_t PrefixBeam::common() const {
    const auto line = [](const Prefix* prefix) {
        std::vector<const Prefix*> all;
        for (; prefix->before; prefix = prefix->before) all.push_back(prefix);
        std::reverse(all.begin(), all.end());
        return all;
    };
    const auto first = line(beams.front().prefix);
    size_t common = first.size();
    for (const Entry& e : beams) {
        const auto other = line(e.prefix);
        size_t same = 0;
        while (same < std::min(common, other.size()) && other[same] == first[same]) ++same;
        common = same;
    }
    return static_cast<int64_t>(common);
}

PrefixBeam::State PrefixBeam::state() const {
    State state;
    state.now = now;
    state.first = first;
    std::unordered_map<const Prefix*, int64_t> numbers;
    for (const Entry& e : beams) {
        std::vector<const Prefix*> line;
        for (const Prefix* at = e.prefix; at && !numbers.count(at); at = at->before) line.push_back(at);
        for (auto at = line.rbegin(); at != line.rend(); ++at) {
            const Prefix& one = **at;
            numbers.emplace(*at, static_cast<int64_t>(numbers.size()));
            state.prefixes.insert(state.prefixes.end(), {one.before ? numbers.at(one.before) : -1, one.letter, one.step, one.node, one.wordless, one.words});
            for (int i = 0; i < MOST_HISTORY; ++i) state.prefixes.push_back(i < one.words ? one.history[i] : -1);
            state.values.insert(state.values.end(), {one.sure, one.value});
        }
        state.entries.push_back(numbers.at(e.prefix));
        state.sums.insert(state.sums.end(), {e.blank, e.letter});
    }
    return state;
}

void PrefixBeam::restore(const State& state) {
    const auto count = static_cast<int64_t>(state.values.size()) / VALUES, kept = static_cast<int64_t>(state.entries.size());
    const auto in = [](int64_t n, int64_t low, int64_t high) { return low <= n && n < high; };
    expect(count > 0 && in(kept, 1, beam + 1) && static_cast<int64_t>(state.prefixes.size()) == count * NUMBERS &&
           static_cast<int64_t>(state.values.size()) == count * VALUES && static_cast<int64_t>(state.sums.size()) == 2 * kept, "a search's sizes");
    const auto nodes = static_cast<int64_t>(lexicon->word.size());
    constexpr int64_t words = std::numeric_limits<int32_t>::max();
    for (int64_t i = 0; i < count; ++i) {
        const int64_t* n = &state.prefixes[static_cast<size_t>(i * NUMBERS)];
        expect(i ? in(n[0], 0, i) && in(n[1], 1, lexicon->letters + 1) : n[0] == -1 && n[1] == 0, "a search's prefixes");
        expect(in(n[3], -1, nodes) && in(n[4], 0, 2) && in(n[5], 1, MOST_HISTORY + 1), "a search's words");
        expect(std::all_of(n + 6, n + NUMBERS, [&](int64_t w) { return in(w, -1, words); }), "a search's history");
    }
    std::vector<uint8_t> seen(static_cast<size_t>(count));
    for (const int64_t e : state.entries) expect(in(e, 0, count) && !seen[static_cast<size_t>(e)]++, "a search's beam");
    clear();
    now = state.now;
    first = state.first;
    std::vector<Prefix*> made;
    for (int64_t i = 0; i < count; ++i) {
        const int64_t* n = &state.prefixes[static_cast<size_t>(i * NUMBERS)];
        const double* v = &state.values[static_cast<size_t>(i * VALUES)];
        Prefix* before = i ? made[static_cast<size_t>(n[0])] : nullptr;
        made.push_back(new Prefix{before, static_cast<int>(n[1]), n[2], v[0], v[1], static_cast<int32_t>(n[3]), n[4] != 0, static_cast<int>(n[5]), {}});
        std::transform(n + 6, n + NUMBERS, made.back()->history, [](int64_t w) { return static_cast<int32_t>(w); });
        hold(made.back());
        if (before) hold(before), before->children.push_back(made.back());
    }
    for (int64_t i = 0; i < kept; ++i) {
        Prefix* prefix = made[static_cast<size_t>(state.entries[static_cast<size_t>(i)])];
        hold(prefix);
        prefix->kept = true;
        beams.push_back({prefix, state.sums[static_cast<size_t>(2 * i)], state.sums[static_cast<size_t>(2 * i + 1)]});
    }
    for (auto at = made.rbegin(); at != made.rend(); ++at) drop(*at);
}

}  // namespace recurra
