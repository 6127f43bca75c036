/* The midpoint rule for 4/(1+x^2), with -O3 -march=native. */
#include <stdint.h>

/* The textbook loop. Its result depends on the order of the additions, and so on the ranks. */
double c_pi_textbook(uint64_t first, uint64_t last, double width)
{
    double sum = 0.0;
    for (uint64_t i = first; i < last; i++) {
        double x = ((double)i + 0.5) * width;
        sum += 4.0 / (1.0 + x * x);
    }
    return sum;
}
