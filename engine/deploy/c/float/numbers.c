/* The outputs in the units of the targets. */
static void answer(const value *x, float *y)
{
    for (int k = 0; k < @outputs@; k++) {
        const float product = x[k] * output_scale[k];
        y[k] = product + output_shift[k];
    }
}
