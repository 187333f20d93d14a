"""Any cell on a GPU, by Triton kernels printed from its equations (`cells/emit_triton.py`)."""
