"""What onnxruntime and OpenVINO would gain over torch on a CPU, in 32-bit floats and in 8-bit integers."""
