"""Readers and writers of file formats: ONNX and TFLite, between files and the integer graph."""
