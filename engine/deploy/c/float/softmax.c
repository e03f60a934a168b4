/* Probabilities: the shares of e to the power of the outputs. */
static void answer(const value *x, float *y)
{
    float largest = x[0], sum = 0.0f;
    for (int k = 1; k < @outputs@; k++)
        largest = x[k] > largest ? x[k] : largest;
    for (int k = 0; k < @outputs@; k++)
        sum += y[k] = expf(x[k] - largest);
    for (int k = 0; k < @outputs@; k++)
        y[k] /= sum;
}
