/* Add to sums the products of n values with 4 rows of weights, or with 1; the rows lie `row` weights
   apart. `zero` is what stands for 0 among the values. */
static void dot(total zero, int maps, const value *x, const weight *w, int row, int n, total *sums)
{
    if (maps == 4) {
        total a = sums[0], b = sums[1], c = sums[2], d = sums[3];
        for (; n > 0; n--, x++, w++) {
            const total v = *x - zero;
            a += v * w[0];
            b += v * w[row];
            c += v * w[2 * row];
            d += v * w[3 * row];
        }
        sums[0] = a;
        sums[1] = b;
        sums[2] = c;
        sums[3] = d;
    } else {
        for (int k = 0; k < n; k++)
            sums[0] += (x[k] - zero) * w[k];
    }
}
