// A stand-in for CUDA's header of this name, with which a C++ compiler builds the kernels' own sources and a
// CPU runs them: the threads of a block are coroutines that take turns from barrier to barrier, blocks run
// one after another.
//
// It has what the kernels use and no more: thread and block indices, dynamic shared memory and __syncthreads.
// It is stricter than a GPU where that shows mistakes:
//   - shared memory begins as NaN, and the bytes after a block's share of it must stay as they are;
//   - every second round runs the threads backwards, so that a missing barrier gives wrong numbers either
//   way;
//   - a barrier that not all threads of a block reach is an error;
//   - the grid is at most a few blocks, and shared memory as small as on the smallest GPU that is supported.
#pragma once

#include <ucontext.h>

#include <math.h>
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#define __host__
#define __device__
#define __global__
#define __shared__
#define __forceinline__ inline
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(threads)
// torch exports the real one.
#define aoti_torch_get_current_cuda_stream inpaint_emulator_current_stream

using std::max;
using std::min;

struct dim3 {
  unsigned x, y, z;
  explicit dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

enum cudaError_t {
  cudaSuccess,
  cudaErrorInvalidValue,
  cudaErrorInvalidConfiguration,
  cudaErrorLaunchFailure
};
enum cudaDeviceAttr {
  cudaDevAttrMaxSharedMemoryPerBlockOptin,
  cudaDevAttrMultiProcessorCount,
  cudaDevAttrMaxGridDimX
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
using cudaStream_t = void*;

namespace emulator {

constexpr int kSharedBytes = 64 * 1024, kGuardBytes = 4096, kMultiprocessors = 2, kMaxGrid = 5,
              kMaxThreads = 1024;
constexpr size_t kStackBytes = 64 * 1024;

inline dim3 thread_index, block_index, block_size, grid_size;
inline std::string problem;

// The threads of one block.
class Block {
 public:
  static Block*& current() {
    static Block* block = nullptr;
    return block;
  }

  bool run(int threads, const std::function<void()>& body) {
    body_ = &body;
    threads_.resize(std::max<size_t>(threads_.size(), threads));
    for (int t = 0; t < threads; ++t) start(threads_[t]);
    int finished = 0;
    for (int round = 0; finished < threads; ++round) {
      int waiting = 0;
      for (int i = 0; i < threads; ++i) {
        const int t = round % 2 ? threads - 1 - i : i;
        if (threads_[t].done) continue;
        thread_index = dim3(t, 0, 0);
        running_ = &threads_[t];
        enter(*running_);
        running_->done ? ++finished : ++waiting;
      }
      if (waiting && finished) {
        problem = "a barrier was reached by some threads of the block and not by others";
        return false;
      }
    }
    return true;
  }

  // Called on a thread's own stack: lets the others run up to here.
  void barrier() {
    const dim3 index = thread_index;
    leave(*running_, false);
    thread_index = index;
  }

 private:
  struct Thread {
    ucontext_t context;
    std::vector<char> stack;
    bool done = false;
    void* fake_stack = nullptr;
  };

  void start(Thread& thread) {
    if (thread.stack.empty()) thread.stack.resize(kStackBytes);
    thread.done = false;
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.data();
    thread.context.uc_stack.ss_size = thread.stack.size();
    thread.context.uc_link = nullptr;
    makecontext(&thread.context, &Block::main, 0);
  }

  static void main() {
    Block& block = *current();
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &block.host_stack_, &block.host_stack_bytes_);
#endif
    (*block.body_)();
    block.running_->done = true;
    block.leave(*block.running_, true);
  }

  void enter(Thread& thread) {
#if defined(__SANITIZE_ADDRESS__)
    void* fake_stack;
    __sanitizer_start_switch_fiber(&fake_stack, thread.stack.data(), thread.stack.size());
#endif
    swapcontext(&host_, &thread.context);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
  }

  void leave(Thread& thread, [[maybe_unused]] bool for_good) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(for_good ? nullptr : &thread.fake_stack, host_stack_, host_stack_bytes_);
#endif
    swapcontext(&thread.context, &host_);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(thread.fake_stack, &host_stack_, &host_stack_bytes_);
#endif
  }

  const std::function<void()>* body_ = nullptr;
  std::vector<Thread> threads_;
  Thread* running_ = nullptr;
  ucontext_t host_;
  const void* host_stack_ = nullptr;
  size_t host_stack_bytes_ = 0;
};

} // namespace emulator

#define threadIdx emulator::thread_index
#define blockIdx emulator::block_index
#define blockDim emulator::block_size
#define gridDim emulator::grid_size
#define __syncthreads() emulator::Block::current()->barrier()

alignas(32) unsigned char inpaint_shared[emulator::kSharedBytes + emulator::kGuardBytes];

inline cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t) { return emulator::problem.c_str(); }
extern "C" inline int32_t inpaint_emulator_current_stream(int32_t, void** stream) {
  return *stream = nullptr, 0;
}

inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int) {
  *value = which == cudaDevAttrMaxSharedMemoryPerBlockOptin ? emulator::kSharedBytes
      : which == cudaDevAttrMaxGridDimX                     ? emulator::kMaxGrid
                                                            : emulator::kMultiprocessors;
  return cudaSuccess;
}

template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel*, cudaFuncAttribute, int bytes) {
  if (bytes <= emulator::kSharedBytes) return cudaSuccess;
  emulator::problem = "more shared memory than the device has";
  return cudaErrorInvalidValue;
}

template <class Argument>
cudaError_t cudaLaunchKernel(
    void (*kernel)(Argument), dim3 grid, dim3 block, void** arguments, size_t shared_bytes, cudaStream_t) {
  static std::mutex one_at_a_time;
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  if (grid.x < 1 || grid.x > emulator::kMaxGrid || block.x < 1 || block.x > emulator::kMaxThreads ||
      shared_bytes > emulator::kSharedBytes) {
    emulator::problem = "invalid configuration: " + std::to_string(grid.x) + " blocks of " +
        std::to_string(block.x) + " threads, " + std::to_string(shared_bytes) + " bytes";
    return cudaErrorInvalidConfiguration;
  }
  static emulator::Block* threads = new emulator::Block;
  emulator::Block::current() = threads;
  emulator::grid_size = grid;
  emulator::block_size = block;
  for (unsigned b = 0; b < grid.x; ++b) {
    emulator::block_index = dim3(b, 0, 0);
    std::memset(inpaint_shared, 0xff, sizeof inpaint_shared); // NaN in every type
#if defined(__SANITIZE_ADDRESS__)
    __asan_poison_memory_region(inpaint_shared + shared_bytes, sizeof inpaint_shared - shared_bytes);
#endif
    const bool ran = threads->run(block.x, [&] { kernel(*static_cast<Argument*>(arguments[0])); });
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(inpaint_shared, sizeof inpaint_shared);
#endif
    if (!ran) return cudaErrorLaunchFailure;
    for (size_t i = shared_bytes; i < sizeof inpaint_shared; ++i)
      if (inpaint_shared[i] != 0xff) {
        emulator::problem = "a kernel wrote past its shared memory";
        return cudaErrorLaunchFailure;
      }
  }
  return cudaSuccess;
}
