// A small thread pool. Workers sleep between jobs (they spin only for some microseconds after one, as a render
// is a few short jobs in a row), never outlive a job by more than the task at hand, and results never depend on
// which thread does which task.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace splat {

class Pool {
  public:
    static Pool& shared();

    // Calls task(index, thread) for every index in [0, count) on up to `threads` threads, the caller among
    // them; thread < threads. A second caller at the same time works alone.
    template <class Task>
    void run(int64_t count, int threads, const Task& task) {
        run_erased(count, threads, [](const void* t, int64_t i, int thread) { (*static_cast<const Task*>(t))(i, thread); },
                   &task);
    }

  private:
    using Call = void (*)(const void*, int64_t, int);
    void run_erased(int64_t count, int threads, Call call, const void* task);
    void work(int index);
    void drain(Call call, const void* task, int64_t count, int thread);
    ~Pool();

    std::mutex busy_;   // held by the one caller with helpers
    std::mutex mutex_;  // guards what follows
    std::condition_variable wake_, done_;
    std::vector<std::thread> workers_;
    Call call_ = nullptr;
    const void* task_ = nullptr;
    int64_t count_ = 0;
    int wanted_ = 0, joined_ = 0, active_ = 0;
    bool stop_ = false;
    int64_t owner_ = 0;  // process that started the workers: a forked child has none of them
    std::atomic<uint64_t> job_{0};
    std::atomic<int64_t> next_{0};
};

}  // namespace splat
