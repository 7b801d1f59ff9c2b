"""Choose quantized values: calibration and GPTQ."""
