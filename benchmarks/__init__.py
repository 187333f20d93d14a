"""How long recurrent networks take here and in other libraries, beside the machine's bound: `python -m benchmarks`.

Every library runs on one thread, so the variables below are set before any of them is imported.
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[_variable] = "1"
