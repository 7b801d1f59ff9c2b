"""GPT-2 as ONNX graphs, float32: what the passes start from."""
