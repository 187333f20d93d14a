#include "ops.hpp"

namespace recurra {

MakeOp find_op(const std::string& name) {
    for (const OpTable* table : {&dense_ops, &convolution_2d_ops, &elementwise_ops, &pool_ops, &forecast_ops, &attend_ops, &readout_ops, &ngrams_ops}) {
        for (const NamedOp& op : *table) {
            if (name == op.name) return op.make;
        }
    }
    return nullptr;
}

}  // namespace recurra
