"""Build GPT-2 as float32 ONNX graphs."""
