"""Names of the files in a bundle, and of the files that hand a graph to another process."""

from __future__ import annotations

MANIFEST = "manifest.json"
GRAPH_RECORD = "graph.json"
GRAPH_ARRAYS = "graph.npz"
TFLITE_MODEL = "model.tflite"
ONNX_MODEL = "model.onnx"
FLOAT_ONNX_MODEL = "model_float.onnx"
AUDIO_ONNX_MODEL = "audio_to_scores.onnx"  # the log-mel front end and model.onnx in one file
AUDIO_FLOAT_ONNX_MODEL = "audio_to_scores_float.onnx"
GOLDEN_VECTORS = "golden.npz"
# In every bundle; the ONNX file unless ONNX has no integer form of an op.
CORE_FILES = (GRAPH_RECORD, GRAPH_ARRAYS, TFLITE_MODEL, ONNX_MODEL, GOLDEN_VECTORS)
