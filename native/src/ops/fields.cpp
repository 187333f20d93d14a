// Equations on the fields of a row, element by element: one step of a cell without products, whose states they are.

#include "recurra/recurrence.hpp"
#include "ops.hpp"

namespace recurra {

namespace {

struct Fields {
    Routine<float> routine;
    std::shared_ptr<const void> code;   // where the routine is
    std::vector<Buffer<float>> parameters;
    int64_t count, size, width;
};

struct Own {
    std::vector<float*> from, to, parameters;
};

std::shared_ptr<void> own(const void* data, int64_t) {
    const Fields& op = *static_cast<const Fields*>(data);
    Own made{std::vector<float*>(op.count), std::vector<float*>(op.count), {}};
    for (const Buffer<float>& one : op.parameters) made.parameters.push_back(const_cast<float*>(one.data()));
    return std::make_shared<Own>(std::move(made));
}

const float* run(const void* data, void* mine, Chunk& c) noexcept {
    const Fields& op = *static_cast<const Fields*>(data);
    Own& own = *static_cast<Own*>(mine);
    const int64_t rows = c.steps * c.rows, used = op.count * op.size;
    for (int64_t k = 0; k < op.count; ++k) {
        own.from[k] = const_cast<float*>(c.x) + k * op.size;   // a routine only reads its states
        own.to[k] = c.to + k * op.size;
    }
    Tile<float> tile{};
    tile.rows = rows;
    tile.units = op.size;
    tile.stride = op.width;
    tile.state = own.from.data();
    tile.next = own.to.data();
    tile.parameter = own.parameters.data();
    op.routine(&tile);
    for (int64_t r = 0; used < op.width && r < rows; ++r) {
        std::memcpy(c.to + r * op.width + used, c.x + r * op.width + used, (op.width - used) * sizeof(float));
    }
    return c.to;
}

}  // namespace

Op fields(const Cell<float>& cell, const Weights<float>& weights, int64_t width) {
    const Layout& layout = cell.layout;
    expect(layout.slots.empty() && layout.computed() == 0 && cell.routines.forward, "the equations of fields have a product");
    expect(times(layout.states, cell.sizes.hidden) <= width, "a row has fewer numbers than its fields");
    Fields data{cell.routines.forward, cell.code, {}, layout.states, cell.sizes.hidden, width};
    for (const float* one : weights.parameters) data.parameters.push_back(copy_of(one, cell.sizes.hidden));
    Op op{width, width, &run};
    op.own = &own;
    op.data = std::make_shared<Fields>(std::move(data));
    return op;
}

}  // namespace recurra
