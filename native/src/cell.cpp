#include "recurra/cell.hpp"

namespace recurra {

void check(const Layout& layout) {
    constexpr int kMost = 1 << 20;
    for (const int count : {layout.states, layout.parameters, layout.gates, layout.inner, layout.input_gates, layout.recurrent_gates}) {
        expect(count >= 0 && count <= kMost, "a layout has a count below zero, or of more than a million");
    }
    expect(layout.states > 0, "a layout has no state");
    const int slots = static_cast<int>(layout.slots.size());
    for (const Slot& slot : layout.slots) {
        expect(slot.input >= -1 && slot.input < layout.input_gates, "a slot is of an input gate that is not there");
        expect(slot.recurrent >= -1 && slot.recurrent < layout.recurrent_gates, "a slot is of a recurrent gate that is not there");
    }
    for (const Run& run : layout.runs) {
        expect(run.operand >= -1 && run.operand < layout.states + layout.inner, "a run is of an operand that is not there");
        expect(run.operand <= 0 || !layout.projects, "beside a projection U multiplies something else than the first state");
        expect(run.first >= 0 && run.count > 0 && run.first <= slots && run.count <= slots - run.first, "a run has slots that are not there");
        for (int i = run.first; i < run.first + run.count; ++i) {
            expect((run.operand < 0 ? layout.slots[i].input : layout.slots[i].recurrent) >= 0, "a run has a slot that is not of its operand");
        }
    }
}

}  // namespace recurra
