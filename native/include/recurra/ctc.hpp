// Prefix beam search over the outputs of connectionist temporal classification, with a lexicon and an n-gram model. It is
// `PrefixBeam` of recurra/tasks/transcription/ctc.py to the last bit: the same sums in the same order.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

namespace recurra {

constexpr double NEVER = -std::numeric_limits<double>::infinity();

// Words as a trie of letters, and an n-gram model with back-off as a trie of words; both as arrays that Python has made.
struct Lexicon {
    int letters = 0;              // numbers 1 .. letters; 0 is the blank
    int space = 0;                // the letter between words
    bool model = false;           // whether there are n-grams
    int order = 1;
    double weight = 0, bonus = 0, unknown = 0;
    int32_t begin = -1, end = -1;    // the model's words before the first and after the last; one that it does not have is -1

    std::vector<int32_t> spelled;    // [nodes, letters + 1]: the node after a letter, or -1; node 0 is the empty word
    std::vector<int32_t> word;       // [nodes]: the number of the word that a node spells, or -1
    std::vector<uint8_t> within;     // [nodes]: 1: the beginning of one of the model's words; 2: one of them
    std::vector<double> hot;         // [nodes]: what is added for the word

    std::vector<int64_t> grams;      // sorted: the entry of all but the last word << 32 | the last word; entry 0 is the root
    std::vector<double> logarithm, back;    // [1 + grams]: NaN where only longer entries are there; of the root, nothing
    int32_t after(int32_t entry, int32_t word) const;    // the entry, or -1
    double score(const int32_t* history, int count, int32_t word) const;

    void check() const;
};

// A search that goes on step by step.
class PrefixBeam {
public:
    PrefixBeam(std::shared_ptr<const Lexicon> lexicon, int64_t beam, double width);
    PrefixBeam(const PrefixBeam&) = delete;
    ~PrefixBeam();

    void reset(int64_t step);
    void push(const double* logs);    // [letters + 1], finite or not
    int64_t step() const { return now; }
    int64_t begun() const { return first; }
    int letters() const { return lexicon->letters; }

    // The letters of a prefix with the steps at which they are surest, and how sure; `whole`: the best one with its last
    // word taken as whole, else the first of the beam.
    struct Letter { int32_t letter; int64_t step; double sure; };
    std::vector<Letter> text(bool whole) const;
    int64_t common() const;    // letters that all prefixes begin with, each at the same place

    // All of it, to go on from: of each prefix, those before it first, numbers and sums; of each entry of the beam the number
    // of its prefix and two sums.
    struct State {
        std::vector<int64_t> prefixes, entries;
        std::vector<double> values, sums;
        int64_t now = 0, first = 0;
    };
    static constexpr int MOST_HISTORY = 8, NUMBERS = 6 + MOST_HISTORY, VALUES = 2;
    State state() const;
    void restore(const State& state);    // throws std::invalid_argument where it cannot be one, and changes nothing

private:
    struct Prefix;
    struct Entry { Prefix* prefix; double blank, letter; };

    Prefix* grown(Prefix* prefix, int letter, double sure);
    double of_word(const Prefix& prefix) const;
    double as_whole(const Entry& entry) const;
    void add(Prefix* prefix, double blank, double letter);
    static void hold(Prefix* prefix);
    static void drop(Prefix* prefix);
    void clear();

    std::shared_ptr<const Lexicon> lexicon;
    int64_t beam, now = 0, first = 0;
    double width;
    std::vector<Entry> beams, found;
    std::vector<int> chosen;
    std::vector<double> p;
};

}  // namespace recurra
