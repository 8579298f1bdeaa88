// Replays recorded calls of the compiled backend, without Python, and compares every output bitwise.
//
//   driver FILE: every call by 1, 2 and 7 threads of its own and on every instruction set.
//
// FILE, which recording.py writes, holds per call: which of `kFunctions`, the `Call`, and
// for each of its fifteen buffers the size in bytes (-1: null), what it holds before the call
// and, if it is an output, after. Every number is 8 bytes.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "call.h"

namespace {

constexpr int kBuffers = 15;
constexpr bool kOutput[kBuffers] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 1, 1, 1};
constexpr const char* kNames[kBuffers] = {
    "image", "coordinates", "functions", "fill",
    "kernel", "pixels that are read", "coverage", "stretch", "output",
    "gradient of the output", "gradient of the image", "gradient of the coordinates",
    "gradient of the functions", "gradient of the fill", "gradient of the stretch"};
constexpr int32_t (*kFunctions[])(const Call*) = {stn_forward, stn_backward, stn_antialias,
                                                  stn_antialias_backward};

int64_t threads;  // of `parallel_for`

// Every thread has a range of its own; none is shared, and none is this one's.
int32_t parallel_for(int64_t begin, int64_t end, int64_t, Body body, void* context) {
  std::vector<std::thread> running;
  for (int64_t k = 0; k < threads; ++k) {
    const int64_t low = begin + (end - begin) * k / threads;
    const int64_t high = begin + (end - begin) * (k + 1) / threads;
    if (low < high) running.emplace_back(body, low, high, context);
  }
  for (auto& thread : running) thread.join();
  return 0;
}

bool read(std::FILE* file, void* to, size_t bytes) {
  return bytes == 0 || std::fread(to, bytes, 1, file) == 1;
}

using Bytes = std::unique_ptr<char[]>;

struct Buffer {
  int64_t size = -1;
  Bytes before, after;
};

struct Record {
  int64_t function;
  Call call;
  Buffer buffers[kBuffers];
};

bool read_bytes(std::FILE* file, int64_t size, Bytes& to) {
  to.reset(new char[size]);  // of its exact size, so that a sanitizer sees what lies beyond
  return read(file, to.get(), size);
}

// Returns whether there was a record; `broken` where it ended early.
bool read_record(std::FILE* file, Record& record, bool& broken) {
  if (!read(file, &record.function, sizeof record.function)) return false;
  broken = !read(file, &record.call, sizeof record.call);
  for (int k = 0; k < kBuffers && !broken; ++k) {
    Buffer& buffer = record.buffers[k];
    broken = !read(file, &buffer.size, sizeof buffer.size);
    if (broken || buffer.size < 0) continue;
    broken = !read_bytes(file, buffer.size, buffer.before) ||
             (kOutput[k] && !read_bytes(file, buffer.size, buffer.after));
  }
  return !broken;
}

// Runs a call on copies of its buffers; returns the number of its outputs that differ.
int replay(const Record& record, int64_t number, int64_t isa) {
  Bytes copies[kBuffers];
  void* addresses[kBuffers] = {};
  for (int k = 0; k < kBuffers; ++k) {
    const Buffer& buffer = record.buffers[k];
    if (buffer.size < 0) continue;
    copies[k].reset(new char[buffer.size]);
    std::memcpy(copies[k].get(), buffer.before.get(), buffer.size);
    addresses[k] = copies[k].get();
  }
  Call call = record.call;
  call.isa = isa;
  call.parallel_for = parallel_for;
  std::memcpy(&call.image_data, addresses, sizeof addresses);
  const int32_t failed = kFunctions[record.function](&call);
  int faults = failed != 0;
  if (failed) std::printf("call %ld on %s: error %d\n", long(number), stn_isa_name(isa), failed);
  for (int k = 0; k < kBuffers; ++k) {
    const Buffer& buffer = record.buffers[k];
    const char* due = (kOutput[k] ? buffer.after : buffer.before).get();
    if (buffer.size < 0 || std::memcmp(copies[k].get(), due, buffer.size) == 0) continue;
    std::printf("call %ld on %s with %ld threads: %s differs\n", long(number), stn_isa_name(isa),
                long(threads), kNames[k]);
    ++faults;
  }
  return faults;
}

}  // namespace

int main(int count, char** arguments) {
  std::FILE* file = count == 2 ? std::fopen(arguments[1], "rb") : nullptr;
  if (!file) return std::fprintf(stderr, "usage: driver FILE\n"), 2;
  int64_t number = 0, runs = 0, faults = 0;
  bool broken = false;
  for (Record record; read_record(file, record, broken); ++number, record = Record())
    for (int64_t isa = 0; stn_isa_name(isa); ++isa)
      for (int64_t given : {1, 2, 7}) {
        threads = given;
        faults += replay(record, number, isa);
        ++runs;
      }
  std::fclose(file);
  if (broken) std::printf("call %ld ends early\n", long(number));
  std::printf("%ld calls, %ld runs, %ld faults\n", long(number), long(runs), long(faults));
  return faults || broken || number == 0;
}
