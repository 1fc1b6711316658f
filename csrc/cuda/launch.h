// The host's side of a launch: device, stream, limits, errors.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

// torch's stable C interface, as declared in torch/csrc/inductor/aoti_torch/c/shim.h.
extern "C" int32_t aoti_torch_get_current_cuda_stream(int32_t device_index, void** ret_stream);

namespace inpaint::cuda {

inline void check(cudaError_t error) {
  if (error != cudaSuccess)
    throw std::runtime_error(std::string("carafe: CUDA: ") + cudaGetErrorString(error));
}

// Makes a device the current one for as long as it lives, and launches on torch's current stream there.
class Device {
 public:
  explicit Device(int32_t index) : index_(index) {
    check(cudaGetDevice(&before_));
    if (before_ != index_) check(cudaSetDevice(index_));
    if (aoti_torch_get_current_cuda_stream(index_, &stream_) != 0)
      throw std::runtime_error("carafe: torch has no current stream on this device");
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  ~Device() {
    if (before_ != index_) (void)cudaSetDevice(before_);
  }

  // Bytes of shared memory that a block can have.
  int64_t shared_memory() const { return attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin); }
  int64_t multiprocessors() const { return attribute(cudaDevAttrMultiProcessorCount); }

  // Blocks take items of work in turn, so that any number of them is right.
  template <class Work>
  void launch(void (*kernel)(Work), Work work, int64_t items, int64_t threads, int64_t shared_bytes) const {
    if (shared_bytes > 48 * 1024)
      check(cudaFuncSetAttribute(
          kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)));
    void* arguments[] = {&work};
    check(cudaLaunchKernel(
        kernel,
        dim3(static_cast<unsigned>(std::min<int64_t>(items, attribute(cudaDevAttrMaxGridDimX)))),
        dim3(static_cast<unsigned>(threads)),
        arguments,
        shared_bytes,
        static_cast<cudaStream_t>(stream_)));
  }

 private:
  int attribute(cudaDeviceAttr which) const {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, which, index_));
    return value;
  }

  int32_t index_;
  int before_ = 0;
  void* stream_ = nullptr;
};

} // namespace inpaint::cuda
