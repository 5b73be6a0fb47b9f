#!/usr/bin/env bash
# numpy 2.4.6 (its wheel's OpenBLAS 0.3.31): after a product as large as a mel spectrogram's, (223, 201) by (201, 80) in
# float64 for a bit over two seconds of speech, the BLAS's other threads go on waiting in a busy loop for longer than a
# small network takes. A program that computes features in numpy and then runs a graph on one thread (onnxruntime 1.31.1
# here) uses two cores; where a second recording is heard on the other core, both are as slow as one after the other.
# Remedies: no BLAS for such products, or threadpoolctl.threadpool_limits(1), or OPENBLAS_NUM_THREADS=1 before numpy.
# Seen, processor time by time on the clock: 2.0 with the product, 1.0 with OPENBLAS_NUM_THREADS=1. It needs two cores
# that nothing else uses.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q numpy==2.4.6 onnx==1.23.0 onnxruntime==1.31.1
cat > share.py <<'PYTHON'
import time

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

chance = np.random.default_rng(0)
weights = [numpy_helper.from_array(chance.normal(size=(512, 512)).astype(np.float32), f"w{place}") for place in range(12)]
nodes = [helper.make_node("MatMul", [f"x{place}", f"w{place}"], [f"x{place + 1}"]) for place in range(12)]
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [96, 512]) for name in ("x0", "x12")]
graph = helper.make_graph(nodes, "layers", ends[:1], ends[1:], weights)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
power, filters = chance.random((223, 201)), chance.random((201, 80))
frames = chance.normal(size=(96, 512)).astype(np.float32)
for turn in range(210):
    if turn == 10:
        processor, clock = time.process_time(), time.perf_counter()
    power @ filters
    session.run(None, {"x0": frames})
print(round((time.process_time() - processor) / (time.perf_counter() - clock), 1))
PYTHON
free=$(env/bin/python share.py)
alone=$(OPENBLAS_NUM_THREADS=1 env/bin/python share.py)
echo "processor time by time on the clock: $free, with one thread of the BLAS: $alone"
env/bin/python -c "import os, sys; sys.exit(not (os.cpu_count() > 1 and $free > 1.4 and $alone < 1.2))"
