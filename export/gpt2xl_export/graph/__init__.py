"""Build GPT-2 as float32 ONNX graphs, and the parts that passes replace."""
