/* Probabilities. */
static void answer(const value *x, float *y)
{
    for (int k = 0; k < @outputs@; k++) {
        const float part = power(x[k] < @zero@ ? @zero@ - x[k] : x[k] - @zero@);
        y[k] = (x[k] < @zero@ ? part : 1.0f) / (1.0f + part);
    }
}
