/* Probabilities: the shares of e to the power of the outputs. */
static void answer(const value *x, float *y)
{
    int largest = x[0];
    float sum = 0.0f;
    for (int k = 1; k < @outputs@; k++)
        largest = x[k] > largest ? x[k] : largest;
    for (int k = 0; k < @outputs@; k++)
        y[k] = power(largest - x[k]);
    for (int k = 0; k < @outputs@; k++)
        sum += y[k];
    for (int k = 0; k < @outputs@; k++)
        y[k] /= sum;
}
