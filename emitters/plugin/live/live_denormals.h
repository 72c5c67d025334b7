/* Of what decays, numbers end up too small for full precision, on which processors may take a
 * hundred times as long. While a model computes they are zero. The bits belong to the thread. */
#ifndef LIVE_DENORMALS_H
#define LIVE_DENORMALS_H

#include <stdint.h>

#if defined(__SSE2__)
#include <xmmintrin.h>
typedef unsigned int denormals;
static inline denormals flush_denormals(void)
{
    denormals before = _mm_getcsr();
    _mm_setcsr(before | 0x8040u); /* FTZ: results, DAZ: operands */
    return before;
}
static inline void restore_denormals(denormals before) { _mm_setcsr(before); }
#elif defined(__aarch64__)
typedef uint64_t denormals;
static inline denormals flush_denormals(void)
{
    denormals before;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(before));
    __asm__ __volatile__("msr fpcr, %0" : : "r"(before | (1u << 24))); /* FZ */
    return before;
}
static inline void restore_denormals(denormals before)
{
    __asm__ __volatile__("msr fpcr, %0" : : "r"(before));
}
#else
typedef int denormals;
static inline denormals flush_denormals(void) { return 0; }
static inline void restore_denormals(denormals before) { (void)before; }
#endif

#endif
