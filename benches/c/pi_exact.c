/* The loop of the example, line by line, with -O3 -march=native -ffp-contract=off: its results are to
 * be the same on every machine, so that no multiplication may be fused with an addition. */
#include <stdint.h>
#include <string.h>

/* Additions that round nothing. Returns the lower 64 bits. */
uint64_t c_pi_exact(uint64_t first, uint64_t last, double width)
{
    const uint64_t two = 0x4000000000000000;
    unsigned __int128 total = 0;
    for (uint64_t start = first; start < last; start += 1024) {
        uint64_t block = 0;
        int n = last - start < 1024 ? (int)(last - start) : 1024;
        for (int i = 0; i < n; i++) {
            double x = ((double)start + 0.5 + (double)i) * width;
            double y = 4.0 / (1.0 + x * x);
            uint64_t bits;
            memcpy(&bits, &y, sizeof bits);
            block += bits - two;
        }
        total += block;
    }
    return (uint64_t)total;
}
