/* Probabilities. */
static void answer(const value *x, float *y)
{
    for (int k = 0; k < @outputs@; k++)
        y[k] = 1.0f / (1.0f + expf(-x[k]));
}
