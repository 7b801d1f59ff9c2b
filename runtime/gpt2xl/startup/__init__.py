"""Open onnxruntime: providers, session options, memory and CUDA."""
