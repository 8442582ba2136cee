#include "pool.hpp"

#include <unistd.h>

#include <chrono>

namespace splat {

namespace {
constexpr auto kSpin = std::chrono::microseconds(60);

inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    std::this_thread::yield();
#endif
}
}  // namespace

Pool& Pool::shared() {
    static Pool pool;
    return pool;
}

Pool::~Pool() {
    if (owner_ != getpid()) {
        for (auto& worker : workers_) worker.detach();
        return;
    }
    {
        std::lock_guard<std::mutex> lock(mutex_);
        stop_ = true;
        job_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
}

void Pool::drain(Call call, const void* task, int64_t count, int thread) {
    for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < count;) call(task, i, thread);
}

void Pool::run_erased(int64_t count, int threads, Call call, const void* task) {
    if (threads > count) threads = static_cast<int>(count);
    std::unique_lock<std::mutex> busy(busy_, std::try_to_lock);
    if (threads <= 1 || !busy.owns_lock() || (owner_ && owner_ != getpid())) {
        for (int64_t i = 0; i < count; ++i) call(task, i, 0);
        return;
    }
    {
        std::lock_guard<std::mutex> lock(mutex_);
        owner_ = getpid();
        while (static_cast<int>(workers_.size()) < threads - 1) {
            const int index = static_cast<int>(workers_.size());
            workers_.emplace_back([this, index] { work(index); });
        }
        call_ = call, task_ = task, count_ = count;
        wanted_ = threads - 1, joined_ = 0;
        next_.store(0, std::memory_order_relaxed);
        job_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    drain(call, task, count, 0);
    std::unique_lock<std::mutex> lock(mutex_);
    call_ = nullptr;  // whoever wakes now finds nothing to do
    done_.wait(lock, [this] { return active_ == 0; });
}

void Pool::work(int) {
    uint64_t seen = 0;
    for (;;) {
        const auto until = std::chrono::steady_clock::now() + kSpin;
        while (job_.load(std::memory_order_acquire) == seen && std::chrono::steady_clock::now() < until)
            for (int i = 0; i < 32; ++i) pause();
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return job_.load(std::memory_order_relaxed) != seen; });
        seen = job_.load(std::memory_order_relaxed);
        if (stop_) return;
        if (!call_ || joined_ >= wanted_) continue;
        const int thread = ++joined_;
        ++active_;
        const Call call = call_;
        const void* task = task_;
        const int64_t count = count_;
        lock.unlock();
        drain(call, task, count, thread);
        lock.lock();
        if (--active_ == 0) done_.notify_one();
    }
}

}  // namespace splat
